"""The bundled excerpt of CIFAR-10 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images").

It holds the first 400 training and the first 100 test images of each class, lossless; data/make_excerpt.py wrote it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jnas.data._dataset import Dataset

_PIXELS = 32
_CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load_excerpt(classes: int | None = None) -> Dataset:
    """Returns 4,000 training and 1,000 test images of 32x32 pixels, 3 channels and 10 classes."""
    module = Path(__file__).resolve()
    folder = module.parent / "cifar10_excerpt"  # in an installed wheel
    if not folder.exists():
        folder = module.parents[2] / "data" / "cifar10_excerpt"  # in a checkout
    images = [_read_tiles(folder / f"{split}.webp") for split in ("train", "test")]
    labels = [np.load(folder / f"{split}_labels.npy", allow_pickle=False) for split in ("train", "test")]
    names = _CLASS_NAMES if classes in (None, len(_CLASS_NAMES)) else None
    arrays: Any = (images[0], labels[0], images[1], labels[1], classes)
    return Dataset("CIFAR-10 excerpt", *arrays, class_names=names)


def _read_tiles(path: Path) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Returns the images of a mosaic, row by row."""
    from PIL import Image

    with Image.open(path) as image:
        mosaic = np.asarray(image.convert("RGB"))
    rows, columns = mosaic.shape[0] // _PIXELS, mosaic.shape[1] // _PIXELS
    tiles = mosaic.reshape(rows, _PIXELS, columns, _PIXELS, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, _PIXELS, _PIXELS, 3)
