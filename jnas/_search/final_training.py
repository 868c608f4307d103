"""The longer training of the winner, and of those that might be it: with several seeds. Only the winner is tested."""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from jnas._runtime import checkpoint
from jnas._search.config import SPLIT_SEED
from jnas._search.plan import FLOPS_PER_MAC
from jnas.data import Dataset, Split
from jnas.report import winner_facts, write_facts
from jnas.space import Template
from jnas.store import Evaluation, Key, Metric, Store, paths
from jnas.train import (
    CURVE_IMAGES,
    EngineOptions,
    Recipe,
    TrainingRequest,
    Trial,
    load_weights,
    make_key,
    run_trials,
    save_weights,
    train_modules,
)

_SPEED_STEPS = 24
_TRAIN_TO_CLASSIFY_RATIO = 3
_TEST_SECONDS = 6.0
"""To load and test the winner, to end, and what starting Python took."""
_SAFETY = 0.96
"""Share of the time that is left for epochs: some take longer than the one that was measured."""
_MAX_EPOCHS = 500


@dataclass(frozen=True)
class FinalTraining:
    """How finalists are trained for longer: once a seed. Weights go to `checkpoints`."""

    recipe: Recipe
    seeds: Sequence[int]
    metric: Metric
    data: Dataset
    split: Split
    store: Store
    checkpoints: Path
    options: EngineOptions

    def find_winner(self, templates: Sequence[Template]) -> tuple[Template, dict[str, tuple[Evaluation, ...]]]:
        """Returns the template with the best mean by the metric, which is tested; and the rows of all, by hash.

        What is in the store is not trained again, unless it has won and its weights are gone. Of equals it is the
        first; one that could not be trained with each seed is worse than one that could.
        """
        for template in templates:
            self._train(template)
        winner = max(templates, key=lambda template: _rank(self._rows(template), self.metric))
        self._train(winner, to_test=True)
        self._test(winner)
        for template in templates:  # those of the winner's first seed are in place
            for key in self._trials(template):
                checkpoint.remove(self._finalist_dir(key))
        return winner, {template.hash: self._rows(template) for template in templates}

    def winner_dir(self, template: Template) -> Path:
        """Returns the folder with the weights of a template's first seed, once it has won."""
        return paths.winner_dir(self.checkpoints, self.recipe.id, template.hash)

    def _finalist_dir(self, key: Key) -> Path:  # where weights are until the winner is known
        return paths.finalist_dir(self.checkpoints, self.recipe.id, key.hash, key.seed)

    def _trials(self, template: Template) -> dict[Key, Trial]:
        trials = [Trial(template, seed) for seed in self.seeds]
        return {make_key(trial, self.recipe, self.data, SPLIT_SEED): trial for trial in trials}

    def _rows(self, template: Template) -> tuple[Evaluation, ...]:
        """Those that are in the store, in the order of the seeds."""
        keys = list(self._trials(template))
        rows = self.store.find(keys)
        return tuple(rows[key] for key in keys if key in rows)

    def _train(self, template: Template, to_test: bool = False) -> None:
        """Rows, untested, and their weights. What has a row is trained again only `to_test` it, if these are gone."""
        trials = self._trials(template)
        first, rows = next(iter(trials)), self.store.find(list(trials))

        def is_missing(key: Key) -> bool:
            row = rows.get(key)
            if row is None or not row.is_final:
                return not to_test  # what has just failed counts as it is
            if not to_test or row.status != "ok" or paths.holds_weights_of(self._finalist_dir(key), key.hash):
                return False
            if key == first:
                return not paths.holds_weights_of(self.winner_dir(template), key.hash)
            return row.test_acc_final is None and len(self.data.x_test) > 0

        keys = [key for key in trials if is_missing(key)]
        request = TrainingRequest([trials[key] for key in keys], keys, self.recipe, self.split)
        for row, module in train_modules(request, self.options):
            try:
                if module is not None:
                    save_weights(self._finalist_dir(row.key), template, module)
            finally:
                # Last, so that a row has its weights, whenever the process may die; a row without them is kept, too.
                self.store.add([row], self.recipe.to_json())

    def _test(self, template: Template) -> None:
        """Measures what is on disk, and puts the first seed's weights in their place."""
        data, winner_dir = self.data, self.winner_dir(template)
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
                    self.store.set_test_accuracy(row.key, sum(facts["num_right"]) / facts["num_images"])
            if is_first and folder.exists():
                checkpoint.move(folder, winner_dir)

    def _judge(self, module: nnx.Module) -> dict[str, Any]:
        """What a module gets right and wrong: of the test images, or the validation images where there are none."""
        data, split = self.data, self.split
        names = data.class_names or [str(number) for number in range(data.classes)]
        if len(data.x_test):
            return winner_facts(module, data.x_test, data.y_test, self.recipe.views, split="test", class_names=names)
        images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
        return winner_facts(module, images, labels, self.recipe.views, split="validation", class_names=names)


class Speed(NamedTuple):
    """How long a template trains."""

    compile_seconds: float
    seconds_per_image: float
    """Of training; to classify an image takes a third of that."""


def measure_speed(template: Template, recipe: Recipe, split: Split, workers: str | None) -> Speed | None:
    """Returns how long a template trains as one that is trained alone; None where it cannot be trained.

    That is measured on the second of three epochs of a few steps.
    """
    images = min(_SPEED_STEPS * recipe.batch_size, len(split.x_train))
    recipe = dataclasses.replace(recipe, epochs=3, train_images=images)
    times: list[float] = []
    options = EngineOptions(workers=workers, on_epoch=lambda _: times.append(time.monotonic()))
    row = next(run_trials(TrainingRequest.without_row(template, recipe, split), options))
    if row.status != "ok":
        return None
    work = images + _curve_work(split)
    return Speed(row.compile_seconds, (times[1] - times[0]) / work)


def measure_flops(templates: Sequence[Template], recipe: Recipe, split: Split, workers: str | None) -> float | None:
    """Returns the operations a second of training the first template alone; None where that cannot be measured."""
    speed = measure_speed(templates[0], recipe, split, workers) if templates else None
    return None if speed is None else FLOPS_PER_MAC * templates[0].cost.macs / speed.seconds_per_image


def _curve_work(split: Split) -> float:
    """What measuring an accuracy after an epoch but the last takes, in images of training."""
    return min(len(split.x_val), CURVE_IMAGES) / _TRAIN_TO_CLASSIFY_RATIO


def affordable_epochs(
    seconds: float, speeds: Sequence[Speed | None], repeats: int, recipe: Recipe, split: Split, data: Dataset
) -> int:
    """Returns for how many epochs templates of these speeds can be trained and the best one be tested; at least 1."""
    known = [speed for speed in speeds if speed is not None]
    views = recipe.views.count / _TRAIN_TO_CLASSIFY_RATIO
    fixed, epoch = _TEST_SECONDS, 0.0
    for speed in known:
        fixed += speed.compile_seconds + repeats * speed.seconds_per_image * views * len(split.x_val)
        epoch += repeats * speed.seconds_per_image * (len(split.x_train) + _curve_work(split))
    if not known:
        return 1
    fixed += repeats * max(speed.seconds_per_image for speed in known) * views * len(data.x_test)
    return min(max(int(_SAFETY * (seconds - fixed) / epoch), 1), _MAX_EPOCHS)


def _rank(rows: Sequence[Evaluation], metric: Metric) -> tuple[bool, int, float]:
    """Whether the first seed ended well, how many did, and their mean score after the last epoch."""
    scores = [row.score(metric) for row in rows if row.status == "ok"]
    return rows[0].status == "ok", len(scores), statistics.fmean(scores) if scores else 0.0
