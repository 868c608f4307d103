"""Labels of any kind as numbers from 0: words, other numbers, booleans and one-hot rows; their names are kept."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnas._validation import shown, to_tuple
from jnas.errors import JnasError


class Numbering(NamedTuple):
    """Labels by the names of their arrays, the number of classes, and their names; None for what is not known."""

    labels: dict[str, Any]
    classes: int | None
    class_names: Sequence[str] | None


def number_labels(name: str, labels: Mapping[str, Any], classes: int | None, names: Any) -> Numbering:
    """Returns labels as numbers from 0 where they are of a kind that can be numbered, all others as they are.

    The classes are those of `y_train`, words in alphabetical order, numbers by their size. Labels that are numbers from
    0 already stay as they are.

    Raises:
      JnasError: if another array has a class that `y_train` does not have.
    """
    if names is not None:
        names = list(to_tuple(f"class_names of {name}", names, "a list of text"))
    plain = {split: plain_labels(values) for split, values in labels.items()}
    if any(values is None for values in plain.values()):
        return Numbering(dict(labels), classes, names)  # which the check of labels refuses
    arrays = {split: values for split, values in plain.items() if values is not None}
    widths = {split: array.shape[1] for split, array in arrays.items() if array.ndim == 2}
    if widths:  # one-hot
        same = set(widths.values()) == {widths.get("y_train")}
        if not same or len(widths) < sum(len(array) > 0 for array in arrays.values()):
            got = ", ".join(f"{split} {shown(values)}" for split, values in labels.items())
            raise JnasError(
                f"The labels of {name} must be of one kind, got {got}; give one number for each image, with "
                "labels.argmax(-1)."
            )
        classes = classes or widths["y_train"]
        arrays = {split: array.argmax(-1) if array.ndim == 2 else array for split, array in arrays.items()}
    train = arrays["y_train"]
    values = np.unique(train)
    if train.dtype.kind == "b":
        names = ["False", "True"] if names is None and len(values) == 2 and classes in (None, 2) else names
        return Numbering({split: array.astype(np.int64) for split, array in arrays.items()}, classes, names)
    known: Sequence[Any]
    if train.dtype.kind == "U":
        known = sort_names(map(str, values)) if names is None else [str(one) for one in names]
        names = known
        if len(known) < 2:
            got = shown(known[0]) if known else "none"
            raise JnasError(
                f"The labels of {name} must be of 2 classes or more, got {got}; add images of another class."
            )
    else:
        count = classes or (None if names is None else len(names))
        are_from_zero = len(values) and values[0] >= 0 and values[-1] < (count or len(values))
        if are_from_zero or len(values) < 2 or count not in (None, len(values)):
            return Numbering(arrays, classes, names)
        known = values.tolist()
        names = list(map(str, known)) if names is None else names
    return Numbering(_renumber(name, arrays, known), classes, names)


def sort_names(names: Iterable[str]) -> list[str]:
    """Returns different names in order: whole numbers by their size, if all are that."""
    found = sorted(set(names))
    return sorted(found, key=int) if all(name.isascii() and name.isdigit() for name in found) else found


def _renumber(name: str, arrays: Mapping[str, np.ndarray], known: Sequence[Any]) -> dict[str, np.ndarray]:
    places = {one: place for place, one in reversed(list(enumerate(known)))}  # of equal names the first
    numbers = {}
    for split, array in arrays.items():
        values = array.tolist()
        if unknown := [one for one in values if one not in places]:
            some = ", ".join(str(one)[:40] for one in known[:5]) + (", ..." if len(known) > 5 else "")
            raise JnasError(
                f"{split} of {name} must have classes of the training images only ({some}), got "
                f"{shown(unknown[0])}; add training images of it, or leave these images out."
            )
        numbers[split] = np.array([places[one] for one in values], np.int64)
    return numbers


def plain_labels(labels: Any) -> np.ndarray | None:
    """Returns labels as an array of words, numbers or booleans, or of one-hot rows; None if they are none of these."""
    try:
        if np.ma.is_masked(labels):
            return None
        array = np.asarray(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "OST":
        array = _of_objects(array)
    if array is None or array.dtype.kind not in "Uiufb":
        return None
    if array.ndim == 2 and array.shape[1] > 1 and len(array) and array.dtype.kind != "U":
        is_one_hot = np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()
        return array.astype(np.int64) if is_one_hot else None
    if array.ndim != 1:
        return None
    if array.dtype.kind == "f":
        is_whole = bool((np.abs(array) < 2**53).all() and (array == np.floor(array)).all())
        return array.astype(np.int64) if is_whole else None
    return array


def _of_objects(array: np.ndarray) -> np.ndarray | None:
    """Returns objects, such as a column of pandas', as words or numbers, if all are of that kind."""
    if array.ndim != 1:
        return None
    if array.dtype.kind == "S":
        return np.array([one.decode("utf-8", "backslashreplace") for one in array.tolist()], str)
    values = array.tolist()
    for kinds, dtype in ((str, str), ((bool, np.bool_), bool), ((int, np.integer), np.int64)):
        if values and all(isinstance(one, kinds) for one in values):
            try:
                return np.array(values, dtype)
            except OverflowError:
                return None
    return None
