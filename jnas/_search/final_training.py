"""The longer training of the winner, and of those that might be it: with several seeds. Only the winner is tested."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jnas._runtime import checkpoint
from jnas._search.config import SPLIT_SEED
from jnas._search.setup import SearchSetup
from jnas.report import winner_facts, write_facts
from jnas.space import Template
from jnas.store import Evaluation, Key, Metric, paths
from jnas.train import (
    Recipe,
    TrainingRequest,
    Trial,
    load_weights,
    make_key,
    save_weights,
    train_modules,
)


@dataclass(frozen=True)
class FinalTraining:
    """How finalists are trained for longer: once a seed."""

    recipe: Recipe
    setup: SearchSetup

    @property
    def seeds(self) -> list[int]:
        """The search's, and those after it."""
        config = self.setup.config
        return [(config.seed + i) % 2**32 for i in range(config.final_repeats)]  # as large as a seed may be

    def find_winner(self, templates: Sequence[Template]) -> tuple[Template, dict[str, tuple[Evaluation, ...]]]:
        """Returns the template with the best mean by the metric, which is tested; and the rows of all, by hash.

        What is in the store is not trained again, unless it has won and its weights are gone. Of equals it is the
        first; one that could not be trained with each seed is worse than one that could.
        """
        for template in templates:
            self._train(template)
        winner = max(templates, key=lambda template: _rank(self._rows(template), self.setup.config.metric))
        self._train(winner, to_test=True)
        self._test(winner)
        for template in templates:  # those of the winner's first seed are in place
            for key in self._trials(template):
                checkpoint.remove(self._finalist_dir(key))
        return winner, {template.hash: self._rows(template) for template in templates}

    def winner_dir(self, template: Template) -> Path:
        """Returns the folder with the weights of a template's first seed, once it has won."""
        return paths.winner_dir(self.setup.checkpoints, self.recipe.id, template.hash)

    def _finalist_dir(self, key: Key) -> Path:  # where weights are until the winner is known
        return paths.finalist_dir(self.setup.checkpoints, self.recipe.id, key.hash, key.seed)

    def _trials(self, template: Template) -> dict[Key, Trial]:
        trials = [Trial(template, seed) for seed in self.seeds]
        return {make_key(trial, self.recipe, self.setup.data, SPLIT_SEED): trial for trial in trials}

    def _rows(self, template: Template) -> tuple[Evaluation, ...]:
        """Those that are in the store, in the order of the seeds."""
        keys = list(self._trials(template))
        rows = self.setup.store.find(keys)
        return tuple(rows[key] for key in keys if key in rows)

    def _train(self, template: Template, to_test: bool = False) -> None:
        """Rows, untested, and their weights. What has a row is trained again only `to_test` it, if these are gone."""
        trials = self._trials(template)
        first, rows = next(iter(trials)), self.setup.store.find(list(trials))

        def is_missing(key: Key) -> bool:
            row = rows.get(key)
            if row is None or not row.is_final:
                return not to_test  # what has just failed counts as it is
            if not to_test or row.status != "ok" or paths.holds_weights_of(self._finalist_dir(key), key.hash):
                return False
            if key == first:
                return not paths.holds_weights_of(self.winner_dir(template), key.hash)
            return row.test_acc_final is None and len(self.setup.data.x_test) > 0

        keys = [key for key in trials if is_missing(key)]
        request = TrainingRequest([trials[key] for key in keys], keys, self.recipe, self.setup.split)
        for row, module in train_modules(request, self.setup.engine_options(self.setup.check_folder)):
            try:
                if module is not None:
                    save_weights(self._finalist_dir(row.key), template, module)
            finally:
                # Last, so that a row has its weights, whenever the process may die; a row without them is kept, too.
                self.setup.store.add([row], self.recipe.to_json())

    def _test(self, template: Template) -> None:
        """Measures what is on disk, and puts the first seed's weights in their place."""
        data, winner_dir = self.setup.data, self.winner_dir(template)
        for row in self._rows(template):
            if row.status != "ok":
                continue
            folder = self._finalist_dir(row.key)
            is_first = row.key.seed == self.seeds[0]
            is_untested = row.test_acc_final is None and len(data.x_test) > 0
            if is_untested or (is_first and folder.exists()):
                facts = self._judge(load_weights(folder if folder.exists() else winner_dir, template))
                if is_first:
                    write_facts(facts, winner_dir)
                if len(data.x_test):
                    self.setup.store.set_test_accuracy(row.key, sum(facts["num_right"]) / facts["num_images"])
            if is_first and folder.exists():
                checkpoint.move(folder, winner_dir)

    def _judge(self, module: nnx.Module) -> dict[str, Any]:
        """What a module gets right and wrong: of the test images, or the validation images where there are none."""
        data, split = self.setup.data, self.setup.split
        names = data.class_names or [str(number) for number in range(data.classes)]
        if len(data.x_test):
            return winner_facts(module, data.x_test, data.y_test, self.recipe.views, split="test", class_names=names)
        images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
        return winner_facts(module, images, labels, self.recipe.views, split="validation", class_names=names)


def _rank(rows: Sequence[Evaluation], metric: Metric) -> tuple[bool, int, float]:
    """Whether the first seed ended well, how many did, and their mean score after the last epoch."""
    scores = [row.score(metric) for row in rows if row.status == "ok"]
    return rows[0].status == "ok", len(scores), statistics.fmean(scores) if scores else 0.0
