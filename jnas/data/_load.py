"""One function for every source of images, and the arrays of a dictionary or an .npz file."""

import difflib
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jnas._validation import refuse, shown, to_int, to_path
from jnas.data._dataset import Dataset
from jnas.data._excerpt import load_excerpt
from jnas.data._files import describe_file, printable
from jnas.data._tfds import TFDS_NAME, load_tfds_folder, load_tfds_name
from jnas.errors import JnasError

IN_MEMORY_SOURCE = "arrays"
"""What a store has as the source of images that were given as arrays: they cannot be read from it again."""
_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
_MEDMNIST = {
    f"{split}_{kind}": f"{letter}_{split}"
    for split in ("train", "val", "test")
    for letter, kind in (("x", "images"), ("y", "labels"))
}
_NAMES = (*_ARRAYS, "class_names", *_MEDMNIST)
_EXPECTED_ARRAYS = "x_train, y_train and, if there are any, x_val, y_val, x_test, y_test and class_names"
_HINT = "give 'excerpt', 'cifar10', the path of an .npz file, or a dictionary with arrays x_train and y_train"


def load_data(
    source: str | os.PathLike | Mapping[str, ArrayLike] | tuple | Dataset = "excerpt", classes: int | None = None
) -> Dataset:
    """Returns the images and labels of any source.

    Args:
      source: one of
        "excerpt", the bundled 5,000 images of CIFAR-10 (4,000 for training, 1,000 for testing);
        the path of an .npz file with uint8 images `x_train`, labels `y_train` and, optionally, `x_val`, `y_val`,
        `x_test`, `y_test` and `class_names`; MedMNIST's names, such as `train_images`, are taken as well;
        a dictionary with the same arrays, or tuples `(x, y)` or `((x_train, y_train), (x_test, y_test))`;
        the path of a prepared TensorFlow Datasets folder;
        a name of TensorFlow Datasets, such as "cifar10" or "emnist/letters";
        a `Dataset`, which is returned as it is.
      classes: the number of classes, if it is not that of the training labels.

    Raises:
      JnasError: if there is no such source, or it is not a labelled set of uint8 images of one size.
    """
    if classes is not None:
        classes = to_int("classes", classes, 2, 2**31 - 1)
    if isinstance(source, Dataset):
        if classes not in (None, source.classes):
            refuse("classes", f"{source.classes}, as in the Dataset", classes, "leave it out")
        return source
    if isinstance(source, tuple):
        source = _name_pairs(source)
    if isinstance(source, Mapping):
        return _from_arrays("your arrays", "your arrays", source, classes)
    path = to_path("The source of images", source, _HINT)
    if str(source) == "excerpt":
        return load_excerpt(classes)
    try:
        if path.is_dir():
            return load_tfds_folder(path, classes)
        if path.is_file():
            return _load_npz(path, classes)
    except OSError as error:
        raise JnasError(f"{printable(path)} cannot be read ({error.strerror}): check the path.") from error
    if re.fullmatch(TFDS_NAME, str(source)):
        return load_tfds_name(str(source), classes)
    what = "file or folder" if path.suffix or len(path.parts) > 1 else "file, folder or data set"
    raise JnasError(f"There is no {what} {printable(path)}: check the name, or {_HINT}.")


def _name_pairs(source: tuple) -> dict[str, Any]:
    """Returns `(x, y)`, or `((x, y), (x, y))` for training and testing as in Keras, as arrays with names."""
    if len(source) == 2:
        if not all(isinstance(pair, tuple) for pair in source):
            return dict(zip(("x_train", "y_train"), source, strict=True))
        if all(len(pair) == 2 for pair in source):
            (x_train, y_train), (x_test, y_test) = source
            return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    raise JnasError(
        f"A tuple of arrays must be (x, y) or ((x_train, y_train), (x_test, y_test)), got one of length {len(source)}; "
        "give a dictionary with x_train, y_train, x_val, y_val, x_test and y_test."
    )


def _load_npz(path: Path, classes: int | None) -> Dataset:
    name, location = printable(path.name), printable(path)
    if what := describe_file(path):
        raise JnasError(f"{location} must be an .npz file with {_EXPECTED_ARRAYS}, got {what}.")
    arrays: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for array in file:
                # Of other arrays only the name matters, for an error.
                arrays[array] = file[array] if array in _NAMES else None
    except (
        EOFError,
        ValueError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
        MemoryError,
        SyntaxError,
    ) as error:
        raise JnasError(
            f"{location} must be an .npz file with {_EXPECTED_ARRAYS}, got one that is cut off, damaged, too large "
            "or with objects; save arrays of numbers again with numpy.savez."
        ) from error
    return _from_arrays(name, location, arrays, classes)


def _from_arrays(name: str, location: str, arrays: Mapping[str, Any], classes: int | None) -> Dataset:
    for array in arrays:
        if array not in _NAMES:
            near = difflib.get_close_matches(str(array).lower(), _NAMES, 1)
            hint = f"it may be meant as {near[0]}" if near else "leave it out, or rename it"
            raise JnasError(f"{location} must hold {_EXPECTED_ARRAYS}, got {shown(array)} as well; {hint}.")
    values = {_MEDMNIST.get(array, array): value for array, value in arrays.items()}
    if twice := [array for array in arrays if _MEDMNIST.get(array) in arrays]:
        both = f"{_MEDMNIST[twice[0]]} and {twice[0]}"
        raise JnasError(f"{location} must hold each array once, got both {both}; leave one out.")
    missing = [array for array in ("x_train", "y_train") if array not in values]
    for one, other in (("x_val", "y_val"), ("x_test", "y_test")):
        if (one in values) != (other in values):
            missing.append(other if one in values else one)
    if missing:
        raise JnasError(
            f"{location} must hold {_EXPECTED_ARRAYS}, got no {' and no '.join(missing)} "
            f"(it holds {', '.join(arrays) or 'nothing'}); add what is missing, or rename it."
        )
    return Dataset(name=name, **{"x_test": [], "y_test": [], "classes": classes} | values)
