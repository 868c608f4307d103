"""The trained module of a template: its weights are loaded, or it is trained again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from flax import nnx
from numpy.typing import ArrayLike

from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data
from jnas.errors import JnasError
from jnas.export._select import TrainedTemplate
from jnas.store import Evaluation
from jnas.train import TrainingRequest, Trial, accuracy, load_weights, train_modules


def load_images(source: TrainedTemplate, data: Dataset | Mapping[str, ArrayLike] | str | Path | None = None) -> Dataset:
    """Returns the images that the search used.

    Args:
      source: what is exported.
      data: the images, or where they are; None for the source that the search was given.

    Raises:
      JnasError: if they cannot be read, or are not those of the search.
    """
    search = source.experiment
    if data is None:
        data = json.loads(search.config_json)["data"]
        if data == IN_MEMORY_SOURCE:
            raise JnasError(
                f"Search {search.experiment_id} was given {search.dataset_name} as arrays: give them again as data."
            )
    images = load_data(data, int(search.num_classes))
    if images.fingerprint != search.dataset_fingerprint:
        raise JnasError(
            f"--data must be the images of search {search.experiment_id} ({search.dataset_name}), got other images "
            f"({images.name})."
        )
    return images


def load_module(source: TrainedTemplate, folder: Path) -> nnx.Module:
    """Returns the module with the weights of a folder, in evaluation mode.

    Raises:
      JnasError: if they are damaged, or those of another template.
    """
    try:
        return load_weights(folder, source.template)
    except JnasError as error:
        raise JnasError(
            f"The weights in {folder} cannot be read: remove that folder and run the search again, which trains its "
            "winner again."
        ) from error


def retrain(source: TrainedTemplate, data: Dataset) -> tuple[nnx.Module, Evaluation]:
    """Trains as the evaluation says; returns the module in evaluation mode, and the new evaluation.

    It is tested if the old one was.

    Raises:
      JnasError: if training fails.
    """
    old = source.evaluation
    split = data.split(source.recipe.val_fraction, old.key.split_seed)
    request = TrainingRequest([Trial(source.template, old.key.seed)], [old.key], source.recipe, split)
    ((row, module),) = train_modules(request)
    if module is None:
        raise JnasError(
            f"Template {source.template.hash} could not be trained again ({row.status}: {row.message}): run this where "
            f"it was trained ({old.device}), or name another template with --hash."
        )
    if old.test_acc_final is not None:
        test_accuracy = accuracy(module, data.x_test, data.y_test, source.recipe.test_flip)
        row = dataclasses.replace(row, test_acc_final=test_accuracy)
    return module, row
