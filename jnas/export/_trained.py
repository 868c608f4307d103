"""What is written: a trained module with where it comes from, and the images that it is checked on."""

import functools
from dataclasses import dataclass

import numpy as np
from flax import nnx
from jaxtyping import Int32, UInt8

from jnas.data import Dataset, Split
from jnas.export._forms import Options
from jnas.export._source import TrainedTemplate
from jnas.store import Evaluation
from jnas.train import ONE_VIEW, Views

Labelled = tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]
"""Images and their labels."""


@dataclass(frozen=True)
class TrainedModel:
    """The module of a template, with the evaluation `row` that gave its weights; `data` is None without images."""

    source: TrainedTemplate
    module: nnx.Sequential
    row: Evaluation
    data: Dataset | None
    options: Options

    @property
    def views(self) -> Views:
        """The views of an image over which exported forms average."""
        return self.source.recipe.views if self.options.views else ONE_VIEW

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, if the images or the search's row of the store have them."""
        if self.data is not None and self.data.class_names is not None:
            return self.data.class_names
        names = self.source.class_names
        return None if names is None else tuple(names)

    @functools.cached_property
    def split(self) -> Split:
        """The training and validation images; only where there is `data`."""
        assert self.data is not None
        return self.data.split(self.source.recipe.val_fraction, self.row.key.split_seed)

    def checked_images(self) -> tuple[str, float, Labelled]:
        """Returns the name of the split that the files are checked on, the evaluation's accuracy on it, and its images.

        These are the test images if the evaluation was tested, which only the winner of a search is.
        """
        if self.row.test_acc_final is not None:
            assert self.data is not None
            return "test", self.row.test_acc_final, (self.data.x_test, self.data.y_test)
        return "validation", self.row.val_acc_final or 0.0, self.validation_images()

    def validation_images(self) -> Labelled:
        """Returns the validation images and their labels."""
        return np.asarray(self.split.x_val), np.asarray(self.split.y_val)
