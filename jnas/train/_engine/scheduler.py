"""Runs groups on an executor: some compile while others train, and jobs come out as they are done.

Each slot of the executor is a thread that takes one group after another. The caller's thread hears of everything by one
queue, and calls the caller's functions itself.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jnas.data import Split
from jnas.store import Status
from jnas.train._engine.executor import Executor, Runner
from jnas.train._engine.group_trainer import GroupSpec
from jnas.train._engine.jobs import Failure, Job, ProgramReport, TrialGroup
from jnas.train._engine.memory_plan import training_memory
from jnas.train._engine.timing import ProcessorShareClock, TimingStats
from jnas.train._engine.worker_process import WorkerDied, WorkersUnavailable
from jnas.train._recipe import Recipe

COMPILE_TIMEOUT = 600.0
"""Seconds that a program may take to compile; most take a few."""
_POLL_SECONDS = 0.1
"""Seconds between two looks at what does not tell when it changes: the caller's wish to stop, and the clock."""


@dataclass
class EngineOptions:
    """How a call trains, whatever it trains.

    Attributes:
      max_memory: bytes that training may use; None is 90 % of what a GPU has free, or of what the machine has.
      compile_timeout: seconds after which a program that still compiles is given up.
      on_epoch: called with the number of each epoch that is done, of any trial.
      should_stop: polled; once it returns True no new chunk of trials begins, and those in training are finished.
      timing: updated while the call runs.
    """

    max_memory: int | None = None
    compile_timeout: float = COMPILE_TIMEOUT
    on_epoch: Callable[[int], None] | None = None
    should_stop: Callable[[], bool] = lambda: False
    timing: TimingStats = field(default_factory=TimingStats)


def run_groups(
    groups: Sequence[TrialGroup],
    recipe: Recipe,
    split: Split,
    executor: Executor,
    options: EngineOptions,
    *,
    until: int,
    keep: bool = False,
) -> Generator[list[Job], None, None]:
    """Trains groups; yields jobs as they are done.

    Args:
      groups: each is let go when it is done.
      recipe, split: how to train, and on which images.
      executor: where.
      options: see `EngineOptions`.
      until: epochs that are done at the end.
      keep: whether each job keeps its run, to go on from later.
    """
    scheduler = _Scheduler(groups, recipe, split, executor, options, until, keep)
    try:
        yield from scheduler.run()
    finally:
        scheduler.close()


class _StopTraining(BaseException):
    """Ends training in this process after an epoch. Not an Exception: it is not a failure of a trial."""


class _Compilation(NamedTuple):
    """A group that compiles, since when, and the thread that waits for it."""

    group: TrialGroup
    start: float
    thread: threading.Thread


class _Scheduler:
    """The state of a call: groups that are pending, runners that compile, memory that training uses."""

    def __init__(self, groups, recipe, split, executor, options, until, keep):
        self.recipe, self.split, self.executor, self.options = recipe, split, executor, options
        self.until, self.keep = until, keep
        self.pending: collections.deque[TrialGroup] = collections.deque(groups)
        self.max_memory = training_memory(options.max_memory)
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.changed = threading.Condition()
        self.compiling: dict[Runner, _Compilation] = {}
        self.runners: set[Runner] = set()
        self.training: dict[Runner, int] = {}  # with the bytes that each uses
        self.ending, self.closing = threading.Event(), threading.Event()  # after the chunk, after the epoch
        self.clock = ProcessorShareClock()
        self.threads: list[threading.Thread] = []
        self.num_running = 0

    def run(self) -> Generator[list[Job], None, None]:
        """Yields the jobs of each chunk that is done."""
        for _ in range(min(self.executor.num_slots, len(self.pending))):
            self._start_slot()
        while self.num_running or not self.events.empty():
            self._check_stop()
            start = time.perf_counter()
            try:
                handle, *arguments = self.events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                handle, arguments = self._check_timeouts, []
            if not self.training:
                self.options.timing.compile_wait_seconds += time.perf_counter() - start
            jobs = handle(*arguments)
            if jobs:
                self.options.timing.num_trials += len(jobs)
                yield jobs
            del arguments, jobs  # so that each group goes, with its program, when it is done

    def close(self) -> None:
        """Ends what trains here after its epoch, and what a worker does at once.

        What compiles in this process cannot be interrupted: it is waited for, up to its time limit.
        """
        self.closing.set()
        self.ending.set()
        with self.changed:
            self.pending.clear()
            runners = list(self.runners)
            deadlines = [one.start + self.options.compile_timeout for one in self.compiling.values()]
            self.changed.notify_all()
        for runner in runners:
            runner.abort()
        deadline = max([time.monotonic() + 60, *deadlines])
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # In the caller's thread.

    def _start_slot(self) -> None:
        self.num_running += 1
        # Daemons: a thread that still compiles a program that was given up must not keep the process alive.
        thread = threading.Thread(target=self._run_slot, name="jnas-slot", daemon=True)
        self.threads.append(thread)
        thread.start()

    def _check_stop(self) -> None:
        if not self.ending.is_set() and self.options.should_stop():
            with self.changed:
                self.ending.set()
                self.pending.clear()
                self.changed.notify_all()

    def _check_timeouts(self) -> list[Job]:
        limit, now = self.options.compile_timeout, time.monotonic()
        with self.changed:
            late = {runner: one for runner, one in self.compiling.items() if now - one.start > limit}
            for runner in late:
                del self.compiling[runner]
        jobs = []
        for runner, (group, _, thread) in late.items():
            message = f"compiling took longer than {limit:g} s: raise the limit, or limit the size of templates"
            group.fail(("timeout", message))
            runner.abort()
            if not runner.can_abort:  # its thread is lost to the compiler
                self.threads.remove(thread)
                self.num_running -= 1
                self._start_slot()
            self.options.timing.reports.append(ProgramReport.of(group))
            jobs += group.jobs
        return jobs

    def _on_epoch(self, epoch: int) -> None:
        if self.options.on_epoch:
            self.options.on_epoch(epoch)

    def _on_compiled(self, group: TrialGroup) -> None:
        self.options.timing.compile_seconds += group.compile_seconds
        self.options.timing.num_programs += group.num_lanes > 0

    def _on_chunk(self, group: TrialGroup, jobs: list[Job]) -> list[Job]:
        if jobs[-1] is group.jobs[-1]:
            self.options.timing.reports.append(ProgramReport.of(group))
        return jobs

    def _on_slot_end(self, error: BaseException | None) -> None:
        self.num_running -= 1
        if error is not None:
            raise error

    # In the threads of the slots.

    def _run_slot(self) -> None:
        error: BaseException | None = None
        try:
            while (group := self._next_group()) is not None:
                if not self._run_group(group):
                    return  # another thread has this one's place
                del group
        except _StopTraining:
            pass
        except BaseException as reason:
            error = reason
        self.events.put((self._on_slot_end, error))

    def _next_group(self) -> TrialGroup | None:
        """The first group; or the longest one, if it would train alone at the end otherwise."""
        with self.changed:
            if not self.pending:
                return None
            work = [group.work for group in self.pending]
            longest = max(work)
            others = sum(work) - longest
            several = self.executor.num_training > 1
            index = work.index(longest) if several and longest * self.executor.num_training >= others else 0
            group = self.pending[index]
            del self.pending[index]
            return group

    def _run_group(self, group: TrialGroup) -> bool:
        """Compiles and trains a group; returns False if it was given up, and this thread with it."""
        trials = tuple(job.trial for job in group.jobs)
        spec = GroupSpec(group.signature, trials, self.recipe, self.max_memory)
        try:
            runner = self.executor.open(spec, self.split, self.ending.is_set)
        except WorkersUnavailable as error:
            self._fail(group, group.jobs, ("error", f"no worker process could be started: {error}"))
            return True
        if runner is None:
            return True
        with self.changed:
            self.runners.add(runner)
            self.compiling[runner] = _Compilation(group, time.monotonic(), threading.current_thread())
        remaining = collections.deque(group.jobs)
        try:
            memory = self._compile(group, runner)
            if memory is None:
                return runner.can_abort
            if group.num_lanes and self._admit(runner, memory):
                self._train(group, runner, remaining)
        except WorkerDied as error:
            if not self.closing.is_set() and (group.num_lanes or self._end_compiling(runner)):
                self._on_worker_death(group, remaining, runner, error)
        finally:
            with self.changed:
                self.runners.discard(runner)
                self.compiling.pop(runner, None)
                if self.training.pop(runner, None) is not None:
                    self.clock.leave()
                self.changed.notify_all()
            runner.close()
        return True

    def _compile(self, group: TrialGroup, runner: Runner) -> int | None:
        """Compiles; returns the bytes that the program needs, or None if it was given up meanwhile."""
        start = time.perf_counter()
        reply = runner.compile()
        seconds = time.perf_counter() - start
        if not self._end_compiling(runner):
            return None
        group.compile_seconds, group.num_lanes = seconds, reply.num_lanes
        for job in group.jobs:
            job.compile_seconds += seconds / len(group.jobs)
        self.events.put((self._on_compiled, group))
        if reply.failure:
            self._fail(group, group.jobs, reply.failure)
        return reply.memory

    def _end_compiling(self, runner: Runner) -> bool:
        """Notes that a runner no longer compiles; returns False if it was given up before."""
        with self.changed:
            return self.compiling.pop(runner, None) is not None

    def _admit(self, runner: Runner, memory: int) -> bool:
        """Waits until a group may train beside those that do; returns False if nothing begins any more."""

        def fits() -> bool:
            used = sum(self.training.values())
            room = len(self.training) < self.executor.num_training and used + memory <= self.max_memory
            return room or not self.training

        with self.changed:
            self.changed.wait_for(lambda: self.ending.is_set() or fits())
            if self.ending.is_set():
                return False
            self.training[runner] = memory
            self.clock.enter()
            return True

    def _train(self, group: TrialGroup, runner: Runner, remaining: collections.deque[Job]) -> None:
        """Trains the jobs of a group that is compiled; those that are done leave `remaining`."""

        def on_epoch(epoch: int) -> None:
            if self.closing.is_set():
                raise _StopTraining
            self.events.put((self._on_epoch, epoch))

        start = self.clock.now()
        for outcomes in runner.train([job.run for job in remaining], self.until, self.keep, on_epoch):
            jobs = [remaining.popleft() for _ in outcomes]
            now = self.clock.now()
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.epochs, job.failure, job.run = outcome
                job.train_seconds += (now - start) / len(jobs)
            start = now
            self.events.put((self._on_chunk, group, jobs))
            if self.ending.is_set():
                return

    def _on_worker_death(
        self, group: TrialGroup, remaining: collections.deque[Job], runner: Runner, error: WorkerDied
    ) -> None:
        """Fails what the worker was at; trials that it had not begun go to another one."""
        at_fault = [remaining.popleft() for _ in range(min(group.num_lanes or len(remaining), len(remaining)))]
        status: Status = "out_of_memory" if getattr(runner, "was_killed", False) else "error"
        self._fail(group, at_fault, (status, f"the process that trained it is gone: {error}"))
        if remaining:
            with self.changed:
                if not self.ending.is_set():
                    self.pending.appendleft(TrialGroup(group.signature, list(remaining)))

    def _fail(self, group: TrialGroup, jobs: list[Job], failure: Failure) -> None:
        for job in jobs:
            job.failure, job.run = failure, None
        if jobs:
            self.events.put((self._on_chunk, group, jobs))
