"""Arrays with names, in pairs, in dictionaries or in data sets of torchvision, as a data set."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from jnas._validation import shown
from jnas.data._assembly import assemble
from jnas.data._dataset import Dataset
from jnas.data._listing import find_split
from jnas.data._pixels import convert_images
from jnas.data._sizes import Fit, Size
from jnas.errors import JnasError

_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
_ALIASES = {
    **{
        f"{split}_{kind}": f"{letter}_{split}"  # as MedMNIST has them
        for split in ("train", "val", "test")
        for letter, kind in (("x", "images"), ("y", "labels"))
    },
    **dict.fromkeys(("x", "X", "images", "image"), "x_train"),
    **dict.fromkeys(("y", "labels", "label"), "y_train"),
}
NAMES = (*_ARRAYS, "class_names", *_ALIASES)
"""What arrays may be called."""
EXPECTED_ARRAYS = "x_train, y_train and, if there are any, x_val, y_val, x_test, y_test and class_names"
_PAIRS = "(x, y) or ((x_train, y_train), (x_test, y_test))"


def load_arrays(
    name: str,
    arrays: Mapping[str, Any],
    classes: int | None = None,
    size: Size | None = None,
    fit: Fit = "crop",
    location: str | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Returns the data set of arrays by their names; raises a `JnasError` if they do not make one.

    `location` is where they are in sentences, by default the name; `notes` are put before those of the data set.
    """
    values = _rename(location or name, _flatten(arrays))
    images = {key: value for key, value in values.items() if key[0] == "x"}
    labels = {key: value for key, value in values.items() if key[0] == "y"}
    images, more = convert_images(name, {"x_train": images["x_train"], **images}, size, fit)
    return assemble(name, images, labels, classes, values.get("class_names"), (*notes, *more))


def find_images(location: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the images `x` of an .npz file that are to be classified, and `x_train`, which say how pixels are meant.

    Those to be classified are the test images where there are some.
    """
    values = {_ALIASES.get(name, name): value for name, value in arrays.items()}
    found = [values[name] for name in ("x_test", "x_train", "x_val") if name in values]
    if not found:
        held = ", ".join(arrays) or "nothing"
        raise JnasError(f"{location} must hold images x or x_test to be classified, got {held}; rename them.")
    return {"x_train": values.get("x_train", found[0]), "x": found[0]}


def is_data_object(source: Any) -> bool:
    """Returns whether an object has images and labels as data sets of torchvision have them."""
    return not isinstance(source, Mapping | tuple | str) and _open_object(source) is not None


def name_arrays(source: Any) -> dict[str, Any]:
    """Returns `(x, y)`, two such pairs for training and testing, or data sets of torchvision, by names of arrays."""
    if isinstance(source, Mapping):
        return dict(source)
    if is_data_object(source):
        return {"train": source}
    if len(source) == 2:
        if all(is_data_object(one) or (isinstance(one, tuple) and len(one) == 2) for one in source):
            return dict(zip(("train", "test"), source, strict=True))
        if not all(isinstance(pair, tuple) for pair in source):
            return dict(zip(("x_train", "y_train"), source, strict=True))
    raise JnasError(
        f"A tuple of arrays must be {_PAIRS}, got one of length {len(source)}; "
        "give a dictionary with x_train, y_train, x_val, y_val, x_test and y_test."
    )


def _open_object(source: Any) -> tuple[Any, Any, Any] | None:
    """Returns images, labels and the names of classes of an object; None if it does not have them."""
    if hasattr(source, "indices") and (whole := _open_object(getattr(source, "dataset", None))):  # a subset
        try:
            return *(_take(values, list(source.indices)) for values in whole[:2]), whole[2]
        except (TypeError, IndexError):
            return None
    images = next((getattr(source, name) for name in ("data", "imgs") if hasattr(source, name)), None)
    labels = next((getattr(source, name) for name in ("targets", "labels") if hasattr(source, name)), None)
    if images is None or labels is None or callable(images) or not hasattr(images, "shape"):
        return None
    return images, labels, getattr(source, "classes", None)


def _take(values: Any, indices: list[int]) -> Any:
    return values[indices] if hasattr(values, "shape") else [values[index] for index in indices]


def _flatten(arrays: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns arrays by names where some are pairs or data sets by the name of their part, such as "train"."""
    flat: dict[Any, Any] = {}
    for key, value in arrays.items():
        split = find_split(key) if isinstance(key, str) else None
        found = value if isinstance(value, tuple) and len(value) == 2 else None
        if split is None:
            flat[key] = value
            continue
        if found is None and isinstance(value, Mapping):
            inner = {_ALIASES.get(str(name), name): one for name, one in value.items()}
            found = (inner["x_train"], inner["y_train"]) if set(inner) == {"x_train", "y_train"} else None
        found = found or _open_object(value)
        if found is None:
            flat[key] = value
        else:
            if f"x_{split}" in flat:
                raise JnasError(f"A dictionary of parts must have each part once, got {split} twice; leave one out.")
            flat |= {f"x_{split}": found[0], f"y_{split}": found[1]}
            if len(found) > 2 and found[2] is not None:
                flat.setdefault("class_names", found[2])
    return flat


def _rename(location: str, arrays: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns arrays by the names of `_ARRAYS`; raises a JnasError for unknown names, and those that are missing."""
    for array in arrays:
        if array not in NAMES:
            near = difflib.get_close_matches(str(array).lower(), NAMES, 1)
            hint = f"it may be meant as {near[0]}" if near else "leave it out, or rename it"
            raise JnasError(f"{location} must hold {EXPECTED_ARRAYS}, got {shown(array)} as well; {hint}.")
    values: dict[Any, Any] = {}
    first: dict[Any, str] = {}
    for array, value in arrays.items():
        name = _ALIASES.get(array, array)
        if name in values:
            raise JnasError(f"{location} must hold each array once, got both {first[name]} and {array}; leave one out.")
        values[name], first[name] = value, array
    missing = [array for array in ("x_train", "y_train") if array not in values]
    for one, other in (("x_val", "y_val"), ("x_test", "y_test")):
        if (one in values) != (other in values):
            missing.append(other if one in values else one)
    if missing:
        raise JnasError(
            f"{location} must hold {EXPECTED_ARRAYS}, got no {' and no '.join(missing)} "
            f"(it holds {', '.join(arrays) or 'nothing'}); add what is missing, or rename it."
        )
    return values
