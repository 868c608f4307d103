"""One function for every source of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from jnas.data._dataset import Dataset
from jnas.data._excerpt import load_excerpt
from jnas.data._npz import load_npz, with_optional_test
from jnas.data._tfds import load_tfds_folder, load_tfds_name
from jnas.errors import JnasError

IN_MEMORY_SOURCE = "arrays"
"""What a store has as the source of images that were given as arrays: they cannot be read from it again."""


def load_data(
    source: str | Path | Mapping[str, ArrayLike] | Dataset = "excerpt", classes: int | None = None
) -> Dataset:
    """Returns the images and labels of any source.

    Args:
      source: one of
        "excerpt", the bundled 5,000 images of CIFAR-10 (4,000 for training, 1,000 for testing);
        the path of an .npz file with uint8 images `x_train`, labels `y_train` and, optionally, `x_test`, `y_test`;
        a dictionary with the same arrays;
        the path of a prepared TensorFlow Datasets folder;
        a name of TensorFlow Datasets, such as "cifar10";
        a `Dataset`, which is returned as it is.
      classes: the number of classes, if it is not the largest training label plus one.

    Raises:
      JnasError: if there is no such source, or it is not a labelled set of uint8 images of one size.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, Mapping):
        missing = [name for name in ("x_train", "y_train") if name not in source]
        if missing:
            raise JnasError(
                f"The arrays must have x_train and y_train (x_test and y_test are optional), got no "
                f"{' and no '.join(missing)}."
            )
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
