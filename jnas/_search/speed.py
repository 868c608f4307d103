"""How long networks train here, and for how many epochs that leaves time."""

import dataclasses
import time
from collections.abc import Sequence
from typing import NamedTuple

from jnas._search.plan import FLOPS_PER_MAC
from jnas.data import Dataset, Split
from jnas.space import Template
from jnas.train import CURVE_IMAGES, EngineOptions, Recipe, TrainingRequest, run_trials

_SPEED_STEPS = 24
_TRAIN_TO_CLASSIFY_RATIO = 3
_TEST_SECONDS = 6.0
"""To load and test the winner, to end, and what starting Python took."""
_SAFETY = 0.96
"""Share of the time that is left for epochs: some take longer than the one that was measured."""
_MAX_EPOCHS = 500


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
