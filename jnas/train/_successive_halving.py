"""Successive halving: a few epochs for all trials, more for the better ones.

Jamieson and Talwalkar 2016, arXiv:1502.07943, with the rungs of Li et al. 2018 (Hyperband), arXiv:1603.06560. A trial
that goes on keeps its weights, its optimiser's state and its place in the recipe's schedule: one that reaches the last
rung is trained exactly as `evaluate` would.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train._engine.jobs import Job
from jnas.train._engine.progress import ProgressBar
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._recipe import Recipe
from jnas.train._request import DataSource, TrainingRequest
from jnas.train._trial import Trial


@dataclass(frozen=True)
class HalvingSchedule:
    """When trials are compared, how many of them go on, and what they may take.

    Attributes:
      min_epochs: epochs of the first rung.
      reduction_factor: how many times fewer trials, and more epochs, the next rung has.
      max_total_epochs: epochs to train, of all trials together, at most.
      max_seconds: wall clock after which nothing more begins; what is in training is finished.

    Raises:
      JnasError: a value is outside its range.
    """

    min_epochs: int = 1
    reduction_factor: int = 3
    max_total_epochs: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, minimum in (("min_epochs", 1), ("reduction_factor", 2), ("max_total_epochs", 1)):
            if (value := getattr(self, name)) is not None and value < minimum:
                raise JnasError(f"{name} must be >= {minimum}, got {value}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise JnasError(f"max_seconds must be > 0, got {self.max_seconds}.")

    def rungs(self, max_epochs: int) -> list[int]:
        """Returns the epochs after which trials are compared.

        >>> HalvingSchedule().rungs(20)
        [1, 3, 9, 20]
        """
        epochs = [self.min_epochs]
        while epochs[-1] < max_epochs:
            epochs.append(epochs[-1] * self.reduction_factor)
        return [*epochs[:-1], max_epochs]


def successive_halving(
    templates: Template | Trial | Iterable[Template | Trial],
    data: DataSource = "excerpt",
    recipe: Recipe | str | None = None,
    *,
    schedule: HalvingSchedule | None = None,
    seed: int = 0,
    store: Store | str | Path | None = None,
    progress: bool = True,
) -> list[Evaluation]:
    """Returns the row of each trial, in order: all train for a few epochs, the best of them for longer, and so on.

    A row is "ok" for a trial that was trained to the end, and "stopped" for others: its `epochs` say how it did until
    then. Arguments are those of `evaluate`. Trials that the store has are compared by their rows, and not trained.

    Raises:
      JnasError: the recipe does not suit the data.
    """
    request = TrainingRequest.of(templates, data, recipe, seed, 0, store)
    halving = _Halving(request, schedule or HalvingSchedule())
    rungs = halving.schedule.rungs(request.recipe.epochs)
    total = sum(-(-len(halving.jobs) // halving.schedule.reduction_factor**index) for index in range(len(rungs)))
    try:
        with ProgressBar(total, halving.options.timing, "halving", quiet=not progress) as bar:
            for index, until in enumerate(rungs):
                note = f"rung {index + 1} of {len(rungs)} ({until} epochs), {len(halving.alive)} trials"
                for _ in halving.run_rung(until):
                    bar.note(note)
                if halving.is_over:
                    break
    finally:  # what is known is written, however it ended
        rows = halving.rows | {key: request.record(job) for key, job in halving.jobs.items()}
    return [rows[key] for key in request.keys]


class _Halving:
    """The state between rungs: who is alive, and what of the budget is used."""

    def __init__(self, request: TrainingRequest, schedule: HalvingSchedule):
        self.request, self.schedule = request, schedule
        self.rows, self.jobs = request.split_cached()
        self.options = EngineOptions(should_stop=self._is_late)
        self.alive = list(dict.fromkeys(request.keys))
        self.trained_epochs = self.last_rung = 0
        self.is_over = False

    def run_rung(self, until: int) -> Iterable[list[Job]]:
        """Trains those that are alive until this many epochs, and keeps the best; yields chunks of jobs."""
        jobs = [self.jobs[key] for key in self.alive if key in self.jobs]
        if self.schedule.max_total_epochs is not None:
            num_affordable = max(0, self.schedule.max_total_epochs - self.trained_epochs) // (until - self.last_rung)
            self.is_over = len(jobs) > num_affordable
            jobs = jobs[:num_affordable]
        before = {job.key: len(job.epochs) for job in jobs}
        keep = until < self.request.recipe.epochs
        with contextlib.closing(self.request.run(jobs, self.options, until=until, keep=keep)) as chunks:
            for chunk in chunks:
                self.trained_epochs += sum(len(job.epochs) - before[job.key] for job in chunk)
                yield chunk
        ranking = self._rank(until)
        if self.is_over or self._is_late() or not ranking:
            self.is_over = True
            return
        self.alive, self.last_rung = ranking[: -(-len(self.alive) // self.schedule.reduction_factor)], until
        for key in self.jobs.keys() - set(self.alive):
            self.jobs[key].run = None  # its weights go

    def _rank(self, epochs: int) -> list[Key]:
        """Those that have come this far without failing, the best first."""
        curves = {key: (self.rows.get(key) or self.jobs[key]).epochs for key in self.alive}
        last = {key: curve[epochs - 1] for key, curve in curves.items() if len(curve) >= epochs}
        healthy = [key for key, epoch in last.items() if math.isfinite(epoch.train_loss)]
        return sorted(healthy, key=lambda key: -last[key].val_acc)

    def _is_late(self) -> bool:
        limit = self.schedule.max_seconds
        return limit is not None and self.options.timing.seconds > limit
