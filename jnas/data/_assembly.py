"""The last step of every source: labels become numbers, and images that two parts have in common are counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnas.data._dataset import Dataset
from jnas.data._numbering import number_labels


def assemble(
    name: str, arrays: Mapping[str, Any], classes: int | None, class_names: Any = None, notes: Sequence[str] = ()
) -> Dataset:
    """Returns the data set of images `x_train`, ... and labels `y_train`, ... of any kind.

    Raises:
      JnasError: if they do not make one.
    """
    images = {key: values for key, values in arrays.items() if key[0] == "x"}
    labels = {key: values for key, values in arrays.items() if key[0] == "y"}
    numbering = number_labels(name, labels, classes, class_names)
    values: dict[str, Any] = {"x_test": [], "y_test": []} | images | numbering.labels
    values |= {"classes": numbering.classes, "class_names": numbering.class_names, "notes": tuple(notes)}
    dataset = Dataset(name, **values)
    if note := _describe_duplicates(dataset):
        object.__setattr__(dataset, "notes", (*dataset.notes, note))
    return dataset


def _describe_duplicates(data: Dataset) -> str | None:
    """Returns in a sentence how many images occur more than once, pixel by pixel; None if none does."""
    train = _digests(data.x_train)
    seen = set(train)
    others = {"validation": () if data.x_val is None else _digests(data.x_val), "test": _digests(data.x_test)}
    found = [f"{len(train) - len(seen):,} of {len(train):,} training images repeat others"] * (len(seen) < len(train))
    for part, digests in others.items():
        if count := sum(digest in seen for digest in digests):
            found.append(f"{count:,} of {len(digests):,} {part} images are training images")
    if not found:
        return None
    return f"Equal images: {'; '.join(found)}. Accuracies on images that are trained on are too high."


def _digests(images: np.ndarray) -> list[int]:
    """Returns 64 bits of each image."""
    return [hash(image.tobytes()) for image in images]
