"""Images without labels, to be classified: files and folders, in the size of a network."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jnas._validation import to_path
from jnas.data._arrays import find_images
from jnas.data._csv import CSV_SUFFIXES
from jnas.data._files import printable
from jnas.data._folders import walk
from jnas.data._images import check_images
from jnas.data._load import load_data, read_npz
from jnas.data._pictures import SUFFIXES
from jnas.data._pixels import convert_images
from jnas.data._reading import read_files
from jnas.data._sizes import Fit
from jnas.errors import JnasError

_TABLES = (".npz", ".parquet", *CSV_SUFFIXES)


class PictureFiles(NamedTuple):
    """Pictures that were read: their paths as text, their pixels, and sentences on those that could not be read."""

    names: list[str]
    images: UInt8[np.ndarray, "n h w c"]
    problems: list[str]


def read_pictures(paths: Iterable[str | os.PathLike], in_shape: tuple[int, int, int], fit: Fit) -> PictureFiles:
    """Returns the pictures of files, and of all that are in folders, for networks of `(C, H, W)`.

    A table (.npz, .csv, .parquet) has its test images under names such as "a.npz[0]", all where there is no test part;
    pixels are read as `load_data` reads them. An .npz file needs no labels.

    Raises:
      JnasError: if there are none, none can be read, or such networks take no pictures.
    """
    files: list[Path] = []
    tables: list[Path] = []
    for path in (to_path("A picture", path) for path in paths):
        try:
            found = [one.path for one in walk(path)] if path.is_dir() else [path]
        except OSError as error:
            raise JnasError(f"{printable(path)} cannot be read ({error.strerror}): check the path.") from error
        if path.suffix.lower() in _TABLES and path.is_file():
            tables.append(path)
        else:
            files += [one for one in found if one.suffix.lower() in SUFFIXES] if path.is_dir() else found
    if not files and not tables:
        raise JnasError("Pictures must be given as files, or folders that hold some, got none; name some.")
    parts = [_read_table(path, in_shape, fit) for path in tables]
    if files:
        parts.append(_read_files(files, in_shape, fit))
    names = [name for part in parts for name in part.names]
    problems = [problem for part in parts for problem in part.problems]
    return PictureFiles(names, np.concatenate([part.images for part in parts]), problems)


def _read_files(files: Sequence[Path], in_shape: tuple[int, int, int], fit: Fit) -> PictureFiles:
    channels, height, width = in_shape
    if channels not in (1, 3):
        raise JnasError(
            f"The network must have 1 or 3 channels to classify pictures, got {channels}; give its images in an .npz "
            "file, or to EvaluatedCandidate.predict."
        )
    images, reasons = read_files(files, (height, width), channels, fit)
    problems = [f"{printable(files[index])} cannot be read ({reasons[index]})" for index in sorted(reasons)]
    if len(reasons) == len(files):
        more = f", nor can {len(files) - 1:,} more" if len(files) > 1 else ""
        raise JnasError(f"{problems[0]}{more}: give pictures, such as JPEG or PNG files.")
    good = [index for index in range(len(files)) if index not in reasons]
    return PictureFiles([printable(files[index]) for index in good], images[good], problems)


def _read_table(path: Path, in_shape: tuple[int, int, int], fit: Fit) -> PictureFiles:
    location, (channels, height, width) = printable(path), in_shape
    if path.suffix.lower() == ".npz":
        found, _ = convert_images(location, find_images(location, read_npz(path, location)), (height, width), fit)
        images = found["x"]
    else:
        data = load_data(path, size=(height, width), fit=fit, progress=False)
        images = data.x_test if len(data.x_test) else data.x_train
    images = np.asarray(check_images(images, (height, width, channels), f"The images of {location}"))
    return PictureFiles([f"{location}[{index}]" for index in range(len(images))], images, [])
