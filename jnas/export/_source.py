"""What is exported: a trained template of a store, the images of its search, and its module with weights."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd
from flax import nnx

from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Evaluation, Store, find_experiment, find_weights, resolve_prefix
from jnas.train import Recipe, TrainingRequest, Trial, accuracy, load_weights, train_modules


@dataclass(frozen=True)
class TrainedTemplate:
    """A template that a search trained.

    `experiment` is the search's row of its table, `evaluation` the training whose weights are exported, `recipe` its
    recipe, and `weights` the folder with them; None if they are not on disk.
    """

    experiment: pd.Series
    template: Template
    evaluation: Evaluation
    recipe: Recipe
    weights: Path | None

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes; None where the images had none."""
        names = self.experiment.get("class_names")
        return json.loads(names) if isinstance(names, str) else None


def select(store: Store, hash: str | None = None, experiment: str | None = None) -> TrainedTemplate:
    """Returns the template to export: see `export_model`."""
    search = find_experiment(store, experiment)
    rows = store.experiment_df(search.experiment_id)
    good = rows[rows.status == "ok"]
    if good.empty:
        raise JnasError(
            f"Search {search.experiment_id} in {store.path} has no successfully trained template ({len(rows)} were "
            "tried): run it again, or name another search with --experiment."
        )
    if hash is not None:
        selected = _select_hash(hash, rows, search.experiment_id)
    elif pd.notna(search.winner_hash):
        selected = search.winner_hash
    else:  # the search has not ended: the best so far, of equals the first
        selected = good.hash[good.val_acc_final.idxmax()]
    in_shape = [int(n) for n in search.in_shape.split("x")]
    template = Template.from_hash(selected, in_shape, int(search.num_classes))
    trainings = [row for row in store.evaluations_of(search.experiment_id, selected) if row.status == "ok"]
    on_disk = find_weights(store, trainings, search.experiment_id)
    # Without weights: of the winner the training that was tested, of other templates the longest one.
    if hash is None:
        trainings = [row for row in trainings if row.test_acc_final is not None]
    trainings = sorted(trainings, key=lambda row: -len(row.epochs) if hash is not None else 0)
    if not on_disk and not trainings:
        raise JnasError(
            f"Search {search.experiment_id} has not trained its winner for longer yet, or that failed: run the search "
            "to its end, or name a template with --hash."
        )
    row, weights = on_disk or (trainings[0], None)
    return TrainedTemplate(search, template, row, Recipe.from_json(store.recipe_json(row.key.recipe_id)), weights)


def _select_hash(hash: str, rows: pd.DataFrame, experiment_id: str) -> str:
    selected = resolve_prefix(hash.lower(), rows.hash, "template", f"search {experiment_id}", "--hash")
    row = rows[rows.hash == selected].iloc[0]
    if row.status != "ok":
        raise JnasError(
            f"Template {selected} was not trained to the end ({row.status}: {row.message}): name another one."
        )
    return selected


def load_module(source: TrainedTemplate, folder: Path) -> nnx.Sequential:
    """Returns the module with the weights of a folder, in evaluation mode."""
    try:
        return cast("nnx.Sequential", load_weights(folder, source.template))
    except JnasError as error:
        raise JnasError(
            f"The weights in {folder} cannot be read: remove that folder and run the search again, which trains its "
            "winner again."
        ) from error


def retrain(source: TrainedTemplate, data: Dataset) -> tuple[nnx.Sequential, Evaluation]:
    """Trains as the evaluation says; returns the module in evaluation mode, and the new evaluation.

    It is tested if the old one was.
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
        test_accuracy = accuracy(module, data.x_test, data.y_test, source.recipe.views)
        row = dataclasses.replace(row, test_acc_final=test_accuracy)
    return cast("nnx.Sequential", module), row
