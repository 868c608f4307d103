"""CIFAR-10 and CIFAR-100 as their authors' folder for Python has them (Krizhevsky 2009)."""

from pathlib import Path
from typing import Any

import numpy as np

from jnas._validation import first_line
from jnas.data._files import printable
from jnas.data._objects import read_objects
from jnas.errors import JnasError

_TEN = "batches.meta", "data_batch_*", "test_batch", "labels", "label_names"
_HUNDRED = "meta", "train", "test", "fine_labels", "fine_label_names"
"""The file with the names of the classes, those of training and of testing, and what labels and names are called."""
_NUM_BATCHES = 5
_PIXELS = 32


def find_cifar(folder: Path) -> Path | None:
    """Returns the folder with the batches of CIFAR-10 or CIFAR-100, which is this one or one in it."""
    for path in (folder, folder / "cifar-10-batches-py", folder / "cifar-100-python"):
        if next(path.glob("data_batch_[0-9]"), None) or all((path / name).is_file() for name in _HUNDRED[:2]):
            return path
    return None


def load_cifar(folder: Path) -> tuple[dict[str, Any], list[str] | None, list[str]]:
    """Returns the arrays of a folder of CIFAR-10 or CIFAR-100, its class names, and sentences on what is missing.

    Raises:
      JnasError: if a file is damaged, or another one.
    """
    batches = sorted(folder.glob(_TEN[1]))
    meta, _, test, label, names = _TEN if batches else _HUNDRED
    arrays: dict[str, Any] = {}
    notes = []
    if batches and len(batches) != _NUM_BATCHES:
        notes.append(f"{printable(folder)} has {len(batches)} of the {_NUM_BATCHES} batches of CIFAR-10.")
    for split, files in (("train", batches or [folder / _HUNDRED[1]]), ("test", [folder / test])):
        parts = [_read(file, label) for file in files if file.is_file()]
        if parts:
            arrays[f"x_{split}"] = np.concatenate([images for images, _ in parts])
            arrays[f"y_{split}"] = np.concatenate([labels for _, labels in parts])
        else:
            notes.append(f"{printable(folder)} has no {test}.")
    if not (folder / meta).is_file():
        return arrays, None, notes
    found = _contents(folder / meta).get(names)
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise JnasError(_damage(folder / meta))
    return arrays, found, notes


def _read(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    content = _contents(path)
    images, labels = content.get("data"), content.get(label)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or not isinstance(labels, list):
        raise JnasError(_damage(path))
    if images.shape != (len(labels), 3 * _PIXELS**2) or not all(type(one) is int for one in labels):
        raise JnasError(_damage(path))
    pixels = images.reshape(-1, 3, _PIXELS, _PIXELS).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), np.array(labels)


def _contents(path: Path) -> dict:
    """Returns the dictionary in a file; its keys and the text in it are Python's text."""
    try:
        content = read_objects(path.read_bytes())
    except OSError as error:
        raise JnasError(f"{printable(path)} cannot be read ({first_line(error)}): check the file.") from error
    except Exception as error:  # damaged files let `pickletools` and numpy raise nearly every type
        raise JnasError(_damage(path)) from error
    return content if isinstance(content, dict) else {}


def _damage(path: Path) -> str:
    return f"{printable(path)} must be a file of CIFAR-10 or CIFAR-100, got a damaged or another one; copy it again."
