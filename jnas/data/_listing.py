"""Pictures with labels and splits, wherever they are listed, as a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jnas.data._assembly import assemble
from jnas.data._dataset import Dataset
from jnas.data._reading import Pictures, read_all
from jnas.data._sizes import Fit, Size
from jnas.errors import JnasError

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The parts of a data set in order, and what people call them."""


def find_split(word: str) -> str | None:
    """Returns the part of a data set that a word names: "train", "val" or "test"; None for another word."""
    return next((split for split, words in SPLITS.items() if word.strip().lower() in words), None)


@dataclass(frozen=True)
class Listing:
    """Pictures, and for each its label and its part ("train", "val" or "test")."""

    name: str
    pictures: Pictures
    labels: Sequence[Any]
    splits: Sequence[str]
    class_names: Sequence[str] | None = None
    notes: tuple[str, ...] = field(default=())


def read_listing(listing: Listing, classes: int | None, size: Size | None, fit: Fit, progress: bool) -> Dataset:
    """Returns the data set of pictures that are in the order of their splits.

    Raises:
      JnasError: if there are none for training, or they cannot be read.
    """
    splits, labels = np.asarray(listing.splits, str), np.asarray(listing.labels)
    if not (splits == "train").any():
        raise JnasError(
            f"{listing.name} must have pictures for training, got none among {len(splits):,}; name their part train."
        )
    reading = read_all(listing.name, listing.pictures, size, fit, progress)
    images, numbers, start = {}, {}, 0
    for split in SPLITS:
        chosen = (splits == split) & reading.is_good
        count = int(chosen.sum())
        if count:  # views: the images may be too many for a copy
            images[f"x_{split}"] = reading.images[start : start + count]
            numbers[f"y_{split}"] = labels[chosen]
        start += count
    return assemble(listing.name, images, numbers, classes, listing.class_names, (*listing.notes, *reading.notes))
