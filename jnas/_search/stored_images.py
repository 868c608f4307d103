"""The images of a search that is in a store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data
from jnas.errors import JnasError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Which images a search had, where from, and how they came to their size, by its row of the table `experiments`."""

    experiment: "pd.Series"

    def load(self, data: Dataset | Mapping[str, ArrayLike] | tuple | str | Path | None = None) -> Dataset:
        """Returns the images, from where the search had them if `data` is None.

        Raises:
          JnasError: if they are not there, or are others.
        """
        row, settings = self.experiment, json.loads(self.experiment.config_json)
        id, name, source = row.experiment_id, row.dataset_name, settings["data"]
        if data is None and source == IN_MEMORY_SOURCE:
            raise JnasError(f"Search {id} was given {name} as arrays: give them again as data.")
        size, fit = settings.get("size"), settings.get("fit", "crop")
        images = load_data(source if data is None else data, int(row.num_classes), size=size, fit=fit)
        if images.fingerprint != row.dataset_fingerprint:
            raise JnasError(
                f"--data must be the images of search {id} ({name}), got other images ({images.name}); name where they "
                "are now."
            )
        return images
