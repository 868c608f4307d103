"""One call for every source of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jnas.data._dataset import Dataset
from jnas.data._excerpt import load_excerpt
from jnas.data._npz import load_npz, with_optional_test
from jnas.data._tfds import load_tfds_folder, load_tfds_name
from jnas.errors import JnasError

ARRAYS = "arrays"
"""In place of a source, where images were given as they are, so that there is none to read them from again."""


def load_data(
    source: str | Path | Mapping[str, np.ndarray] | Dataset = "excerpt", classes: int | None = None
) -> Dataset:
    """Images and labels from wherever they are.

    Args:
      source: one of
        "excerpt", the embedded 5,000 images of CIFAR-10 (4,000 for training, 1,000 for testing);
        the path of an .npz file with uint8 images `x_train`, labels `y_train` and, optionally, `x_test`, `y_test`;
        the same arrays in a dictionary;
        the path of a prepared TensorFlow Datasets folder;
        a name that TensorFlow Datasets knows, such as "cifar10";
        a `Dataset`, which is returned as it is.
      classes: number of classes, where it is not the largest training label plus one.

    Raises:
      JnasError: there is no such source, or what it holds is not a labelled set of uint8 images of one size.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, Mapping):
        missing = [name for name in ("x_train", "y_train") if name not in source]
        if missing:
            raise JnasError(f"The arrays lack {' and '.join(missing)}: give x_train and y_train (x_test, y_test).")
        return with_optional_test("your arrays", dict(source), classes)
    if source == "excerpt":
        return load_excerpt(classes)
    path = Path(source).expanduser()
    if path.is_dir():
        return load_tfds_folder(path, classes)
    if path.is_file():
        return load_npz(path, classes)
    if path.suffix or len(path.parts) > 1:
        raise JnasError(f"There is no file or folder {path}: check the path, or give 'excerpt' or 'cifar10'.")
    return load_tfds_name(str(source), classes)
