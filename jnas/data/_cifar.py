"""CIFAR-10 and CIFAR-100 as their authors' folder for Python has them (Krizhevsky 2009)."""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jnas._validation import first_line
from jnas.data._files import printable
from jnas.errors import JnasError

_TEN = "batches.meta", "data_batch_*", "test_batch", "labels", "label_names"
_HUNDRED = "meta", "train", "test", "fine_labels", "fine_label_names"
"""The file with the names of the classes, those of training and of testing, and what labels and names are called."""
_NUM_BATCHES = 5
_PIXELS = 32


class _Array:
    """What stands for an array in a file, and for NumPy's names: what it is made of, and the array itself."""

    value: np.ndarray | None = None

    def __init__(self, *words: Any) -> None:
        self.words = words

    def __setstate__(self, state: Any) -> None:
        if len(state) == 5:  # of an array; a type of numbers has more
            _, shape, kind, is_fortran, pixels = state
            content = pixels.encode("latin-1") if isinstance(pixels, str) else pixels
            self.value = np.frombuffer(content, kind.words[0]).reshape(shape, order="F" if is_fortran else "C")


_STAND_INS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **dict.fromkeys((("numpy", "ndarray"), ("numpy", "dtype")), _Array),
    ("_codecs", "encode"): lambda text, _: text,  # bytes, as the oldest versions of the format have them
}
"""By module and name, all that a file may call; nothing of it is looked up, and any other name is an error."""


class _Reader(pickle._Unpickler):
    """Python's reader of objects, which calls what a file names; this one has nothing to call but stand-ins.

    The one in Python: that in C takes as much memory as a number in the file says. So would arrays of bytes, which no
    such file has, here.
    """

    dispatch: ClassVar[dict] = {
        key: load for key, load in pickle._Unpickler.dispatch.items() if key != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        return _STAND_INS[module, name]


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
    if not isinstance(found, list) or not all(isinstance(name, str | bytes) and name for name in found):
        raise JnasError(_damage(folder / meta))
    return arrays, list(map(_to_text, found)), notes


def _read(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    content = _contents(path)
    array, labels = content.get("data"), content.get(label)
    images = array.value if isinstance(array, _Array) else None
    if images is None or images.dtype != np.uint8 or not isinstance(labels, list):
        raise JnasError(_damage(path))
    if images.shape != (len(labels), 3 * _PIXELS**2) or not all(type(one) is int for one in labels):
        raise JnasError(_damage(path))
    pixels = images.reshape(-1, 3, _PIXELS, _PIXELS).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), np.array(labels)


def _contents(path: Path) -> dict:
    """Returns the dictionary in a file, with arrays as `_Array`; its keys are Python's text."""
    try:
        content = _Reader(io.BytesIO(path.read_bytes()), encoding="latin-1").load()
    except OSError as error:
        raise JnasError(f"{printable(path)} cannot be read ({first_line(error)}): check the file.") from error
    except Exception as error:  # damaged files let `pickle` and numpy raise nearly every type
        raise JnasError(_damage(path)) from error
    return {_to_text(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _to_text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _damage(path: Path) -> str:
    return f"{printable(path)} must be a file of CIFAR-10 or CIFAR-100, got a damaged or another one; copy it again."
