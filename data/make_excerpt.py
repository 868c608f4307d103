"""Write the embedded excerpt, data/cifar10_excerpt, from the full CIFAR-10 as an .npz (uint8, NHWC).

    python data/make_excerpt.py CIFAR10.npz

The first 400 training and the first 100 test images of each class, in their original order, as lossless WebP
mosaics, and their labels. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent / "cifar10_excerpt"
PER_CLASS = {"train": 400, "test": 100}
COLUMNS = 50


def main(source: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with np.load(source) as arrays:
        for split, count in PER_CLASS.items():
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"].ravel()
            kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
            tiles = images[kept].reshape(-1, COLUMNS, 32, 32, 3)
            mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * 32, 3)
            Image.fromarray(mosaic).save(FOLDER / f"{split}.webp", lossless=True, quality=100, method=6)
            np.save(FOLDER / f"{split}_labels.npy", labels[kept].astype(np.uint8))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
