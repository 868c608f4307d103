"""One call for many trials, each a row: what was trained before is looked up, failures are rows too."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jnas._runtime.compilation_cache import use_compilation_cache
from jnas.data import Dataset, Split, load_data
from jnas.errors import JnasError
from jnas.nn._signature import Policy, check_policy
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train._engine import workers
from jnas.train._engine.jobs import Group, Job, Report, device_name, groups
from jnas.train._engine.memory_plan import Device
from jnas.train._engine.progress import Bar, print_reports
from jnas.train._engine.scheduler import COMPILE_LIMIT, Watch, train
from jnas.train._recipe import Recipe
from jnas.train._trainer import Run, Trainer, check_batch
from jnas.train._trial import Trial, as_trials


def evaluate(
    templates: Iterable[Template | Trial],
    data: Dataset | Mapping | str | Path = "excerpt",
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    split_seed: int = 0,
    store: Store | str | Path | None = None,
    policy: Policy = "exact",
    memory: int | None = None,
    compile_limit: float = COMPILE_LIMIT,
    progress: bool = True,
    on_result: Callable[[Evaluation], None] | None = None,
    explain: bool = False,
    watch: Watch | None = None,
) -> list[Evaluation]:
    """Trains each template and measures its validation accuracy.

    Templates that share a structure share a compiled program, and train side by side where the device gains by it; the
    programs of the coming ones compile while the present ones train. On a CPU, 8 different templates or more train in
    processes, one a core (see `workers`).

    Args:
      templates: any mix of architectures; a `Trial` is one with a seed, learning rate or weight decay of its own.
      data: a `Dataset`, or what `load_data` takes.
      recipe: how to train; `Recipe.standard()` by default.
      seed: of initial weights, image order, augmentation and dropout, where a trial has none of its own.
      split_seed: which training images are kept for validation.
      store: a `Store` or its path. Rows that it has are not trained again, unless an error, a lack of memory or
        the compiler's time limit ended them, or they were stopped early; each new one is written as it is done.
      policy: which templates share a program: "exact", those that are equal; "folded", those that differ in what can be
        run-time data; "envelope", different architectures too; "auto", whichever is expected to be fastest. All train
        each template as "exact" does, to the rounding of float32 (see `jnas.nn._signature`).
      memory: bytes that training may take; by default nine tenths of what a GPU has free, or, where there is none, of
        what the machine or the container has in all.
      compile_limit: seconds after which a program that still compiles is given up ("timeout"). The compiler itself
        cannot be stopped: it keeps a processor busy until it is done.
      progress: whether to show how it goes.
      on_result: called with each row, in order.
      explain: whether to print, at the end, which programs were chosen, what they were expected to take and took.
      watch: told where the time goes, for whoever wants to know.

    Returns:
      One `Evaluation` a template, in order. A template that fails is a row with another status than "ok".

    Raises:
      JnasError: the recipe does not suit the data at all, such as a batch larger than the training set.
    """
    asked = Request.of(templates, data, recipe, seed, split_seed, store, policy)
    watch = watch or Watch()
    results = []
    with Bar(len(asked.trials), watch) if progress else contextlib.nullcontext() as bar:
        how = {"policy": policy, "memory": memory, "compile_limit": compile_limit}
        for row in evaluate_each(*asked, **how, watch=watch):
            results.append(row)
            if bar:
                bar.done(row)
            if on_result:
                on_result(row)
    if explain:
        print_reports(watch)
    return results


def evaluate_each(
    trials: Sequence[Trial],
    keys: Sequence[Key],
    recipe: Recipe,
    split: Split,
    store: Store | None = None,
    *,
    policy: Policy = "exact",
    memory: int | None = None,
    compile_limit: float = COMPILE_LIMIT,
    on_epoch: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    watch: Watch | None = None,
) -> Iterator[Evaluation]:
    """The row of each trial in turn; see `evaluate`.

    Where `stop` says True, the trials in training are finished, nothing else begins, and only trials that are done have
    a row.

    Raises:
      JnasError: the recipe does not suit the images.
    """
    asked = Request(trials, keys, recipe, split, store)
    rows, jobs = known_and_missing(asked)
    watch = watch or Watch()
    written = len(watch.reports)
    device, kind = Device.here(memory), Group
    if processes := workers.worth(trials, policy, split):
        device, kind = dataclasses.replace(device, programs=processes), workers.RemoteGroup
        if jobs:
            workers.POOL.start(processes)
    work = groups(jobs.values(), policy, recipe, split, device, kind=kind)
    trained = train(work, recipe.epochs, on_epoch=on_epoch, watch=watch, stop=stop, compile_limit=compile_limit)
    del jobs, work  # each goes when it is done
    with contextlib.closing(trained):
        for key in keys:
            while key not in rows and (done := next(trained, None)) is not None:
                for job in done:
                    rows[job.key] = asked.record(job)
                asked.record_programs(watch.reports[written:])
                written = len(watch.reports)
            if key in rows:
                yield rows[key]


def evaluate_kept(
    trials: Sequence[tuple[Trial, Key]],
    recipe: Recipe,
    split: Split,
    on_epoch: Callable[[int], None] | None = None,
) -> Iterator[tuple[Evaluation, tuple[Trainer, Run] | None]]:
    """Trials of one template, trained: the row of each, and the trainer with what it left (None where it failed).

    Raises:
      JnasError: the recipe does not suit the images.
    """
    check_batch(recipe, split)
    use_compilation_cache()
    jobs = [Job(trial, key) for trial, key in trials]
    for group in groups(jobs, "exact", recipe, split, Device.here()):
        group.compile()
        for chunk in group.run(recipe.epochs, keep=True, on_epoch=on_epoch):
            for job in chunk:
                row = job.row()
                yield row, (group.trainer, job.run) if row.status == "ok" else None
                job.run = None  # its weights go


class Request(NamedTuple):
    """What is to be trained, how, on which images, and where the rows are kept."""

    trials: Sequence[Trial]
    keys: Sequence[Key]
    recipe: Recipe
    split: Split
    store: Store | None

    @classmethod
    def of(cls, templates, data, recipe, seed, split_seed, store, policy) -> Request:
        """From the arguments of `evaluate`.

        Raises:
          JnasError: something is neither a template nor a trial, or there is no such policy.
        """
        data = load_data(data)
        recipe = recipe or Recipe.standard()
        items = list(templates)
        for item in items:
            if not isinstance(item, Template | Trial):
                raise JnasError(
                    f"{item!r} cannot be evaluated: give templates (Template.from_hash makes one) or trials."
                )
        check_policy(policy)
        trials = as_trials(items, seed)
        split = data.split(recipe.validation, split_seed)
        keys = [key_of(trial, recipe, data, split_seed) for trial in trials]
        return cls(trials, keys, recipe, split, store if store is None or isinstance(store, Store) else Store(store))

    def record(self, job: Job) -> Evaluation:
        """The row of a job that is done, or stopped before the recipe's last epoch; written, where there is a store."""
        row = job.row(self.recipe.epochs)
        if self.store:
            self.store.add([row], job.trial.recipe(self.recipe).to_json())
        return row

    def record_programs(self, reports: Iterable[Report]) -> None:
        """Writes what programs took, where there is a store."""
        for report in reports if self.store else ():
            self.store.add_program(
                recipe_id=self.recipe.id,
                device=device_name(),
                num_trials=report.lanes,
                lanes_per_program=report.width,
                compile_seconds=report.compile_seconds,
                train_seconds=report.train_seconds,
            )


def known_and_missing(asked: Request, stopped: int | None = None) -> tuple[dict[Key, Evaluation], dict[Key, Job]]:
    """The rows that the store has for good, and a job for each other key; the compilation cache is switched on.

    Rows that were stopped after `stopped` epochs count as had for good.

    Raises:
      JnasError: the recipe does not suit the images.
    """
    check_batch(asked.recipe, asked.split)
    use_compilation_cache()
    found = asked.store.find(asked.keys) if asked.store else {}
    known = {
        key: row
        for key, row in found.items()
        if row.is_final or (row.status == "stopped" and len(row.epochs) == stopped)
    }
    return known, {k: Job(trial, k) for k, trial in zip(asked.keys, asked.trials, strict=True) if k not in known}


def key_of(trial: Trial, recipe: Recipe, data: Dataset, split_seed: int) -> Key:
    """The key of an evaluation."""
    template = trial.template
    shape = "x".join(map(str, template.in_shape))
    own = trial.recipe(recipe).id
    return Key(template.hash, shape, template.classes, own, data.fingerprint, split_seed, trial.seed)
