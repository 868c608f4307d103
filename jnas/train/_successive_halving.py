"""Successive halving: a few epochs for all trials, more for the better ones.

Jamieson and Talwalkar 2016, arXiv:1502.07943, with the rungs of Li et al. 2018 (Hyperband), arXiv:1603.06560. A trial
that goes on keeps its weights, its optimiser's state and its place in the recipe's schedule: one that reaches the last
rung is trained exactly as `evaluate` would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Epoch, Evaluation, Key, Store
from jnas.train._engine.jobs import Job
from jnas.train._engine.progress import ProgressBar
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._recipe import Recipe
from jnas.train._request import DataSource, TrainingRequest
from jnas.train._trial import Trial


def rungs(max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3) -> list[int]:
    """Returns the epochs after which trials are compared: `min_epochs`, times the factor each, `max_epochs` at the end.

    >>> rungs(20)
    [1, 3, 9, 20]
    """
    for name, value, minimum in (
        ("min_epochs", min_epochs, 1),
        ("reduction_factor", reduction_factor, 2),
        ("max_epochs", max_epochs, 1),
    ):
        if value < minimum:
            raise JnasError(f"{name} must be >= {minimum}, got {value}.")
    epochs = []
    while min_epochs < max_epochs:
        epochs.append(min_epochs)
        min_epochs *= reduction_factor
    return [*epochs, max_epochs]


def successive_halving(
    templates: Template | Trial | Iterable[Template | Trial],
    data: DataSource = "excerpt",
    recipe: Recipe | str | None = None,
    *,
    min_epochs: int = 1,
    reduction_factor: int = 3,
    max_total_epochs: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    store: Store | str | Path | None = None,
    progress: bool = True,
) -> list[Evaluation]:
    """Returns the row of each trial: all train for `min_epochs`, the best of them for longer, and so on.

    Args:
      templates, data, recipe, seed, store, progress: as in `evaluate`. Trials that the store has are compared by their
        rows, and not trained.
      min_epochs: epochs of the first rung.
      reduction_factor: how many times fewer trials, and more epochs, the next rung has.
      max_total_epochs: epochs to train, of all trials together, at most.
      max_seconds: wall clock after which nothing more begins; what is in training is finished.

    Returns:
      One row per template, in order: "ok" for those that were trained to the end, "stopped" for those that were not;
      their `epochs` say how they did until then.

    Raises:
      JnasError: the recipe does not suit the data, or a rung or a budget is out of its range.
    """
    for name, value in (("max_total_epochs", max_total_epochs), ("max_seconds", max_seconds)):
        if value is not None and not value > 0:
            raise JnasError(f"{name} must be > 0, got {value}.")
    request = TrainingRequest.of(templates, data, recipe, seed, 0, store)
    levels = rungs(request.recipe.epochs, min_epochs, reduction_factor)
    halving = _Halving(request, reduction_factor, max_total_epochs, max_seconds)
    try:
        total = _num_trainings(len(halving.jobs), len(levels), reduction_factor)
        bar = ProgressBar(total, halving.options.timing, "halving") if progress else contextlib.nullcontext()
        with bar as shown:
            for index, until in enumerate(levels):
                note = f"rung {index + 1} of {len(levels)} ({until} epochs), {len(halving.alive)} trials"
                for _ in halving.run_rung(until):
                    if shown:
                        shown.note(note)
                if halving.is_over:
                    break
    finally:  # what is known is written, however it ended
        rows = halving.record()
    return [rows[key] for key in request.keys]


class _Halving:
    """The state between rungs: who is alive, and what of the budget is used."""

    def __init__(self, request: TrainingRequest, reduction_factor: int, max_total_epochs, max_seconds):
        self.request, self.reduction_factor = request, reduction_factor
        self.max_total_epochs, self.max_seconds = max_total_epochs, max_seconds
        self.rows, self.jobs = request.split_cached()
        self.options = EngineOptions(should_stop=self._is_late)
        self.alive = list(dict.fromkeys(request.keys))
        self.trained_epochs = self.last_rung = 0
        self.is_over = False

    def run_rung(self, until: int) -> Iterable[list[Job]]:
        """Trains those that are alive until this many epochs, and keeps the best; yields chunks of jobs."""
        jobs = [self.jobs[key] for key in self.alive if key in self.jobs]
        if self.max_total_epochs is not None:
            num_affordable = max(0, (self.max_total_epochs - self.trained_epochs) // (until - self.last_rung))
            self.is_over = len(jobs) > num_affordable
            jobs = jobs[:num_affordable]
        before = {job.key: len(job.epochs) for job in jobs}
        keep = until < self.request.recipe.epochs
        with contextlib.closing(self.request.run(jobs, self.options, until=until, keep=keep)) as chunks:
            for chunk in chunks:
                self.trained_epochs += sum(len(job.epochs) - before[job.key] for job in chunk)
                yield chunk
        healthy = [key for key in self.alive if self._is_healthy(key, until)]
        ranking = sorted(healthy, key=lambda key: -self._curve(key)[until - 1].val_acc)
        if self.is_over or self._is_late() or not ranking:
            self.is_over = True
            return
        self.alive, self.last_rung = ranking[: -(-len(self.alive) // self.reduction_factor)], until
        for key in self.jobs.keys() - set(self.alive):
            self.jobs[key].run = None  # its weights go

    def record(self) -> dict[Key, Evaluation]:
        """Writes the rows of all trials, and returns them."""
        return self.rows | {key: self.request.record(job) for key, job in self.jobs.items()}

    def _curve(self, key: Key) -> Sequence[Epoch]:
        return self.rows[key].epochs if key in self.rows else self.jobs[key].epochs

    def _is_healthy(self, key: Key, epochs: int) -> bool:
        curve = self._curve(key)
        has_failed = key in self.jobs and self.jobs[key].failure is not None
        return not has_failed and len(curve) >= epochs and bool(np.isfinite(curve[epochs - 1].train_loss))

    def _is_late(self) -> bool:
        return self.max_seconds is not None and self.options.timing.seconds > self.max_seconds


def _num_trainings(num_trials: int, num_rungs: int, reduction_factor: int) -> int:
    """How many trainings there are in all rungs together."""
    total = 0
    for _ in range(num_rungs):
        total, num_trials = total + num_trials, -(-num_trials // reduction_factor)
    return total
