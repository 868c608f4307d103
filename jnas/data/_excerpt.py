"""The embedded excerpt of CIFAR-10: 4,000 training and 1,000 test images, class-balanced, lossless.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The first 400 training and the first 100
test images of each class; data/make_excerpt.py writes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jnas.data._dataset import Dataset

_PIXELS = 32


def load_excerpt(classes: int | None = None) -> Dataset:
    """The excerpt, 32x32 pixels, 3 channels, 10 classes."""
    here = Path(__file__).resolve()
    folder = here.parent / "cifar10_excerpt"  # in an installed wheel
    if not folder.exists():
        folder = here.parents[2] / "data" / "cifar10_excerpt"  # in a checkout
    arrays = []
    for split in ("train", "test"):
        arrays += [_tiles(folder / f"{split}.webp"), np.load(folder / f"{split}_labels.npy", allow_pickle=False)]
    return Dataset("CIFAR-10 excerpt", *arrays, classes=classes)


def _tiles(path: Path) -> np.ndarray:
    """The images of a mosaic, row by row: `[N, 32, 32, 3]` uint8."""
    from PIL import Image

    with Image.open(path) as image:
        mosaic = np.asarray(image.convert("RGB"))
    rows, columns = mosaic.shape[0] // _PIXELS, mosaic.shape[1] // _PIXELS
    tiles = mosaic.reshape(rows, _PIXELS, columns, _PIXELS, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, _PIXELS, _PIXELS, 3)
