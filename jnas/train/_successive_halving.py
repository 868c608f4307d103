"""Successive halving: a few epochs for all, more for the better ones.

Jamieson and Talwalkar 2016, arXiv:1502.07943, with the rungs of Li et al. 2018 (Hyperband), arXiv:1603.06560. A trial
that goes on keeps its weights, its optimiser's state and its place in the recipe's schedule: one that reaches the last
rung is trained exactly as `evaluate` would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.nn._signature import Policy
from jnas.space import Template
from jnas.store import Epoch, Evaluation, Store
from jnas.train._engine.jobs import groups
from jnas.train._engine.memory_plan import Device
from jnas.train._engine.progress import Bar
from jnas.train._engine.scheduler import Watch, train
from jnas.train._evaluate import Request, known_and_missing
from jnas.train._recipe import Recipe
from jnas.train._trial import Trial


def rungs(epochs: int, first: int = 1, eta: int = 3) -> list[int]:
    """After how many epochs trials are compared: `first`, `first * eta`, ..., and `epochs` at the end.

    >>> rungs(20)
    [1, 3, 9, 20]
    """
    for name, value, least in (("first", first, 1), ("eta", eta, 2), ("epochs", epochs, 1)):
        if value < least:
            raise JnasError(f"{name}={value} makes no rungs: give at least {least}.")
    found = []
    while first < epochs:
        found.append(first)
        first *= eta
    return [*found, epochs]


def successive_halving(
    templates: Iterable[Template | Trial],
    data: Dataset | Mapping | str | Path = "excerpt",
    recipe: Recipe | None = None,
    *,
    first: int = 1,
    eta: int = 3,
    max_epochs: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    split_seed: int = 0,
    store: Store | str | Path | None = None,
    policy: Policy = "exact",
    memory: int | None = None,
    progress: bool = True,
) -> list[Evaluation]:
    """Trains all for `first` epochs, the best one in `eta` of them for `eta` times as many in all, and so on.

    Args:
      templates, data, recipe, seed, split_seed, store, policy, memory, progress: as in `evaluate`. Trials that the
        store has are ranked by what it knows of them, and not trained.
      first: epochs of the first rung.
      eta: how much fewer trials and more epochs the next rung has.
      max_epochs: epochs to train, of all trials together, at most.
      max_seconds: wall clock after which nothing more begins; what is in training is finished.

    Returns:
      One row a template, in order: "ok" for those that were trained to the end, "stopped" for those that were not;
      their `epochs` say how they did until then.

    Raises:
      JnasError: the recipe does not suit the data, or the rungs or budgets are none.
    """
    for name, value in (("max_epochs", max_epochs), ("max_seconds", max_seconds)):
        if value is not None and not value > 0:
            raise JnasError(f"{name}={value} is no budget: give a number above 0.")
    asked = Request.of(templates, data, recipe, seed, split_seed, store, policy)
    _, keys, recipe, split, _ = asked
    known, jobs = known_and_missing(asked)
    device, watch = Device.here(memory), Watch()
    alive, spent, done, out_of_budget = list(dict.fromkeys(keys)), 0, 0, False

    def curve(key) -> Sequence[Epoch]:
        return known[key].epochs if key in known else jobs[key].epochs

    def goes_on(key, epochs: int) -> bool:
        """Whether the trial is well after that many epochs."""
        fine = key in known or jobs[key].failure is None
        return fine and len(curve(key)) >= epochs and np.isfinite(curve(key)[epochs - 1].train_loss)

    def late() -> bool:
        return max_seconds is not None and watch.seconds > max_seconds

    levels = rungs(recipe.epochs, first, eta)
    try:
        with Bar(_work(len(jobs), len(levels), eta), watch, "halving") if progress else contextlib.nullcontext() as bar:
            for number, until in enumerate(levels):
                working = [jobs[key] for key in alive if key in jobs]
                if max_epochs is not None:
                    affordable = max(0, (max_epochs - spent) // (until - done))
                    out_of_budget = len(working) > affordable
                    working = working[:affordable]
                before = {id(job): len(job.epochs) for job in working}
                work = groups(working, policy, recipe, split, device, until - done)
                chunks = train(work, until, keep=True, watch=watch, stop=late)
                with contextlib.closing(chunks):
                    for chunk in chunks:
                        spent += sum(len(job.epochs) - before[id(job)] for job in chunk)
                        if bar:
                            bar.note(f"rung {number + 1} of {len(levels)} ({until} epochs), {len(working)} trials")
                ranked = sorted(
                    (key for key in alive if goes_on(key, until)), key=lambda key: -curve(key)[until - 1].val_acc
                )
                if out_of_budget or late() or not ranked:
                    break
                alive, done = ranked[: -(-len(alive) // eta)], until
                for key in jobs.keys() - set(alive):
                    jobs[key].run = None  # its weights go
    finally:  # what is known is written, however it ended
        for job in jobs.values():
            if job.failure is None and not job.epochs:
                job.failure = "stopped", "stopped before its first epoch: the budget was spent"
        rows = known | {key: asked.record(job) for key, job in jobs.items()}
    return [rows[key] for key in keys]


def _work(trials: int, rungs: int, eta: int) -> int:
    """How many trainings there are in all rungs together."""
    total = 0
    for _ in range(rungs):
        total, trials = total + trials, -(-trials // eta)
    return total
