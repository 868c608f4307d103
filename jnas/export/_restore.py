"""The trained module of a template, from the disk or trained again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from flax import nnx

from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data
from jnas.errors import JnasError
from jnas.export._select import Source
from jnas.store import Evaluation
from jnas.train import TrainingRequest, Trial, accuracy, load_weights, train_modules


def images_of(source: Source, given: str | Path | Mapping | Dataset | None = None) -> Dataset:
    """The images that the search was on.

    Args:
      source: what is exported.
      given: where they are, as `load_data` takes it; None for the place that the search was told.

    Raises:
      JnasError: they cannot be read, or are others.
    """
    search = source.search
    place = json.loads(search.config_json)["data"] if given is None else given
    if isinstance(place, str) and place == IN_MEMORY_SOURCE:
        raise JnasError(
            f"Search {search.experiment_id} was given {search.dataset_name} from Python: say where they are."
        )
    data = load_data(place, int(search.num_classes))
    if data.fingerprint != search.dataset_fingerprint:
        raise JnasError(
            f"{data.name} holds other images than search {search.experiment_id} was on ({search.dataset_name}): name "
            "those with --data."
        )
    return data


def from_disk(source: Source) -> nnx.Module:
    """The module with the weights on disk, in evaluation mode.

    Raises:
      JnasError: they are damaged, or another template's.
    """
    try:
        return load_weights(source.weights, source.template)
    except JnasError as error:
        raise JnasError(
            f"The weights in {source.weights} cannot be read: remove that folder and run the search again, which "
            "trains its winner again."
        ) from error


def again(source: Source, data: Dataset) -> tuple[nnx.Module, Evaluation]:
    """Trains as the row says: the module, in evaluation mode, and its new row, tested where the old one was.

    Raises:
      JnasError: training failed.
    """
    old = source.row
    split = data.split(source.recipe.val_fraction, old.key.split_seed)
    request = TrainingRequest([Trial(source.template, old.key.seed)], [old.key], source.recipe, split)
    ((row, module),) = train_modules(request)
    if module is None:
        raise JnasError(
            f"Template {source.template.hash} could not be trained again ({row.status}: {row.message}): run this where "
            f"it was trained ({old.device}), or name another with --hash."
        )
    if old.test_acc_final is not None:
        tested = accuracy(module, data.x_test, data.y_test, source.recipe.test_flip)
        row = dataclasses.replace(row, test_acc_final=tested)
    return module, row
