"""The winner's training: longer, with several seeds, and the only one that is tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from jnas.data import Dataset, Split
from jnas.search import folders
from jnas.space import Template
from jnas.store import Evaluation, Store
from jnas.train import Recipe, Trial, weights
from jnas.train.evaluate import evaluate_kept, key_of


def train_winner(
    template: Template,
    recipe: Recipe,
    seeds: Sequence[int],
    data: Dataset,
    split: Split,
    split_seed: int,
    store: Store,
    folder: Path,
    on_epoch: Callable[[int], None] | None = None,
) -> list[Evaluation]:
    """A row a seed, with its test accuracy; the first seed's weights are in `folder`. Those that are there stay."""
    trials = [Trial(template, seed) for seed in seeds]
    keys = [key_of(trial, recipe, data, split_seed) for trial in trials]
    found = store.find(keys)

    def finished(key) -> bool:
        row = found.get(key)
        if row is None or not row.lasting:
            return False
        tested = row.test_acc_final is not None or not len(data.x_test)
        kept = key is not keys[0] or folders.holds(folder, key.hash)
        return row.status != "ok" or (tested and kept)

    missing = [(trial, key) for trial, key in zip(trials, keys, strict=True) if not finished(key)]
    for row, kept in evaluate_kept(missing, recipe, split, on_epoch):
        if kept is not None:
            trainer, run = kept
            if row.key == keys[0]:
                weights.save(folder, template, trainer.module(run))
            if len(data.x_test):
                row = dataclasses.replace(row, test_acc_final=trainer.accuracy_of(run, data.x_test, data.y_test))
        # Last, so that a row has its weights and its test accuracy, whenever the process may die. Only where candidates
        # are trained for as long as the winner is it there already, untested.
        store.add([row], recipe.to_json())
        if row.key in found and row.test_acc_final is not None:
            store.set_test_accuracy(row.key, row.test_acc_final)
    found = store.find(keys)
    return [found[key] for key in keys]
