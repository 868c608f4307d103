"""A population of trials, grouped by the programs that train them."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import jax

from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn._signature import Policy, Structure
from jnas.nn.envelope import Envelope
from jnas.store import Evaluation, Key
from jnas.train import codebook
from jnas.train._engine.bucketing import Assignment, Workload, assign, expect
from jnas.train._engine.compilers import compile_ahead
from jnas.train._engine.memory_plan import Device, plan, required_memory
from jnas.train._recipe import Recipe
from jnas.train._trainer import Run, Trainer, check_template
from jnas.train._trial import Trial


@dataclass
class Job:
    """A trial on its way to a row. Whatever goes wrong on the way is the row: a trial never ends a search.

    Attributes:
      trial, key: what is trained, and the row's key.
      structure: of the program that trains it, once that is chosen; a kept run goes on in the same one.
      run: the trial before training, or in training, alone, where it was asked to be kept.
      failure: status and message, where it failed.
    """

    trial: Trial
    key: Key
    structure: Structure | None = None
    run: Run | None = None
    failure: tuple[str, str] | None = None
    epochs: list = field(default_factory=list)
    compile_seconds: float = 0.0
    train_seconds: float = 0.0

    def row(self, epochs: int | None = None) -> Evaluation:
        """The trial as it stands now; "stopped" where it is to have so many epochs, and has fewer."""
        cost = self.trial.template.cost
        row = {"key": self.key, "params": cost.params, "macs": cost.macs, "flops": cost.flops}
        row |= {"device": device_name(), "compile_seconds": self.compile_seconds}
        row |= {"train_seconds": self.train_seconds, "epochs": tuple(self.epochs)}
        failure = self.failure
        if failure is None and not math.isfinite(self.epochs[-1].train_loss):
            failure = "nan", f"the loss stopped being a number in epoch {self._first_nan()}"
        if failure is None and epochs is not None and len(self.epochs) < epochs:
            # What the last epoch of the recipe would have shown is not known.
            failure = "stopped", f"stopped after {len(self.epochs)} of {epochs} epochs"
        if failure is not None:
            status, message = failure
            return Evaluation(**row, status=status, message=message)
        return Evaluation(
            **row,
            val_acc_final=self.epochs[-1].val_acc,
            val_acc_max=max(epoch.val_acc for epoch in self.epochs),
            train_acc_final=self.epochs[-1].train_acc,
        )

    def _first_nan(self) -> int:
        return 1 + [math.isfinite(epoch.train_loss) for epoch in self.epochs].index(False)


@dataclass(frozen=True)
class Report:
    """A program that is done: how its lanes were grouped, what that was expected to take, and what it took.

    Attributes:
      policy: see `jnas.nn._signature`.
      lanes, width: how many were trained, and how many side by side; 0 side by side where it came to no program.
      padding: the arithmetic of the program over that of the templates alone.
      compile_seconds, train_seconds: what it took, all lanes together; and `expected_`, what the cost model said.
    """

    policy: str
    lanes: int
    width: int
    padding: float
    expected_compile_seconds: float
    compile_seconds: float
    expected_train_seconds: float
    train_seconds: float


class Group:
    """The jobs of one structure: one program, as many lanes of it as pay, one chunk of jobs after another."""

    apart = False
    """Whether it compiles and trains in another process (see `workers`)."""

    def __init__(self, expected: Assignment, jobs: list[Job], recipe: Recipe, split: Split, device: Device):
        self.expected, self.structure, self.jobs = expected, expected.structure, jobs
        self.recipe, self.split, self.device = recipe, split, device
        self.trainer: Trainer | None = None
        self.refused = self.abandoned = False
        self.compile_seconds = 0.0

    @property
    def width(self) -> int:
        """Lanes side by side; 0 before it is compiled, or where it came to no program."""
        return self.trainer.lanes if self.trainer else 0

    @property
    def memory(self) -> int:
        """Bytes that its program takes; 0 before it is compiled, or where the compiler does not tell."""
        return self.trainer.memory if self.trainer else 0

    def may_begin(self) -> bool:
        """Whether it may compile now; else it is asked again."""
        return True

    def let_go(self) -> None:
        """Ends what it is at elsewhere, where it trains in another process."""

    def compile(self) -> None:
        """Plans the memory, compiles, and draws the first initial weights; what may run in another thread.

        Failures end up in the jobs.
        """
        try:
            check_template(self.structure.hull, self.split)
        except JnasError as error:
            return self._fail("invalid", str(error))
        try:
            chosen = plan(self.structure, self.recipe.batch_size, len(self.jobs), self.device)
            if chosen is None:
                need = required_memory(self.structure, self.recipe.batch_size, self.device)
                return self._fail(*self._too_large(need))
            width = chosen.width
            while self.trainer is None:
                trainer = Trainer(self.structure, self.recipe, self.split, width)
                self.compile_seconds += compile_ahead(trainer)
                if self.abandoned:
                    return None
                self.compile_seconds += trainer.compile()
                if self.abandoned:
                    return None
                if trainer.memory <= self.device.memory:
                    self.trainer = trainer
                    if isinstance(self.structure.hull, Envelope):
                        codebook.add(self.structure.hull, trainer.lanes)
                elif width == 1:
                    return self._fail(*self._too_large(trainer.memory))
                width //= 2  # the plan was too bold; the compiler knows better
            for job in self.jobs[: self.trainer.lanes]:
                job.run = job.run or Run.start(self.trainer, job.trial)  # here nothing waits for it
        except Exception as error:
            self.trainer = None
            self._fail(*failure_of(error))

    def abandon(self, seconds: float) -> None:
        """Waits for the compiler no longer, which cannot be stopped: it has had so many seconds."""
        self._fail(
            "timeout", f"compiling it took longer than {seconds:g} s: allow more, or limit the size of templates"
        )
        self.abandoned = True

    def _fail(self, status: str, message: str) -> None:
        if self.abandoned:
            return
        if self.structure.policy != "exact":
            self.refused = True  # what they share may be at fault: see `alone`
            return
        for job in self.jobs:
            job.failure = status, message

    def _too_large(self, need: int) -> tuple[str, str]:
        return "too_large", (
            f"training it takes about {need / 2**30:.2f} GiB, and there are {self.device.memory / 2**30:.2f}: choose a "
            "smaller batch size, or limit the size of templates"
        )

    def run(
        self,
        until: int,
        keep: bool,
        on_epoch: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[list[Job]]:
        """Trains all jobs until that many epochs are done; yields each chunk of them.

        Args:
          until: epochs.
          keep: whether each job keeps its state, to go on from later.
          on_epoch: told the number of each epoch.
          clock: by which training is timed.
        """
        for job in self.jobs:
            job.compile_seconds += self.compile_seconds / len(self.jobs)
        if self.trainer is None or self.abandoned:
            yield self.jobs
            return

        def report(number: int, _: list) -> None:
            try:
                if on_epoch:
                    on_epoch(number)
            except Exception as error:
                raise _CallersError from error

        left = collections.deque(self.jobs)
        while left:
            chunk = [left.popleft() for _ in range(min(self.trainer.lanes, len(left)))]
            try:
                self._advance(chunk, until, keep, report, clock)
            except _CallersError as error:
                raise error.__cause__ from None
            except Exception as error:
                status, message = failure_of(error)
                if status == "out_of_memory" and self._narrow():
                    left.extendleft(reversed(chunk))
                    continue
                for job in chunk:
                    job.failure, job.run = (status, message), None
            yield chunk

    def _advance(self, chunk: list[Job], until: int, keep: bool, report: Callable, clock: Callable[[], float]) -> None:
        """Trains jobs side by side."""
        width = self.trainer.lanes
        runs = [job.run or Run.start(self.trainer, job.trial) for job in chunk]
        filled = [*runs, *[runs[-1]] * (width - len(runs))]  # a lane too many is trained, and forgotten
        together = Run.stack(filled)
        begun = clock()
        try:
            self.trainer.advance(together, until, report)
        finally:  # an epoch that was done before an interruption is known
            seconds = clock() - begun
            for lane, job in enumerate(chunk):
                job.epochs = together.epochs[lane]
                job.train_seconds += seconds / len(chunk)
        alone = together.split() if keep else [None] * width
        for lane, job in enumerate(chunk):
            job.run = alone[lane]

    def _narrow(self) -> bool:
        """Goes on with half as many lanes side by side, as so many took more memory than the compiler had said.

        Returns:
          False where there is one lane only, or a program for fewer does not compile either.
        """
        if self.trainer.lanes == 1:
            return False
        narrower = Trainer(self.structure, self.recipe, self.split, self.trainer.lanes // 2)
        try:
            self.compile_seconds += narrower.compile()
        except Exception:
            return False  # the first failure is the one to tell
        self.trainer = narrower
        return True

    def alone(self) -> list[Group]:
        """The jobs in programs of their own, where the one that they would share did not come to be.

        They begin anew: a run that was kept fits the shared program alone.
        """
        for job in self.jobs:
            job.structure, job.run, job.epochs = None, None, []
        return groups(self.jobs, "exact", self.recipe, self.split, self.device)

    def report(self) -> Report:
        """How it went, for all jobs together."""
        true = sum(job.trial.template.cost.macs for job in self.jobs)
        return Report(
            policy=self.structure.policy,
            lanes=len(self.jobs),
            width=self.width,
            padding=len(self.jobs) * self.structure.footprint.macs / max(true, 1),
            expected_compile_seconds=self.expected.compile_seconds,
            compile_seconds=self.compile_seconds,
            expected_train_seconds=self.expected.train_seconds,
            train_seconds=sum(job.train_seconds for job in self.jobs),
        )


class _CallersError(Exception):
    """What a caller's own function raised: no failure of a trial."""


def groups(
    jobs: Iterable[Job],
    policy: Policy,
    recipe: Recipe,
    split: Split,
    device: Device,
    epochs: int | None = None,
    kind: type[Group] = Group,
) -> list[Group]:
    """The jobs by program, in the order in which the programs come; a job that was in one before stays there.

    `epochs` is how many are about to be trained; the recipe's where not given. `kind` is what a group is to be.
    """
    fresh: list[Job] = []
    begun: dict[Structure, list[Job]] = {}
    for job in jobs:
        (fresh if job.structure is None else begun.setdefault(job.structure, [])).append(job)
    load = Workload(recipe.batch_size, (epochs or recipe.epochs) * (len(split.x_train) // recipe.batch_size), device)
    found = []
    known = codebook.load() if policy in ("envelope", "auto") else ()
    for expected in assign([job.trial.template for job in fresh], policy, load, known=known):
        members = [fresh[index] for index in expected.members]
        for job in members:
            job.structure = expected.structure
        found.append((expected, members))
    found += [(expect(structure, range(len(members)), load), members) for structure, members in begun.items()]
    return [kind(expected, members, recipe, split, device) for expected, members in found]


def failure_of(error: Exception) -> tuple[str, str]:
    """The status and the first line of what was raised."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    memory = "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError)
    return "out_of_memory" if memory else "error", text


def device_name() -> str:
    """What JAX computes on, such as "cpu" or "NVIDIA H200"."""
    return jax.devices()[0].device_kind
