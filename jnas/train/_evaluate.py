"""One call for many trials, each a row: rows that the store has are looked up, and failures are rows, too."""

import collections
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from flax import nnx
from jaxtyping import Float

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import to_bool, to_instance
from jnas.store import Evaluation, Key, Store
from jnas.train._engine.jobs import Job, TrialGroup, make_groups
from jnas.train._engine.progress import ProgressBar
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._recipe import Recipe
from jnas.train._request import DataSource, TrainingRequest
from jnas.train._trainer import trained_module
from jnas.train._trial import Templates

Pruner = Callable[[Sequence[Key], Float[np.ndarray, "n k"]], Sequence[bool]]
"""From N keys and their validation accuracies after the first K epochs: which of them are trained to the end."""


@with_own_settings
def evaluate(
    templates: Templates,
    data: DataSource = "excerpt",
    recipe: Recipe | str | None = None,
    *,
    seed: int = 0,
    split_seed: int = 0,
    store: Store | str | Path | None = None,
    progress: bool = True,
    options: EngineOptions | None = None,
) -> list[Evaluation]:
    """Returns one row per template, in order: it is trained, and its validation accuracy measured.

    Templates that differ in activation slopes and dropout rates only, and trials of one template, share a compiled
    program. On a CPU programs are compiled and trained in worker processes; on a GPU the programs of the next templates
    compile while the present ones train. A template that fails is a row with another status than "ok".

    Args:
      templates: any mix of architectures, or one; a hash is one for these images, a `Trial` one with a seed, learning
        rate or weight decay of its own.
      data: a `Dataset`, or what `load_data` takes.
      recipe: how to train: a `Recipe`, or the name of a preset; None is `Recipe.fast()`.
      seed: of initial weights, image order, augmentation and dropout, where a trial has none of its own.
      split_seed: which training images are kept for validation.
      store: a `Store` or its path. Rows that it has are not trained again, unless an error, a lack of memory or
        the compiler's time limit ended them, or they were stopped early. Each new row is written as it is done.
      progress: whether to show how it goes.
      options: limits of memory and time, and what to call on the way.

    Raises:
      JnasError: the recipe does not suit the data at all, such as a batch larger than the training set.
    """
    options = EngineOptions() if options is None else to_instance("options", options, EngineOptions)
    progress = to_bool("progress", progress)
    request = TrainingRequest.of(templates, data, recipe, seed, split_seed, store)
    results = []
    with ProgressBar(len(request.trials), options.timing, quiet=not progress) as bar:
        for row in run_trials(request, options):
            results.append(row)
            bar.advance(row)
            if options.on_row:
                options.on_row(row)
    return results


def run_trials(request: TrainingRequest, options: EngineOptions | None = None) -> Iterator[Evaluation]:
    """Yields the row of each trial, in order.

    Once `options.should_stop` returns True, the trials in training are finished, no other begins, and only trials that
    are done have a row.
    """
    yield from request.finish(*request.split_cached(), options or EngineOptions())


def run_stream(
    first: TrainingRequest,
    refill: Callable[[], TrainingRequest | None],
    num_programs: int | None = None,
    options: EngineOptions | None = None,
) -> Generator[Evaluation | None, None, None]:
    """Yields rows as they are done: of the first request, and of those of `refill`, which is asked for more.

    It is asked when a worker has nothing to do, in the caller's thread, and again after whatever is done, until it
    returns None. In between None is yielded, for a caller whose next request follows from what is done. All requests
    are of one recipe, one split and one store. As many workers train as for `num_programs`, or the first request's.
    """
    options, known = options or EngineOptions(), collections.deque[Evaluation]()

    def take(request: TrainingRequest) -> Iterable[Job]:
        rows, jobs = request.split_cached()
        known.extend(rows[key] for key in request.keys if key in rows)
        return jobs.values()

    def more() -> list[TrialGroup] | None:
        request = refill()
        return None if request is None else make_groups(take(request))

    run = first.run(take(first), options, until=first.recipe.epochs, refill=more, num_programs=num_programs)
    with contextlib.closing(run) as chunks:
        while True:
            while known:
                yield known.popleft()
            yield None
            if (chunk := next(chunks, None)) is None:
                return
            yield from first.record(chunk)


def run_pruned(
    request: TrainingRequest, prune_after: int, keeps: Pruner, options: EngineOptions | None = None
) -> Iterator[Evaluation]:
    """Yields the row of each trial, in order; "stopped" after `prune_after` epochs for those that `keeps` rejects.

    `keeps` is called once, about the trials that have not failed by then; it may be a predictor that has seen these
    epochs (Baker et al. 2017, arXiv:1705.10823). A trial that goes on is trained exactly as `evaluate` would. Rows that
    the store has are not trained again, those that were stopped after `prune_after` epochs included.
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
    stopped = [jobs.pop(key) for key in list(jobs) if key not in kept]
    rows |= {row.key: row for row in request.record(stopped)}
    yield from request.finish(rows, jobs, options)


def train_modules(
    request: TrainingRequest, options: EngineOptions | None = None
) -> Iterator[tuple[Evaluation, nnx.Module | None]]:
    """Yields the row of each trial, as it is done, and its trained module in evaluation mode (None if it failed).

    Rows are neither looked up in the store nor written.
    """
    epochs = request.recipe.epochs
    jobs = [Job(trial, key) for trial, key in zip(request.trials, request.keys, strict=True)]
    chunks = request.run(jobs, options or EngineOptions(), until=epochs, keep=True)
    with contextlib.closing(chunks):
        for chunk in chunks:
            for job in chunk:
                row, run = job.row(epochs), job.run
                job.run = None  # its weights go
                yield row, trained_module(run) if row.status == "ok" and run is not None else None
