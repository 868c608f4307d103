"""The longer training of the winner, and of those that might be it: with several seeds. Only the winner is tested."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jnas.data import Dataset, Split
from jnas.space import Template
from jnas.store import Evaluation, Key, Store, paths
from jnas.train import (
    EngineOptions,
    Recipe,
    TrainingRequest,
    Trial,
    accuracy,
    load_weights,
    make_key,
    save_weights,
    train_modules,
)


@dataclass(frozen=True)
class Final:
    """How the best are trained for longer.

    Attributes:
      recipe, seeds: the recipe, and one training a seed.
      data, split, split_seed: the images.
      store: where the rows go. checkpoints: and the weights.
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
        """Where a template's weights are, of the first seed, once it has won."""
        return paths.winner_dir(self.checkpoints, self.recipe.id, template.hash)

    def draft(self, key: Key) -> Path:
        """Where the weights of one training are until the winner is known."""
        return paths.finalist_dir(self.checkpoints, self.recipe.id, key.hash, key.seed)

    def trials(self, template: Template) -> dict[Key, Trial]:
        """One a seed, in their order."""
        trials = [Trial(template, seed) for seed in self.seeds]
        return {make_key(trial, self.recipe, self.data, self.split_seed): trial for trial in trials}

    def rows(self, template: Template) -> list[Evaluation]:
        """Those that are in the store, in the order of the seeds."""
        found = self.store.find(list(self.trials(template)))
        return [found[key] for key in self.trials(template) if key in found]


def find_winner(templates: Sequence[Template], final: Final) -> tuple[Template, dict[str, list[Evaluation]]]:
    """The template with the best mean validation accuracy, tested and its weights kept; and the rows of all, by hash.

    What is in the store is not trained again, unless it has won and its weights are gone. Of equals it is the first;
    one that could not be trained with each seed is worse than one that could.
    """
    for template in templates:
        _train(template, final)
    winner = max(templates, key=lambda template: _rank(final.rows(template)))
    _train(winner, final, to_test=True)
    _test(winner, final)
    for template in templates:  # those of the winner's first seed are in place
        for key in final.trials(template):
            shutil.rmtree(final.draft(key), ignore_errors=True)
    return winner, {template.hash: final.rows(template) for template in templates}


def _train(template: Template, final: Final, to_test: bool = False) -> None:
    """Rows, untested, and the weights of each until the winner is known.

    What has a row is trained again only `to_test` it, where its weights are gone.
    """
    trials = final.trials(template)
    first = next(iter(trials))
    found = final.store.find(list(trials))

    def missing(key: Key) -> bool:
        row = found.get(key)
        if row is None or not row.is_final:
            return not to_test  # what has just failed counts as it is
        if not to_test or row.status != "ok" or paths.holds_weights_of(final.draft(key), key.hash):
            return False
        tested = row.test_acc_final is not None or not len(final.data.x_test)
        return not (paths.holds_weights_of(final.folder(template), key.hash) if key == first else tested)

    wanted = [(trial, key) for key, trial in trials.items() if missing(key)]
    request = TrainingRequest([trial for trial, _ in wanted], [key for _, key in wanted], final.recipe, final.split)
    for row, module in train_modules(request, EngineOptions(on_epoch=final.on_epoch)):
        if module is not None:
            save_weights(final.draft(row.key), template, module)
        # Last, so that a row has its weights, whenever the process may die.
        final.store.add([row], final.recipe.to_json())


def _test(template: Template, final: Final) -> None:
    """Measures what is on disk, and puts the first seed's weights in their place."""
    trials = final.trials(template)
    data, first = final.data, next(iter(trials))
    for row in final.rows(template):
        if row.status != "ok":
            continue
        draft, kept = final.draft(row.key), final.folder(template)
        if row.test_acc_final is None and len(data.x_test):
            module = load_weights(draft if draft.exists() else kept, template)
            measured = accuracy(module, data.x_test, data.y_test, final.recipe.test_flip)
            final.store.set_test_accuracy(row.key, measured)
        if row.key == first and draft.exists():
            shutil.rmtree(kept, ignore_errors=True)
            os.replace(draft, kept)


def _rank(rows: Sequence[Evaluation]) -> tuple[bool, int, float]:
    """Whether the first seed ended well, how many did, and their mean validation accuracy after the last epoch."""
    accuracies = [row.val_acc_final for row in rows if row.status == "ok"]
    return rows[0].status == "ok", len(accuracies), statistics.fmean(accuracies) if accuracies else 0.0
