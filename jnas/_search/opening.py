"""`jnas.open`: the result of a search from its store, without images or training."""

import dataclasses
import json
from pathlib import Path

import pandas as pd

from jnas._search.config import SPACE_FIELDS
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.stored_images import StoredImages
from jnas.errors import JnasError
from jnas.space import Candidate, Space
from jnas.store import Evaluation, Key, Store, find_experiment, find_weights, open_store, paths
from jnas.train import Recipe


def open(store: Store | str | Path = paths.DEFAULT_STORE, experiment: str | None = None) -> SearchResult:
    """Returns what a search found, or has found so far, as `jnas.search` does; needs no images, and trains nothing.

    Args:
      store: a store, its file, or the folder of a search.
      experiment: the search's id or its beginning; None for the newest search.

    Raises:
      JnasError: if there is no such search, or none of its templates was trained yet.

    Example:
      >>> jnas.open("jnas-run").best.predict(images)  # doctest: +SKIP
    """
    store = store if isinstance(store, Store) else open_store(store)
    row = find_experiment(store, experiment)
    trained = store.experiment_df(row.experiment_id)
    good = trained.loc[trained.status == "ok"]
    if good.empty:
        failed = f", and {len(trained)} that failed" * (len(trained) > 0)
        raise JnasError(
            f"Search {row.experiment_id} in {store.path} has no trained network yet{failed}: run its command "
            "again, or name another search with experiment (--experiment)."
        )
    recipe, images = Recipe.from_json(store.recipe_json(row.recipe_id)), StoredImages(row)
    space = _space_of(row)
    keys = [Key(*values) for values in good[list(Key._fields)].itertuples(index=False)]
    evaluations = store.find(keys)
    candidates = {}
    metric = json.loads(row.config_json)["metric"]
    for key, phase, mean in zip(keys, good.phase, good.predicted_mean, strict=True):
        candidate = Candidate.from_hash(key.hash, space)
        predicted = None if pd.isna(mean) else float(mean)
        values = candidate, evaluations[key], phase, predicted, images, recipe, metric
        candidates[key.hash] = EvaluatedCandidate(*values, _store=store, _experiment=row.experiment_id)
    candidates = dict(sorted(candidates.items(), key=lambda item: -item[1].score))
    for hash, promotion in store.promotions(row.experiment_id).items():
        if hash in candidates:
            candidates[hash] = dataclasses.replace(candidates[hash], promotion=promotion)
    winner = row.winner_hash
    if isinstance(winner, str) and winner in candidates:
        final, weights = _find_final(store, row.experiment_id, winner, row.final_recipe_id)
        finals = () if final is None else (final,)
        candidates[winner] = dataclasses.replace(candidates[winner], finals=finals, _weights=weights)
    best = candidates.get(winner, next(iter(candidates.values())))
    return SearchResult(tuple(candidates.values()), store, row.experiment_id, best)


def _find_final(store: Store, experiment_id: str, hash: str, recipe_id: str) -> tuple[Evaluation | None, Path | None]:
    """Returns the longer training of a search's winner, and the folder with its weights; None where there is none.

    `recipe_id` is that of this training.
    """
    trainings = [row for row in store.evaluations_of(experiment_id, hash) if row.key.recipe_id == recipe_id]
    return find_weights(store, trainings, experiment_id) or (next(iter(trainings), None), None)


def _space_of(experiment: pd.Series) -> Space:
    """The space in which a search looked."""
    settings = json.loads(experiment.config_json)
    channels, height, width = map(int, experiment.in_shape.split("x"))
    limits = {name: settings[name] for name in SPACE_FIELDS}
    return Space((channels, height, width), int(experiment.num_classes), style=settings["space"], **limits)
