"""A search of a store by its id, or the beginning of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jnas._validation import optional, to_text
from jnas.errors import JnasError
from jnas.store import paths
from jnas.store._records import Evaluation
from jnas.store._store import Store

if TYPE_CHECKING:
    import pandas as pd


def find_experiment(store: Store, experiment: str | None = None) -> pd.Series:
    """Returns the row of a search in the table `experiments`, given its id or the beginning; None is the newest.

    Raises:
      JnasError: if there is none, or more than one.
    """
    experiment = optional(to_text)("experiment", experiment)
    searches = store.experiments_df()
    if searches.empty:
        raise JnasError(f"{store.path} has no search: run jnas search --store {store.path} first.")
    if experiment is None:
        return searches.iloc[-1]
    selected = resolve_prefix(experiment, searches.experiment_id, "search", str(store.path), "--experiment")
    return searches[searches.experiment_id == selected].iloc[0]


def find_weights(store: Store, trainings: Iterable[Evaluation], experiment_id: str) -> tuple[Evaluation, Path] | None:
    """Returns the first of some trainings in a search whose weights are on disk, and their folder; None for none."""
    checkpoints = paths.checkpoint_dir(store.path, experiment_id)
    for row in trainings:
        folder = paths.winner_dir(checkpoints, row.key.recipe_id, row.key.hash)
        if row.status == "ok" and paths.holds_weights_of(folder, row.key.hash):
            return row, folder
    return None


def resolve_prefix(prefix: str, names: Iterable[str], kind: str, location: str, option: str) -> str:
    """Returns the only name with a prefix; a whole name is meant even if others begin with it.

    The last three arguments are for errors: what the names are of, where they are, and the option that gives one.
    """
    matches = [name for name in names if name.startswith(prefix)]
    if prefix in matches:
        return prefix
    if not matches:
        raise JnasError(f"There is no {kind} {prefix!r} in {location}: give {option} one of {_sample(list(names))}.")
    if len(matches) > 1:
        raise JnasError(
            f"{option} must match one {kind} in {location}, got {prefix!r}, which matches {len(matches)} "
            f"({_sample(matches)}); give more of it."
        )
    return matches[0]


def _sample(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)
