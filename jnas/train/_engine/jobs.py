"""Trials on their way to rows, and the groups of them that share a program. Plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from jnas._runtime.devices import device_name
from jnas.nn import program_signature
from jnas.space import Template
from jnas.store import Epoch, Evaluation, Key, Status
from jnas.train._trainer import TrainingRun
from jnas.train._trial import Trial

Failure = tuple[Status, str]
"""Status and message of a row that is not "ok"."""


@dataclass(eq=False)
class Job:
    """A trial on its way to a row. Whatever goes wrong is the row: a trial never ends a search.

    Attributes:
      trial: what is trained.
      key: the row's key.
      run: the trial in training, where it was asked to be kept so that it can go on.
      failure: status and message, if it failed.
      epochs: the epochs that are done.
      compile_seconds, train_seconds: its share of the wall clock.
    """

    trial: Trial
    key: Key
    run: TrainingRun | None = None
    failure: Failure | None = None
    epochs: list[Epoch] = field(default_factory=list)
    compile_seconds: float = 0.0
    train_seconds: float = 0.0

    def row(self, epochs: int) -> Evaluation:
        """Returns the row of the trial as it is now; "stopped" if it has fewer than this many epochs."""
        cost = self.trial.template.cost
        status, message = self.failure or self._nan() or self._stopped(epochs) or ("ok", "")
        is_ok = status == "ok"
        return Evaluation(
            key=self.key,
            status=status,
            message=message,
            val_acc_final=self.epochs[-1].val_acc if is_ok else None,
            val_acc_max=max(epoch.val_acc for epoch in self.epochs) if is_ok else None,
            train_acc_final=self.epochs[-1].train_acc if is_ok else None,
            params=cost.params,
            macs=cost.macs,
            flops=cost.flops,
            compile_seconds=self.compile_seconds,
            train_seconds=self.train_seconds,
            device=device_name(),
            epochs=tuple(self.epochs),
        )

    def _nan(self) -> Failure | None:
        is_finite = [math.isfinite(epoch.train_loss) for epoch in self.epochs]
        if all(is_finite):
            return None
        return "nan", f"the loss stopped being a number in epoch {1 + is_finite.index(False)}"

    def _stopped(self, epochs: int) -> Failure | None:
        if not self.epochs:
            return "stopped", "stopped before its first epoch"
        if len(self.epochs) < epochs:
            return "stopped", f"stopped after {len(self.epochs)} of {epochs} epochs"
        return None


@dataclass(eq=False)
class TrialGroup:
    """Jobs that train with the same program.

    Attributes:
      signature: of the program.
      jobs: in the order in which they train.
      compile_seconds: what compiling the program took.
      num_lanes: trials side by side; 0 before it is compiled, or if it came to no program.
    """

    signature: Template
    jobs: list[Job]
    compile_seconds: float = 0.0
    num_lanes: int = 0

    @property
    def work(self) -> int:
        """Multiply-accumulates of all jobs, in units of one image: how long they take, relative to other groups."""
        return self.signature.cost.macs * len(self.jobs)

    def fail(self, failure: Failure) -> None:
        """Makes a failure the row of each job."""
        for job in self.jobs:
            job.failure, job.run = failure, None


@dataclass(frozen=True)
class ProgramReport:
    """A program that is done.

    Attributes:
      num_trials: trained with it.
      lanes_per_program: of these, side by side; 0 if it came to no program.
      compile_seconds, train_seconds: what it took, all trials together.
    """

    num_trials: int
    lanes_per_program: int
    compile_seconds: float
    train_seconds: float

    @classmethod
    def of(cls, group: TrialGroup) -> ProgramReport:
        """Returns the report of a group."""
        seconds = sum(job.train_seconds for job in group.jobs)
        return cls(len(group.jobs), group.num_lanes, group.compile_seconds, seconds)


def make_groups(jobs: Iterable[Job]) -> list[TrialGroup]:
    """Returns jobs by program, in the order in which the programs occur."""
    groups: dict[Template, list[Job]] = {}
    for job in jobs:
        groups.setdefault(program_signature(job.trial.template), []).append(job)
    return [TrialGroup(signature, members) for signature, members in groups.items()]


def failure_of(error: BaseException) -> Failure:
    """Returns the status and the first line of what was raised."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    is_memory = "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError)
    return "out_of_memory" if is_memory else "error", text
