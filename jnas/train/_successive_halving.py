"""Successive halving: a few epochs for all trials, more for the better ones.

Jamieson and Talwalkar 2016, arXiv:1502.07943, with the rungs of Li et al. 2018 (Hyperband), arXiv:1603.06560. A trial
that goes on keeps its weights, its optimiser's state and its place in the recipe's schedule: one that reaches the last
rung is trained exactly as `evaluate` would.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import apply_rules, to_bool, to_instance, to_int
from jnas.store import Epoch, Evaluation, Key, Store
from jnas.train._engine.progress import ProgressBar
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._recipe import Recipe
from jnas.train._request import DataSource, TrainingRequest
from jnas.train._trial import Templates


@dataclass(frozen=True)
class HalvingSchedule:
    """When trials are compared, and how many of them go on; a JnasError says what is out of range.

    The first rung is of `min_epochs`; each next one has `reduction_factor` times fewer trials, and more epochs.
    """

    min_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        apply_rules(self, {"min_epochs": partial(to_int, minimum=1), "reduction_factor": partial(to_int, minimum=2)})

    def rungs(self, max_epochs: int) -> list[int]:
        """Returns the epochs after which trials are compared.

        >>> HalvingSchedule().rungs(20)
        [1, 3, 9, 20]
        """
        epochs, max_epochs = [self.min_epochs], to_int("max_epochs", max_epochs, 1)
        while epochs[-1] < max_epochs:
            epochs.append(epochs[-1] * self.reduction_factor)
        return [*epochs[:-1], max_epochs]


@with_own_settings
def successive_halving(
    templates: Templates,
    data: DataSource = "excerpt",
    recipe: Recipe | str | None = None,
    *,
    schedule: HalvingSchedule | None = None,
    seed: int = 0,
    store: Store | str | Path | None = None,
    progress: bool = True,
    options: EngineOptions | None = None,
) -> list[Evaluation]:
    """Returns the row of each trial, in order: all train for a few epochs, the best of them for longer, and so on.

    A row is "ok" for a trial that was trained to the end, and "stopped" for others: its `epochs` say how it did until
    then. Arguments are those of `evaluate`. Trials that the store has are compared by their rows, and not trained.

    Raises:
      JnasError: the recipe does not suit the data.
    """
    schedule = HalvingSchedule() if schedule is None else to_instance("schedule", schedule, HalvingSchedule)
    options = EngineOptions() if options is None else to_instance("options", options, EngineOptions)
    progress = to_bool("progress", progress)
    request = TrainingRequest.of(templates, data, recipe, seed, 0, store)
    rows, jobs = request.split_cached()
    alive, rungs = list(dict.fromkeys(request.keys)), schedule.rungs(request.recipe.epochs)
    total = sum(-(-len(jobs) // schedule.reduction_factor**index) for index in range(len(rungs)))
    try:
        with ProgressBar(total, options.timing, "halving", quiet=not progress) as bar:
            for index, until in enumerate(rungs):
                pending = [jobs[key] for key in alive if key in jobs]
                with contextlib.closing(request.run(pending, options, until=until, keep=until < rungs[-1])) as chunks:
                    for _ in chunks:
                        bar.note(f"rung {index + 1} of {len(rungs)} ({until} epochs), {len(alive)} trials")
                ranking = _rank({key: (rows.get(key) or jobs[key]).epochs for key in alive}, until)
                alive = ranking[: -(-len(alive) // schedule.reduction_factor)]
                for key in jobs.keys() - set(alive):
                    jobs[key].run = None  # its weights go
    finally:  # what is known is written, however it ended
        rows |= {row.key: row for row in request.record([*jobs.values()])}
    return [rows[key] for key in request.keys]


def _rank(curves: Mapping[Key, Sequence[Epoch]], epochs: int) -> list[Key]:
    """The keys, best first, of those that have so many epochs and whose loss is a number."""
    last = {key: curve[epochs - 1] for key, curve in curves.items() if len(curve) >= epochs}
    healthy = [key for key in last if math.isfinite(last[key].train_loss)]
    return sorted(healthy, key=lambda key: -last[key].val_acc)
