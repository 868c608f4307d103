"""Trials on their way to rows, and the groups of them that share a program. Plain data."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from jnas._runtime.devices import Place, here
from jnas._validation import first_line
from jnas.errors import JnasError
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

    `epochs` are those that are done. `run` is the trial in training, where it is kept to go on later. `place` is where
    it trained last, and `num_lost` how many workers were lost with it. The seconds are its share of the wall clock.
    """

    trial: Trial
    key: Key
    run: TrainingRun | None = None
    failure: Failure | None = None
    epochs: list[Epoch] = field(default_factory=list)
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    place: Place | None = None
    num_lost: int = 0

    def row(self, epochs: int) -> Evaluation:
        """Returns the row of the trial as it is now; "stopped" if it has fewer than this many epochs."""
        status, message = self._status(epochs)
        is_ok = status == "ok"
        host, device = self.place or here()
        return Evaluation(
            key=self.key,
            status=status,
            message=message,
            val_acc_final=self.epochs[-1].val_acc if is_ok else None,
            val_acc_max=max(epoch.val_acc for epoch in self.epochs) if is_ok else None,
            train_acc_final=self.epochs[-1].train_acc if is_ok else None,
            compile_seconds=self.compile_seconds,
            train_seconds=self.train_seconds,
            device=device,
            host=host,
            epochs=tuple(self.epochs),
            **dataclasses.asdict(self.trial.template.cost),
        )

    def _status(self, epochs: int) -> tuple[Status, str]:
        if self.failure:
            return self.failure
        for number, epoch in enumerate(self.epochs, 1):
            if not math.isfinite(epoch.train_loss):
                return "diverged", f"the loss stopped being a number in epoch {number}: lower the learning rate"
        if not self.epochs:
            return "stopped", "stopped before its first epoch"
        if len(self.epochs) < epochs:
            return "stopped", f"stopped after {len(self.epochs)} of {epochs} epochs"
        return "ok", ""


@dataclass(eq=False)
class TrialGroup:
    """Jobs that train with the same program, in this order; `num_lanes` is 0 as long as there is none."""

    signature: Template
    jobs: list[Job]
    compile_seconds: float = 0.0
    num_lanes: int = 0

    @property
    def work(self) -> int:
        """Multiply-accumulates of all jobs, in units of one image: how long they take, relative to other groups."""
        return self.signature.cost.macs * len(self.jobs)


def make_groups(jobs: Iterable[Job]) -> list[TrialGroup]:
    """Returns jobs by program, in the order in which the programs occur."""
    groups: dict[Template, TrialGroup] = {}
    for job in jobs:
        signature = program_signature(job.trial.template)
        groups.setdefault(signature, TrialGroup(signature, [])).jobs.append(job)
    return list(groups.values())


def failure_of(error: BaseException) -> Failure:
    """Returns the status and the first line of what was raised."""
    text = first_line(error)
    if isinstance(error, JnasError):
        return "invalid", text
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        return "out_of_memory", f"{text}: choose a smaller batch size, or limit the size of templates"
    return "error", text
