"""Compiles the program of a group and trains its trials, in the process that calls it."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn import estimate_cost
from jnas.space import Template
from jnas.store import Epoch
from jnas.train._engine.jobs import Failure, failure_of
from jnas.train._engine.memory_plan import choose_num_lanes, required_memory
from jnas.train._recipe import Recipe
from jnas.train._trainer import Trainer, TrainingRun, check_template
from jnas.train._trial import Trial

TRAINER_CLASS: type[Trainer] = Trainer
"""What trains; tests put a trainer without XLA here."""


@dataclass(frozen=True)
class GroupSpec:
    """What a group trainer is made from; it can be sent to another process.

    Attributes:
      signature: of the program.
      trials: that train with it.
      recipe: how to train.
      max_memory: bytes that training may use.
      trainer_class: what compiles and trains.
    """

    signature: Template
    trials: tuple[Trial, ...]
    recipe: Recipe
    max_memory: int
    trainer_class: type[Trainer] = field(default_factory=lambda: TRAINER_CLASS)


class Outcome(NamedTuple):
    """What training did to a trial: its epochs, why it failed, and the run to go on from, if it was to be kept."""

    epochs: list[Epoch]
    failure: Failure | None
    run: TrainingRun | None


class GroupTrainer:
    """Trains the trials of a group: one chunk of as many lanes as the program has after another."""

    def __init__(self, spec: GroupSpec, split: Split):
        self.spec, self.split = spec, split
        self.trainer: Trainer | None = None
        self._first_runs: list[TrainingRun] = []

    @property
    def num_lanes(self) -> int:
        """Trials side by side; 0 before the program is compiled, or if there is none."""
        return self.trainer.num_lanes if self.trainer else 0

    @property
    def memory(self) -> int:
        """Bytes that the program needs; 0 if there is none, or the compiler does not say."""
        return self.trainer.memory if self.trainer else 0

    def compile(self, compile_ahead: Callable[[Trainer], None] | None = None) -> Failure | None:
        """Plans the memory, compiles, and draws the first initial weights; returns why there is no program, if so.

        Args:
          compile_ahead: called with each trainer before it compiles, to have its programs compiled into the cache.
        """
        try:
            check_template(self.spec.signature, self.split)
        except JnasError as error:
            return "invalid", str(error)
        try:
            return self._compile(compile_ahead or (lambda trainer: None))
        except Exception as error:
            self.trainer = None
            return failure_of(error)

    def _compile(self, compile_ahead: Callable[[Trainer], None]) -> Failure | None:
        spec, cost = self.spec, estimate_cost(self.spec.signature)
        num_lanes = choose_num_lanes(cost, spec.recipe.batch_size, len(spec.trials), spec.max_memory)
        if not num_lanes:
            return self._too_large(required_memory(cost, spec.recipe.batch_size))
        while True:
            trainer = self._make_trainer(num_lanes)
            compile_ahead(trainer)
            trainer.compile()
            if trainer.memory <= spec.max_memory:
                break
            if num_lanes == 1:
                return self._too_large(trainer.memory)
            num_lanes //= 2  # the estimate was too low; the compiler knows better
        self.trainer = trainer
        self._first_runs = [trainer.start(trial) for trial in spec.trials[:num_lanes]]  # nothing waits for it here
        return None

    def train(
        self,
        runs: Sequence[TrainingRun | None],
        until: int,
        keep: bool,
        on_epoch: Callable[[int], None],
    ) -> Iterator[list[Outcome]]:
        """Trains all trials until this many epochs are done; yields the outcomes of each chunk, in order.

        Args:
          runs: for each trial the run to go on from; None starts it.
          until: epochs.
          keep: whether the outcomes have the runs, to go on from later.
          on_epoch: called with the number of each epoch.
        """
        runs = list(runs)
        runs[: len(self._first_runs)] = [run or first for run, first in zip(runs, self._first_runs, strict=False)]
        self._first_runs = []
        pending = collections.deque(zip(self.spec.trials, runs, strict=True))
        while pending:
            chunk = [pending.popleft() for _ in range(min(self._trainer.num_lanes, len(pending)))]
            outcomes = self._train_chunk(chunk, until, keep, on_epoch)
            if outcomes[0].failure and outcomes[0].failure[0] == "out_of_memory" and self._halve_lanes():
                pending.extendleft(reversed(chunk))
                continue
            yield outcomes

    def _train_chunk(self, chunk: list, until: int, keep: bool, on_epoch: Callable[[int], None]) -> list[Outcome]:
        """Trains trials side by side."""
        trainer = self._trainer
        starts = []
        failure = None
        together = None
        try:
            starts = [run or trainer.start(trial) for trial, run in chunk]
            # Lanes without a trial repeat the last one.
            together = TrainingRun.stack([*starts, *[starts[-1]] * (trainer.num_lanes - len(starts))])
            trainer.train_until(together, until, lambda epoch, _: on_epoch(epoch))
        except Exception as error:
            failure = failure_of(error)
        # Epochs that were done before a failure count.
        epochs = together.history if together else [list(run.history[0]) if run else [] for _, run in chunk]
        runs = together.unstack() if together and keep and not failure else [None] * len(chunk)
        return [Outcome(epochs[lane], failure, runs[lane]) for lane in range(len(chunk))]

    def _halve_lanes(self) -> bool:
        """Goes on with half as many lanes, as so many took more memory than the compiler had said.

        Returns:
          False if there is one lane only, or a program for fewer lanes does not compile either.
        """
        if self._trainer.num_lanes == 1:
            return False
        try:
            trainer = self._make_trainer(self._trainer.num_lanes // 2)
            trainer.compile()
        except Exception:
            return False  # the first failure is the one to report
        self.trainer = trainer
        return True

    def _make_trainer(self, num_lanes: int) -> Trainer:
        return self.spec.trainer_class(self.spec.signature, self.spec.recipe, self.split, num_lanes)

    @property
    def _trainer(self) -> Trainer:
        assert self.trainer is not None, "compile() comes first"
        return self.trainer

    def _too_large(self, required_bytes: int) -> Failure:
        return "too_large", (
            f"training needs about {required_bytes / 2**30:.2f} GiB, and {self.spec.max_memory / 2**30:.2f} GiB may be "
            "used: choose a smaller batch size, or limit the size of templates"
        )
