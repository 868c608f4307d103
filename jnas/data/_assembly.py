"""The last step of every source: labels become numbers, and images that two parts have in common are counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from jnas.data._dataset import Dataset
from jnas.data._duplicates import describe_duplicates
from jnas.data._numbering import number_labels


def assemble(
    name: str,
    images: Mapping[str, Any],
    labels: Mapping[str, Any],
    classes: int | None,
    class_names: Any = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Returns the data set of images `x_train`, ... and labels `y_train`, ... of any kind.

    Raises:
      JnasError: if they do not make one.
    """
    numbering = number_labels(name, labels, classes, class_names)
    values: dict[str, Any] = {"x_test": [], "y_test": [], **images, **numbering.labels}
    values |= {"classes": numbering.classes, "class_names": numbering.class_names, "notes": tuple(notes)}
    dataset = Dataset(name, **values)
    if note := describe_duplicates(dataset):
        object.__setattr__(dataset, "notes", (*dataset.notes, note))
    return dataset
