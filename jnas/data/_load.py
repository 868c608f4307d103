"""One function for every source of images."""

import dataclasses
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnas._validation import refuse, to_bool, to_int, to_path
from jnas.data._arrays import EXPECTED_ARRAYS, NAMES, is_data_object, load_arrays, name_arrays
from jnas.data._cifar import find_cifar, load_cifar
from jnas.data._csv import CSV_SUFFIXES, list_csv
from jnas.data._dataset import Dataset
from jnas.data._excerpt import load_excerpt
from jnas.data._files import describe_file, printable
from jnas.data._folders import list_folder
from jnas.data._listing import read_listing
from jnas.data._parquet import find_parquet, list_parquet
from jnas.data._pixels import convert_images
from jnas.data._reading import check_memory
from jnas.data._sizes import Fit, Size, size_text, to_fit, to_size
from jnas.data._tfds import TFDS_NAME, find_prepared, load_tfds_folder, load_tfds_name
from jnas.errors import JnasError

IN_MEMORY_SOURCE = "arrays"
"""What a store has as the source of images that were given as arrays: they cannot be read from it again."""
_HINT = "give 'excerpt', 'cifar10', the path of a folder, a CSV, Parquet or .npz file, or arrays x_train and y_train"


def load_data(
    source: Any = "excerpt",
    classes: int | None = None,
    *,
    size: int | str | tuple[int, int] | None = None,
    fit: Fit = "crop",
    progress: bool = True,
) -> Dataset:
    """Returns the images and labels of any source.

    Args:
      source: one of
        "excerpt", the bundled 5,000 images of CIFAR-10 (4,000 for training, 1,000 for testing);
        a folder of pictures with a sub-folder a class, or with that in each of train, val and test;
        a CSV file with the columns path, label and, if there are parts, split;
        Parquet files as Hugging Face writes them, or their folder;
        an .npz file, or a dictionary, with images `x_train`, labels `y_train` and, optionally, `x_val`, `y_val`,
        `x_test`, `y_test` and `class_names`; MedMNIST's names, such as `train_images`, are taken as well;
        tuples `(x, y)` or `((x_train, y_train), (x_test, y_test))`, data sets of torchvision, a pair of them, or a
        dictionary of either by train, val and test;
        the folder of CIFAR-10 or CIFAR-100 for Python;
        a folder that TensorFlow Datasets prepared, or a name of it, such as "cifar10" or "emnist/letters";
        a `Dataset`, which is returned as it is.
      classes: the number of classes, if it is not that of the labels.
      size: height and width in pixels: 32, "32", "48x64" or (48, 64). By default arrays keep their size, and pictures
        come to the median of their heights and of their widths, at most 64.
      fit: how pictures of another shape come to it: "crop" takes the middle, "pad" adds black, "stretch" distorts.
      progress: whether to show how far reading is, where there are many pictures.

    Labels may be words, whole numbers, booleans or one-hot rows. Pixels may be numbers of any type from 0 to 255, of up
    to 16 bits, or floats from 0 to 1. What was done to them is in `notes` of the data set.

    Raises:
      JnasError: if there is no such source, or it is not a labelled set of images.
    """
    if classes is not None:
        classes = to_int("classes", classes, 2, 2**31 - 1)
    pixels = None if size is None else to_size("size", size)
    fit, progress = to_fit("fit", fit), to_bool("progress", progress)
    if isinstance(source, Dataset):
        return _check_dataset(source, classes, pixels)
    if hasattr(source, "samples") and hasattr(source, "root"):  # pictures on disk, as torchvision's ImageFolder
        source = source.root
    if isinstance(source, tuple | Mapping) or is_data_object(source):
        return load_arrays("your arrays", name_arrays(source), classes, pixels, fit)
    path = to_path("The source of images", source, _HINT)
    if str(source) == "excerpt":
        return _resized(load_excerpt(classes), pixels, fit)
    try:
        if path.is_dir():
            return _load_folder(path, classes, pixels, fit, progress)
        if path.is_file():
            return _load_file(path, classes, pixels, fit, progress)
    except OSError as error:
        raise JnasError(f"{printable(path)} cannot be read ({error.strerror}): check the path.") from error
    if re.fullmatch(TFDS_NAME, str(source)):
        return load_tfds_name(str(source), classes, pixels, fit)
    what = "file or folder" if path.suffix or len(path.parts) > 1 else "file, folder or data set"
    raise JnasError(f"There is no {what} {printable(path)}: check the name, or {_HINT}.")


def _check_dataset(data: Dataset, classes: int | None, size: Size | None) -> Dataset:
    if classes not in (None, data.classes):
        refuse("classes", f"{data.classes}, as in the Dataset", classes, "leave it out")
    own = data.x_train.shape[1:3]
    if size not in (None, own):
        refuse("size", f"{size_text(own)}, as in the Dataset", size_text(size or own), "leave it out")
    return data


def _resized(data: Dataset, size: Size | None, fit: Fit) -> Dataset:
    if size is None:
        return data
    images, notes = convert_images(data.name, {"x_train": data.x_train, "x_test": data.x_test}, size, fit)
    return dataclasses.replace(data, **images, notes=tuple(notes))


def _load_folder(path: Path, classes: int | None, size: Size | None, fit: Fit, progress: bool) -> Dataset:
    if prepared := find_prepared(path):
        return load_tfds_folder(path, prepared, classes, size, fit)
    if cifar := find_cifar(path):
        arrays, names, notes = load_cifar(cifar)
        named = arrays | ({} if names is None else {"class_names": names})
        return load_arrays(printable(cifar.name), named, classes, size, fit, notes=notes)
    if next(path.rglob("*.parquet"), None) and (entries := find_parquet(path)):
        return read_listing(list_parquet(path, entries), classes, size, fit, progress)
    return read_listing(list_folder(path), classes, size, fit, progress)


def _load_file(path: Path, classes: int | None, size: Size | None, fit: Fit, progress: bool) -> Dataset:
    if path.suffix.lower() in CSV_SUFFIXES:
        return read_listing(list_csv(path), classes, size, fit, progress)
    if path.suffix.lower() == ".parquet":
        return read_listing(list_parquet(path, find_parquet(path)), classes, size, fit, progress)
    name, location = printable(path.name), printable(path)
    return load_arrays(name, read_npz(path, location), classes, size, fit, location)


def read_npz(path: Path, location: str) -> dict[str, Any]:
    """Returns the arrays of an .npz file by their names, None for those that mean nothing to jnas."""
    if what := describe_file(path):
        raise JnasError(f"{location} must be an .npz file with {EXPECTED_ARRAYS}, got {what}.")
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_memory(location, [sum(info.file_size for info in archive.infolist())])
        with np.load(path, allow_pickle=False) as file:
            for array in file:
                # Of other arrays only the name matters, for an error.
                arrays[array] = file[array] if array in NAMES else None
    except JnasError:
        raise
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
            f"{location} must be an .npz file with {EXPECTED_ARRAYS}, got one that is cut off, damaged, too large "
            "or with objects; save arrays of numbers again with numpy.savez."
        ) from error
    return arrays
