"""Which template is exported, by its rows in a store."""

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
class Source:
    """A template that a search trained.

    Attributes:
      search: the search's row in the table `experiments`.
      template: the architecture.
      row: the training whose weights are wanted.
      recipe: how it was trained.
      weights: the folder where they are; None where they are not on disk.
    """

    search: pd.Series
    template: Template
    row: Evaluation
    recipe: Recipe
    weights: Path | None


def opened(path: str | Path) -> Store:
    """The store in a file that is there; none is made.

    Raises:
      JnasError: there is no file, or it is no store.
    """
    path = Path(path).expanduser()
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        raise JnasError(f"There is no store {path}: name the .duckdb file that a search wrote.")
    return Store(path)


def find(store: Store, hash: str | None = None, experiment: str | None = None) -> Source:
    """The template to export.

    Args:
      store: where the search's rows are.
      hash: of the template, or its beginning; None for the search's winner, after its longer training.
      experiment: the search, or the beginning of its name; None for the newest.

    Raises:
      JnasError: there is no such search or template, or it did not end well.
    """
    search = _search(store, experiment)
    rows = store.experiment_df(search.experiment_id)
    good = rows[rows.status == "ok"]
    if good.empty:
        raise JnasError(
            f"Search {search.experiment_id} in {store.path} has no template that was trained to the end ({len(rows)} "
            "were tried): run it again, or name another with --experiment."
        )
    if hash is not None:
        name = _template(hash, rows, search.experiment_id)
    elif pd.notna(search.winner_hash):
        name = search.winner_hash
    else:  # a store of an older jnas, or a search that is not at its end: of equals, the one that was trained first
        name = good.hash[good.val_acc_final.idxmax()]
    shape = [int(n) for n in search.in_shape.split("x")]
    template = Template.from_hash(name, shape, int(search.num_classes))
    checkpoints = paths.checkpoint_dir(store.path, search.experiment_id)
    trainings = [row for row in store.evaluations_of(search.experiment_id, name) if row.status == "ok"]
    for row in trainings:
        folder = paths.winner_dir(checkpoints, row.key.recipe_id, name)
        if paths.holds_weights_of(folder, name):
            return Source(search, template, row, _recipe(store, row), folder)
    # The winner's longer training is the one that was tested; of others it is the longest there is.
    wanted = [row for row in trainings if row.test_acc_final is not None]
    if hash is not None:
        wanted = sorted(trainings, key=lambda row: -len(row.epochs))
    if not wanted:
        raise JnasError(
            f"Search {search.experiment_id} has not trained its winner for longer yet, or that failed: run the search "
            "to its end, or name a template with --hash."
        )
    return Source(search, template, wanted[0], _recipe(store, wanted[0]), None)


def _search(store: Store, experiment: str | None) -> pd.Series:
    searches = store.experiments_df()
    if searches.empty:
        raise JnasError(f"{store.path} holds no search yet: run python -m jnas.search --store {store.path} first.")
    if experiment is None:
        return searches.iloc[-1]
    name = _named(experiment, searches.experiment_id, "search", str(store.path), "--experiment")
    return searches[searches.experiment_id == name].iloc[0]


def _template(hash: str, rows: pd.DataFrame, experiment: str) -> str:
    name = _named(hash.lower(), rows.hash, "template", f"search {experiment}", "--hash")
    row = rows[rows.hash == name].iloc[0]
    if row.status != "ok":
        raise JnasError(f"Template {name} was not trained to the end ({row.status}: {row.message}): name another.")
    return name


def _named(beginning: str, names: Iterable[str], kind: str, place: str, option: str) -> str:
    """The one name that begins so; a whole name is meant even where others begin with it."""
    found = [name for name in names if name.startswith(beginning)]
    if beginning in found:
        return beginning
    if not found:
        raise JnasError(
            f"There is no {kind} {beginning!r} in {place}: give {option} one that is there ({_some(list(names))})."
        )
    if len(found) > 1:
        raise JnasError(
            f"{option} {beginning!r} begins the names of {len(found)} in {place} ({_some(found)}): give more of it."
        )
    return found[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _recipe(store: Store, row: Evaluation) -> Recipe:
    return Recipe.from_json(store.recipe_json(row.key.recipe_id))
