"""Losers stop early: a few epochs for all trials, the rest for those that may still become good.

What decides is the caller's, such as a predictor that has seen these epochs (Baker et al. 2017, arXiv:1705.10823). A
trial that goes on is trained exactly as `evaluate` would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from jnas.store import Evaluation, Key
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._request import TrainingRequest

Pruner = Callable[[Sequence[Key], Float[np.ndarray, "n k"]], Sequence[bool]]
"""From N keys and their validation accuracies after the first K epochs: which of them are trained to the end."""


def run_pruned(
    request: TrainingRequest, prune_after: int, keeps: Pruner, options: EngineOptions | None = None
) -> Iterator[Evaluation]:
    """Yields the row of each trial, in order; "stopped" after `prune_after` epochs for those that `keeps` rejects.

    `keeps` is called once, about the trials that have not failed by then. Rows that the store has are not trained
    again, those that were stopped after `prune_after` epochs included.
    """
    options = options or EngineOptions()
    rows, jobs = request.split_cached(stopped_after=prune_after)
    with contextlib.closing(request.run(jobs.values(), options, until=prune_after, keep=True)) as chunks:
        num_trained = sum(len(chunk) for chunk in chunks)
    if num_trained < len(jobs):  # it was stopped before anything could be decided
        jobs.clear()
    healthy = [key for key, job in jobs.items() if job.row(prune_after).status == "ok"]
    curves = np.array([[epoch.val_acc for epoch in jobs[key].epochs] for key in healthy])
    decisions = keeps(healthy, curves.reshape(len(healthy), prune_after)) if healthy else ()
    kept = [key for key, is_kept in zip(healthy, decisions, strict=True) if is_kept]
    for key in [key for key in jobs if key not in kept]:
        rows[key] = request.record(jobs.pop(key))
    yield from request.finish(rows, jobs, options)
