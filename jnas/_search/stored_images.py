"""The images of a search that is in a store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data
from jnas.errors import JnasError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StoredImages:
    """Which images a search had, where from, and how they came to their size."""

    experiment: str
    name: str
    source: str
    classes: int
    fingerprint: str
    size: Any
    fit: Any

    @classmethod
    def of(cls, experiment: "pd.Series") -> "StoredImages":
        """Returns the images of a row of the table `experiments`."""
        settings = json.loads(experiment.config_json)
        return cls(
            experiment.experiment_id,
            experiment.dataset_name,
            settings["data"],
            int(experiment.num_classes),
            experiment.dataset_fingerprint,
            settings.get("size"),
            settings.get("fit", "crop"),
        )

    def load(self, data: Dataset | Mapping[str, ArrayLike] | tuple | str | Path | None = None) -> Dataset:
        """Returns the images, from where the search had them if `data` is None.

        Raises:
          JnasError: if they are not there, or are others.
        """
        if data is None and self.source == IN_MEMORY_SOURCE:
            raise JnasError(f"Search {self.experiment} was given {self.name} as arrays: give them again as data.")
        images = load_data(self.source if data is None else data, self.classes, size=self.size, fit=self.fit)
        if images.fingerprint != self.fingerprint:
            raise JnasError(
                f"--data must be the images of search {self.experiment} ({self.name}), got other images "
                f"({images.name}); name where they are now."
            )
        return images
