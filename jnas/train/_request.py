"""What a call trains, on which images, and where its rows go."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jnas._validation import to_seed
from jnas.data import Dataset, Split, load_data
from jnas.nn import program_signature
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train._engine.executor import choose_executor
from jnas.train._engine.jobs import Job, TrialGroup, make_groups
from jnas.train._engine.scheduler import EngineOptions, Scheduler
from jnas.train._recipe import Recipe
from jnas.train._trainer import check_batch
from jnas.train._trial import Templates, Trial, as_trials

DataSource = Dataset | Mapping | tuple | str | Path
"""What `load_data` takes."""


@dataclass(frozen=True)
class TrainingRequest:
    """Trials to train under one recipe on one split; `keys` are those of their rows, which `store` has or gets."""

    trials: Sequence[Trial] = field(repr=False)
    keys: Sequence[Key] = field(repr=False)
    recipe: Recipe
    split: Split
    store: Store | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", self.split.take(self.recipe.train_images))
        check_batch(self.recipe, self.split)

    @classmethod
    def without_row(cls, template: Template, recipe: Recipe, split: Split) -> TrainingRequest:
        """Returns the request of one training with seed 0, for what is told by it; nobody keeps its row."""
        key = Key(template.hash, "", template.classes, recipe.id, "", 0, 0)
        return cls([Trial(template, 0)], [key], recipe, split)

    @classmethod
    def of(
        cls,
        templates: Templates,
        data: DataSource,
        recipe: Recipe | str | None,
        seed: int,
        split_seed: int,
        store: Store | str | Path | None,
    ) -> TrainingRequest:
        """Returns the request of the arguments of `evaluate`; raises a JnasError if they do not suit each other."""
        dataset, recipe, split_seed = load_data(data), Recipe.of(recipe), to_seed("split_seed", split_seed)
        trials = as_trials(templates, seed, dataset.in_shape, dataset.classes)
        keys = [make_key(trial, recipe, dataset, split_seed) for trial in trials]
        store = store if store is None or isinstance(store, Store) else Store(store)
        if store is not None:
            store.create()
        return cls(trials, keys, recipe, dataset.split(recipe.val_fraction, split_seed), store)

    def split_cached(self, stopped_after: int | None = None) -> tuple[dict[Key, Evaluation], dict[Key, Job]]:
        """Returns the final rows that the store has, and a job for each other key.

        Rows that were stopped after `stopped_after` epochs count as final, too.
        """
        rows = self.store.find(list(self.keys)) if self.store and self.keys else {}
        final = {
            key: row
            for key, row in rows.items()
            if row.is_final or (row.status == "stopped" and len(row.epochs) == stopped_after)
        }
        jobs = {key: Job(trial, key) for key, trial in zip(self.keys, self.trials, strict=True) if key not in final}
        return final, jobs

    def run(
        self,
        jobs: Iterable[Job],
        options: EngineOptions,
        *,
        until: int,
        keep: bool = False,
        refill: Callable[[], Iterable[TrialGroup] | None] | None = None,
        num_programs: int | None = None,
    ) -> Generator[list[Job], None, None]:
        """Trains jobs of the request until this many epochs are done; yields them as they are done.

        Where they train follows from all trials of the request, also those that the store has, or `num_programs`.
        `refill` is that of `Scheduler`.
        """
        groups = make_groups(jobs)
        if not groups and refill is None:
            return
        num_programs = num_programs or len({program_signature(trial.template) for trial in self.trials})
        executor = choose_executor(options.workers, num_programs, self.split)
        reports, num_recorded = options.timing.reports, len(options.timing.reports)
        scheduler = Scheduler(
            collections.deque(groups), self.recipe, self.split, executor, options, until, keep, refill
        )
        with contextlib.closing(scheduler.run()) as chunks:
            for chunk in chunks:
                if self.store and (new := reports[num_recorded:]):
                    self.store.add_programs({"recipe_id": self.recipe.id} | dataclasses.asdict(one) for one in new)
                num_recorded = len(reports)
                yield chunk

    def record(self, jobs: Sequence[Job]) -> list[Evaluation]:
        """Returns the rows of jobs that are done or stopped, and writes them where there is a store.

        Those of one recipe in one transaction, which takes about as long for one row as for a hundred.
        """
        rows = [job.row(self.recipe.epochs) for job in jobs]
        by_recipe = collections.defaultdict(list)
        for job, row in zip(jobs, rows, strict=True):
            by_recipe[job.trial.recipe(self.recipe).to_json()].append(row)
        for recipe_json, some in by_recipe.items():
            if self.store:
                self.store.add(some, recipe_json)
        return rows

    def finish(self, rows: dict[Key, Evaluation], jobs: dict[Key, Job], options: EngineOptions) -> Iterator[Evaluation]:
        """Trains jobs to the end, and records them; yields the row of each trial, in order, with those of `rows`."""
        with contextlib.closing(self.run(jobs.values(), options, until=self.recipe.epochs)) as chunks:
            for key in self.keys:
                while key not in rows and (chunk := next(chunks, None)) is not None:
                    rows |= {row.key: row for row in self.record(chunk)}
                if key in rows:
                    yield rows[key]


def make_key(trial: Trial, recipe: Recipe, data: Dataset, split_seed: int) -> Key:
    """Returns the key of a trial's row."""
    template = trial.template
    shape, recipe_id = "x".join(map(str, template.in_shape)), trial.recipe(recipe).id
    return Key(template.hash, shape, template.classes, recipe_id, data.fingerprint, split_seed, trial.seed or 0)
