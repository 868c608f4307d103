"""Losers stop early: a few epochs for all, the rest for those that may still become good.

What decides is the caller's, such as a predictor that has seen these epochs (Baker et al. 2017, arXiv:1705.10823). A
trial that goes on is trained exactly as `evaluate` would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from jnas.nn._signature import Policy
from jnas.store import Evaluation, Key
from jnas.train._engine.jobs import groups
from jnas.train._engine.memory_plan import Device
from jnas.train._engine.scheduler import COMPILE_LIMIT, Watch, train
from jnas.train._evaluate import Request, known_and_missing

GoesOn = Callable[[Sequence[Key], np.ndarray], Sequence[bool]]
"""From N keys and their validation accuracies in the first epochs, `[N, K]`: which of them are trained to the end."""


def evaluate_stopping(
    asked: Request,
    first: int,
    goes_on: GoesOn,
    *,
    policy: Policy = "exact",
    memory: int | None = None,
    compile_limit: float = COMPILE_LIMIT,
    on_epoch: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    watch: Watch | None = None,
) -> Iterator[Evaluation]:
    """The row of each trial in turn; "stopped" after `first` epochs for those that do not go on.

    Args:
      asked: what is to be trained. Rows that the store has are not trained again; those that were stopped after `first`
        epochs are among them.
      first: epochs of all; fewer than the recipe's.
      goes_on: asked once, about those that are well after these.
      policy, memory, compile_limit, on_epoch, stop, watch: as in `evaluate_each`.

    Raises:
      JnasError: the recipe does not suit the images.
    """
    rows, jobs = known_and_missing(asked, stopped=first)
    device, watch = Device.here(memory), watch or Watch()

    def advance(keys: Collection[Key], epochs: int, until: int) -> Iterator[Key]:
        work = groups([jobs[key] for key in keys], policy, asked.recipe, asked.split, device, epochs)
        how = {"on_epoch": on_epoch, "watch": watch, "stop": stop, "compile_limit": compile_limit}
        told = len(watch.reports)
        with contextlib.closing(train(work, until, keep=True, **how)) as chunks:
            for chunk in chunks:
                asked.record_programs(watch.reports[told:])
                told = len(watch.reports)
                yield from (job.key for job in chunk)

    def done(key: Key) -> None:
        rows[key] = asked.record(jobs.pop(key))  # its weights go

    begun = set(advance(list(jobs), first, first))
    if begun == set(jobs):  # else it was stopped before anything could be decided
        well = [key for key, job in jobs.items() if job.row().status == "ok"]
        curves = np.array([[epoch.val_acc for epoch in jobs[key].epochs] for key in well]).reshape(len(well), first)
        going = [key for key, on in zip(well, goes_on(well, curves) if well else (), strict=True) if on]
        for key in [key for key in jobs if key not in going]:
            done(key)
    else:
        going = []
    with contextlib.closing(advance(going, asked.recipe.epochs - first, asked.recipe.epochs)) as rest:
        for key in asked.keys:
            while key not in rows and (finished := next(rest, None)) is not None:
                done(finished)
            if key in rows:
                yield rows[key]
