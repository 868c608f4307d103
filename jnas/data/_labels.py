"""The check of labels: one whole number an image, from 0 on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from jnas._validation import refuse, to_int
from jnas.data._numbering import plain_labels
from jnas.errors import JnasError


def check_labels(labels: Any, images: tuple[int, ...], name: str) -> Int[np.ndarray, " n"]:
    """Returns labels as an array of integers, one for each image of an array of shape `images`."""
    array = plain_labels(labels)
    if array is None or array.ndim != 1 or array.dtype.kind == "U":
        hint = "give the labels 0, 1, 2 and so on: of rows with labels.argmax(-1), of words with "
        hint += "numpy.unique(labels, return_inverse=True)[1]"
    elif array.shape == images[:1]:
        return array.astype(np.int64) if array.dtype.kind == "b" else array
    elif array.shape == images[-1:]:
        hint = "put the images first, with numpy.transpose(images, (3, 0, 1, 2))"
    else:
        hint = "give as many labels as images"
    refuse(name, f"one whole number for each of {images[0]:,} images", labels, hint)


def check_classes(labels: Mapping[str, Int[np.ndarray, " n"]], classes: Any, name: str) -> int:
    """Returns the number of classes, that of the labels `y_train` if it is None; labels are below it."""
    if classes is None:
        classes = _count_classes(labels["y_train"], name)
    else:
        classes = to_int(f"The number of classes of {name}", classes, 2, 2**31 - 1)
    for split, values in labels.items():
        outside = values[(values < 0) | (values >= classes)]
        if len(outside):
            raise JnasError(
                f"{split} of {name} must be from 0 to {classes - 1}, got {outside[0]}; number the labels from 0, or "
                f"give the right number of classes (now {classes})."
            )
    return classes


def _count_classes(labels: Int[np.ndarray, " n"], name: str) -> int:
    """Returns the number of classes of training labels that have each class."""
    values = np.unique(labels)
    first, last = int(values[0]), int(values[-1])
    has_gaps = last - first + 1 != len(values)
    if len(values) > 1 and first == 0 and not has_gaps:
        return last + 1
    if len(values) == 1:
        hint = "add images of another class"
    elif has_gaps:
        hint = "number them with numpy.unique(labels, return_inverse=True)[1], or give classes if some have no images"
    else:
        hint = f"{'subtract' if first > 0 else 'add'} {abs(first)}, as in all other labels"
    some = ", ".join(map(str, values[:4])) + (f", ..., {last}" if len(values) > 4 else "")
    raise JnasError(f"y_train of {name} must have all of the labels 0, 1, 2 and so on, 2 or more, got {some}; {hint}.")
