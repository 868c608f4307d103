"""The selection of the template to export from the rows of a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Evaluation, Store, paths
from jnas.train import Recipe


@dataclass(frozen=True)
class TrainedTemplate:
    """A template that a search trained.

    Attributes:
      experiment: the search's row of the table `experiments`.
      template: the architecture.
      evaluation: the training whose weights are exported.
      recipe: the recipe of that training.
      weights: the folder with the weights; None if they are not on disk.
    """

    experiment: pd.Series
    template: Template
    evaluation: Evaluation
    recipe: Recipe
    weights: Path | None


def select(store: Store, hash: str | None = None, experiment: str | None = None) -> TrainedTemplate:
    """Returns the template to export.

    Args:
      store: the results of a search.
      hash: the template's hash or its beginning; None for the search's winner after its final training.
      experiment: the search's id or its beginning; None for the newest search.

    Raises:
      JnasError: if there is no such search or template, or it was not trained successfully.
    """
    search = _select_experiment(store, experiment)
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
    checkpoints = paths.checkpoint_dir(store.path, search.experiment_id)
    for row in trainings:
        folder = paths.winner_dir(checkpoints, row.key.recipe_id, selected)
        if paths.holds_weights_of(folder, selected):
            return TrainedTemplate(search, template, row, _recipe(store, row), folder)
    # Without weights: of the winner the training that was tested, of other templates the longest one.
    if hash is None:
        trainings = [row for row in trainings if row.test_acc_final is not None]
    else:
        trainings.sort(key=lambda row: -len(row.epochs))
    if not trainings:
        raise JnasError(
            f"Search {search.experiment_id} has not trained its winner for longer yet, or that failed: run the search "
            "to its end, or name a template with --hash."
        )
    return TrainedTemplate(search, template, trainings[0], _recipe(store, trainings[0]), None)


def _select_experiment(store: Store, experiment: str | None) -> pd.Series:
    searches = store.experiments_df()
    if searches.empty:
        raise JnasError(f"{store.path} has no search: run jnas search --store {store.path} first.")
    if experiment is None:
        return searches.iloc[-1]
    selected = resolve_prefix(experiment, searches.experiment_id, "search", str(store.path), "--experiment")
    return searches[searches.experiment_id == selected].iloc[0]


def _select_hash(hash: str, rows: pd.DataFrame, experiment_id: str) -> str:
    selected = resolve_prefix(hash.lower(), rows.hash, "template", f"search {experiment_id}", "--hash")
    row = rows[rows.hash == selected].iloc[0]
    if row.status != "ok":
        raise JnasError(
            f"Template {selected} was not trained to the end ({row.status}: {row.message}): name another one."
        )
    return selected


def resolve_prefix(prefix: str, names: Iterable[str], kind: str, location: str, option: str) -> str:
    """Returns the only name with a prefix; a whole name is meant even if others begin with it.

    Args:
      prefix: the prefix.
      names: all names.
      kind: what the names are of, for the error.
      location: where they are, for the error.
      option: the option of the command line, for the error.

    Raises:
      JnasError: if no name, or more than one, has the prefix.
    """
    matches = [name for name in names if name.startswith(prefix)]
    if prefix in matches:
        return prefix
    if not matches:
        raise JnasError(f"There is no {kind} {prefix!r} in {location}: give {option} one of {_sample(list(names))}.")
    if len(matches) > 1:
        raise JnasError(
            f"{option} must match one {kind} in {location}, got {prefix!r}, which matches {len(matches)} "
            f"({_sample(matches)}): give more of it."
        )
    return matches[0]


def _sample(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _recipe(store: Store, row: Evaluation) -> Recipe:
    return Recipe.from_json(store.recipe_json(row.key.recipe_id))
