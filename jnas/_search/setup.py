"""What a search works with, from its first to its last round."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jnas._runtime import checkpoint
from jnas._runtime.versions import git_commit, versions
from jnas._search.callbacks import Callback
from jnas._search.config import PLANNED, SPLIT_SEED, SearchConfig, with_plan
from jnas._search.mirroring import warn_of_mirroring
from jnas._search.objectives import Latencies, read_latencies
from jnas._search.plan import LEAST_SECONDS_TO_MEASURE
from jnas._search.result import EvaluatedCandidate
from jnas._search.screening import Proposal
from jnas._search.speed import measure_flops
from jnas._search.stopping import Interrupt
from jnas._validation import refuse
from jnas.data import Dataset, Split
from jnas.space import Space, known_networks
from jnas.store import Store, paths
from jnas.train import EngineOptions, Recipe, TrainingRequest, Trial, check_batch, make_key, wait_for_workers

_MAY_BE_MIRRORED = ("excerpt", "cifar10", "cifar100")
_CHECK_SECONDS = 1.0
"""Seconds between two looks at the folder of checkpoints, which may be lost long before something is written there."""


@dataclass(eq=False)
class SearchSetup:
    """Settings, images, networks to choose from, and where results go."""

    config: SearchConfig
    """With what the plan says in place of what was not given."""
    data: Dataset
    split: Split
    space: Space
    recipe: Recipe
    """Of candidates; the winner's training is longer."""
    store: Store
    experiment: str
    """The search's id in the store."""
    latencies: Latencies
    callback: Callback
    interrupt: Interrupt
    start: float
    """A time of `time.monotonic`, without the seconds in which the search had to wait."""
    notes: tuple[str, ...]
    """What was done to the images that the user should know."""
    _checked: float = dataclasses.field(init=False, default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Those since the search may train, without those in which it had to wait."""
        return time.monotonic() - self.start

    @property
    def checkpoints(self) -> Path:
        """The folder of weights and predictors."""
        return paths.checkpoint_dir(self.store.path, self.experiment)

    def check_folder(self) -> bool:
        """Returns False; a `JnasError` soon after nothing can be written beside the store any more."""
        now = time.monotonic()
        if now > self._checked + _CHECK_SECONDS:
            checkpoint.try_writing(self.checkpoints)
            self._checked = now
        return False

    def request(self, candidates: Iterable[Proposal | EvaluatedCandidate], recipe: Recipe) -> TrainingRequest:
        """Returns the trainings of candidates by a recipe, whose rows go to the store."""
        trials = [Trial(one.candidate.template, self.config.seed) for one in candidates]
        keys = [make_key(trial, recipe, self.data, SPLIT_SEED) for trial in trials]
        return TrainingRequest(trials, keys, recipe, self.split, self.store)

    def engine_options(self, should_stop: Callable[[], bool]) -> EngineOptions:
        """Returns where trainings run, and who hears of their epochs."""
        return EngineOptions(
            compile_timeout=self.config.compile_timeout,
            workers=self.config.workers,
            on_epoch=self.callback.on_epoch_end,
            should_stop=should_stop,
        )


def set_up(config: SearchConfig, data: Dataset, callback: Callback, start: float, interrupt: Interrupt) -> SearchSetup:
    """Returns what a search that was called at `start`, a time of `time.monotonic`, works with; writes its row."""
    split, notes = data.split(config.make_recipe(None).val_fraction, SPLIT_SEED), data.notes
    is_told = config.flip is not None or config.data.split(":")[0] in _MAY_BE_MIRRORED
    if not is_told and config.make_recipe(None).flip and (warning := warn_of_mirroring(data, split)):
        config, notes = dataclasses.replace(config, flip=False), (*notes, warning)
    start += wait_for_workers(config.workers, lambda: bool(interrupt.by))
    check_batch(config.make_recipe(config.epochs, config.train_images), split.take(config.train_images))
    space = config.search_space(data)
    latencies = None if config.latencies is None else read_latencies(config.latencies, space)
    if config.store is None:
        _make_folder(config.out)
    store, experiment = Store(config.store_path), config.experiment_id(data)
    config = _with_plan(config, store, experiment, data, split)
    space, recipe = config.search_space(data), config.candidate_recipe()
    check_batch(recipe, split.take(config.train_images))
    checkpoint.try_writing(paths.checkpoint_dir(store.path, experiment))
    _store_experiment(store, experiment, config, recipe, data, split)
    measured = Latencies(store, space, latencies)
    store.lock_timeout = 600  # once it runs, a search waits for whoever reads its rows
    return SearchSetup(
        config, data, split, space, recipe, store, experiment, measured, callback, interrupt, start, notes
    )


def _with_plan(config: SearchConfig, store: Store, experiment: str, data: Dataset, split: Split) -> SearchConfig:
    """The settings with what a plan says, that of an earlier run where there was one."""
    num_images = len(split.x_train)
    if store.is_made and (earlier := store.experiment(experiment)):
        settings = json.loads(earlier["config_json"])
        planned = {name: settings[name] for name in PLANNED if getattr(config, name) is None}
        return with_plan(dataclasses.replace(config, **planned), num_images)
    seconds, speed = config.time_limit or 0.0, None
    if config.planned_seconds is not None and seconds >= LEAST_SECONDS_TO_MEASURE:
        first = with_plan(config, num_images).search_space(data)
        speed = measure_flops(known_networks(first), config.make_recipe(None), split, config.workers)
    return with_plan(config, num_images, speed)


def _store_experiment(
    store: Store, experiment: str, config: SearchConfig, recipe: Recipe, data: Dataset, split: Split
) -> None:
    store.add_experiment(
        experiment,
        config_json=dataclasses.asdict(config),
        recipe_id=recipe.id,
        dataset_fingerprint=data.fingerprint,
        dataset_name=data.name,
        in_shape="x".join(map(str, data.in_shape)),
        num_classes=data.classes,
        num_train=len(split.x_train),
        num_val=len(split.x_val),
        num_test=len(data.x_test),
        class_names=None if data.class_names is None else json.dumps(data.class_names),
        split_seed=SPLIT_SEED,
        seed=config.seed,
        versions=versions(),
        git_commit=git_commit(),
    )


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        hint = f"name another one with --out ({error.strerror})"
        refuse("out", "a folder, or one that can be made", path, hint)
