"""The longer training of the winner, and of those that might be it: with several seeds. Only the winner is tested."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jnas.data import Dataset, Split
from jnas.search import folders
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train import Recipe, Trial, weights
from jnas.train.evaluate import evaluate_kept, key_of


@dataclass(frozen=True)
class Final:
    """How the best are trained for longer.

    Attributes:
      recipe, seeds: the recipe, and one training a seed.
      data, split, split_seed: the images.
      store: where the rows go. checkpoints: and the winner's weights.
      on_epoch: told the number of each epoch.
    """

    recipe: Recipe
    seeds: Sequence[int]
    data: Dataset
    split: Split
    split_seed: int
    store: Store
    checkpoints: Path
    on_epoch: Callable[[int], None] | None = None

    def folder(self, template: Template) -> Path:
        """Where a template's weights are, if it wins."""
        return folders.winner(self.checkpoints, self.recipe.id, template.hash)

    def trials(self, template: Template) -> dict[Key, Trial]:
        """One a seed, in their order."""
        trials = [Trial(template, seed) for seed in self.seeds]
        return {key_of(trial, self.recipe, self.data, self.split_seed): trial for trial in trials}


def find_winner(templates: Sequence[Template], final: Final) -> tuple[Template, dict[str, list[Evaluation]]]:
    """The template with the best mean validation accuracy, tested and its weights kept; and the rows of all, by hash.

    Of equals it is the first; one that could not be trained is worse than any. A single one has won before.
    """
    finals, left = {}, {}
    if len(templates) > 1:
        for template in templates:
            finals[template.hash], more = _train_finalist(template, final)
            left |= more
    winner = max(templates, key=lambda template: _mean_accuracy(finals.get(template.hash, ())))
    return winner, finals | {winner.hash: _train_winner(winner, final, left)}


def _train_finalist(template: Template, final: Final) -> tuple[list[Evaluation], dict[Key, Any]]:
    """A row a seed, untested, and what those that were not in the store left; see `evaluate_kept`."""
    trials, left = final.trials(template), {}
    found = final.store.find(list(trials))
    missing = [(trial, key) for key, trial in trials.items() if key not in found or not found[key].lasting]
    for row, kept in evaluate_kept(missing, final.recipe, final.split, final.on_epoch):
        final.store.add([row], final.recipe.to_json())
        left[row.key] = row, kept
    found = final.store.find(list(trials))
    return [found[key] for key in trials], left


def _train_winner(template: Template, final: Final, trained: dict[Key, Any]) -> list[Evaluation]:
    """A row a seed, with its test accuracy; the first seed's weights are in its folder. Those that are there stay.

    `trained` is what `_train_finalist` left, which need not be trained again to be tested.
    """
    data, store, folder = final.data, final.store, final.folder(template)
    trials = final.trials(template)
    first = next(iter(trials))
    found = store.find(list(trials))

    def finished(key) -> bool:
        row = found.get(key)
        if row is None or not row.lasting:
            return False
        tested = row.test_acc_final is not None or not len(data.x_test)
        kept = key != first or folders.holds(folder, key.hash)
        return row.status != "ok" or (tested and kept)

    def rows():
        yield from (trained[key] for key in trials if key in trained and not finished(key))
        missing = [(trial, key) for key, trial in trials.items() if key not in trained and not finished(key)]
        yield from evaluate_kept(missing, final.recipe, final.split, final.on_epoch)

    for row, kept in rows():
        if kept is not None:
            trainer, run = kept
            if row.key == first:
                weights.save(folder, template, trainer.module(run))
            if len(data.x_test):
                row = dataclasses.replace(row, test_acc_final=trainer.accuracy_of(run, data.x_test, data.y_test))
        # Last, so that a row has its weights and its test accuracy, whenever the process may die. Only where candidates
        # are trained for as long as the winner is, or beside it, is it there already, untested.
        store.add([row], final.recipe.to_json())
        if row.key in found and row.test_acc_final is not None:
            store.set_test_accuracy(row.key, row.test_acc_final)
    found = store.find(list(trials))
    return [found[key] for key in trials]


def _mean_accuracy(rows: Sequence[Evaluation]) -> float:
    """The mean validation accuracy after the last epoch of those that ended well; minus infinity where none did."""
    accuracies = [row.val_acc_final for row in rows if row.status == "ok"]
    return statistics.fmean(accuracies) if accuracies else -math.inf
