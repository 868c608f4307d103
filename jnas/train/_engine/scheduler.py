"""Runs groups on an executor: some compile while others train, and jobs come out as they are done.

Each slot of the executor is a thread that takes one group after another. The caller's thread hears of everything by one
queue, and calls the caller's functions itself.
"""

import collections
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from jnas._runtime.devices import here
from jnas._runtime.jax_config import own_settings
from jnas._validation import Rule, apply_rules, optional, to_float, to_function, to_instance, to_int
from jnas.data import Split
from jnas.errors import JnasError
from jnas.store import Evaluation
from jnas.train._engine.executor import Executor, RemoteGroupTrainer, to_workers
from jnas.train._engine.group_trainer import GroupSpec, GroupTrainer, training_memory
from jnas.train._engine.jobs import Failure, Job, TrialGroup
from jnas.train._engine.timing import ProcessorShareClock, ProgramReport, TimingStats
from jnas.train._engine.workers import WorkerDied, WorkerKilled
from jnas.train._recipe import Recipe

_POLL_SECONDS = 0.1
"""Seconds between two looks at what does not tell when it changes: the caller's wish to stop, the clock, workers."""
_MAX_LOST = 2
"""Workers that may be lost while they train a trial before it is a row; then it is probably the trial's doing."""


_OPTION_RULES: dict[str, Rule] = {
    "max_memory": optional(partial(to_int, minimum=1)),
    "compile_timeout": partial(to_float, interval="(0, inf)"),
    "workers": optional(to_workers),
    "on_epoch": optional(to_function),
    "on_row": optional(to_function),
    "should_stop": to_function,
    "timing": partial(to_instance, kind=TimingStats),
}


@dataclass
class EngineOptions:
    """How a call trains, whatever it trains.

    Attributes:
      max_memory: bytes that training may use; None is 90 % of what a GPU has free, or of what the machine or the
        container has.
      compile_timeout: seconds after which a program that still compiles is given up; most take a few. Its rows are
        "timeout".
      workers: where to train: a number of worker processes on this machine, "ray", "ray://HOST:PORT" or "slurm:COUNT";
        None is all cores or all GPUs of this machine, or what JNAS_WORKERS says.
      on_epoch: called with the number of each epoch that is done, of any trial.
      on_row: called by `evaluate` with each row, in order.
      should_stop: polled; once it returns True no new chunk of trials begins, and those in training are finished.
      timing: updated while the call runs.
    """

    max_memory: int | None = None
    compile_timeout: float = 600.0
    workers: str | int | None = None
    on_epoch: Callable[[int], object] | None = None
    on_row: Callable[[Evaluation], object] | None = None
    should_stop: Callable[[], bool] = lambda: False
    timing: TimingStats = field(default_factory=TimingStats)

    def __post_init__(self) -> None:
        apply_rules(self, _OPTION_RULES)


class _StopTraining(BaseException):
    """Ends training in this process after an epoch. Not an Exception: it is not a failure of a trial."""


_Trainer = GroupTrainer | RemoteGroupTrainer


@dataclass(eq=False)
class Scheduler:
    """Trains groups until so many epochs are done. With `keep` each job keeps its run, to go on from later.

    `refill` is asked for more groups when a slot has nothing to do, and again after whatever is done, until it returns
    None.
    """

    pending: collections.deque[TrialGroup]
    recipe: Recipe
    split: Split
    executor: Executor
    options: EngineOptions
    until: int
    keep: bool
    refill: Callable[[], Iterable[TrialGroup] | None] | None = None

    def __post_init__(self) -> None:
        self.max_memory = training_memory(self.options.max_memory)
        self.events: queue.SimpleQueue = queue.SimpleQueue()  # functions for the caller's thread, with arguments
        self.changed = threading.Condition()
        # With the group, since when it compiles, and the thread that waits for it.
        self.compiling: dict[_Trainer, tuple[TrialGroup, float, threading.Thread]] = {}
        self.training: dict[_Trainer, int] = {}  # with the bytes that each uses
        self.ending, self.closing = threading.Event(), threading.Event()  # after the chunk, after the epoch
        self.clock = ProcessorShareClock()
        self.threads: set[threading.Thread] = set()

    def run(self) -> Generator[list[Job], None, None]:
        """Yields jobs that are done, all there are; none after each refill, of which the caller may know rows."""
        timing, may_refill = self.options.timing, True
        try:
            self._poll()
            self._start_slots()
            while self.threads or not self.events.empty() or (self.refill and may_refill):
                self._poll()
                if self.refill and may_refill and self._has_idle_slot():
                    may_refill = self._refill()
                    yield []
                    continue
                start = time.perf_counter()
                try:
                    events = [self.events.get(timeout=_POLL_SECONDS)]
                except queue.Empty:
                    self._start_slots()  # for workers that have come
                    events = [(self._check_timeouts,)]
                if not self.training:
                    timing.compile_wait_seconds += time.perf_counter() - start
                events += [self.events.get() for _ in range(self.events.qsize())]
                may_refill = may_refill or any(one[0] in (self._on_chunk, self._on_slot_end) for one in events)
                yield from self._handle(events)
                del events  # so that each group goes, with its program, when it is done
        finally:
            self._close()

    def _handle(self, events: list[tuple]) -> Iterator[list[Job]]:
        """Handles what has happened since; yields the jobs that were done by it together, as the caller writes them."""
        done: list[Job] = []
        try:
            for handle, *arguments in events:
                done += handle(*arguments) or ()
                self._poll()
        finally:  # what was done before the caller's own function failed is done all the same
            if done:
                self.options.timing.num_trials += len(done)
                yield done

    def _poll(self) -> None:
        """Lets nothing more begin where the caller wishes to stop."""
        if not self.ending.is_set() and self.options.should_stop():
            self._end()

    def _close(self) -> None:
        """Ends what trains here after its epoch, and what a worker does at once.

        What compiles in this process cannot be interrupted: it is waited for, up to its time limit.
        """
        self.closing.set()
        self._end()
        with self.changed:
            trainers = [*self.compiling, *self.training]
            deadlines = [start + self.options.compile_timeout for _, start, _ in self.compiling.values()]
        for trainer in trainers:
            trainer.abort()
        deadline = max([time.monotonic() + 60, *deadlines])
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _end(self) -> None:
        self.refill = None
        with self.changed:
            self.ending.set()
            self.pending.clear()
            self.changed.notify_all()

    # In the caller's thread.

    def _has_idle_slot(self) -> bool:
        return not self.pending and len(self.threads) < self.executor.num_ready

    def _refill(self) -> bool:
        """Adds what `refill` has; returns whether to ask it again at once."""
        assert self.refill is not None
        groups = self.refill()
        if groups is None:
            self.refill = None
            return False
        with self.changed:
            self.pending.extend(groups)
            is_empty = not self.pending
        self._start_slots()
        return not (is_empty and self.threads)

    def _start_slots(self) -> None:
        missing = min(self.executor.num_slots - len(self.threads), len(self.pending))
        for _ in range(missing):
            self._start_slot()

    def _start_slot(self) -> None:
        # Daemons: a thread that still compiles a program that was given up must not keep the process alive.
        thread = threading.Thread(target=self._run_slot, name="jnas-slot", daemon=True)
        self.threads.add(thread)
        thread.start()

    def _check_timeouts(self) -> None:
        limit, now = self.options.compile_timeout, time.monotonic()
        with self.changed:
            late = [trainer for trainer, (_, start, _) in self.compiling.items() if now - start > limit]
            given_up = [(trainer, *self.compiling.pop(trainer)) for trainer in late]
        message = f"compiling took longer than {limit:g} s: raise the limit, or limit the size of templates"
        for trainer, group, _, thread in given_up:
            self._fail(group, group.jobs, ("timeout", message))
            trainer.abort()
            if not trainer.can_abort:  # its thread is lost to the compiler
                self.threads.remove(thread)
                self._start_slot()

    def _on_epoch(self, epoch: int) -> None:
        if self.options.on_epoch:
            self.options.on_epoch(epoch)

    def _on_chunk(self, group: TrialGroup, jobs: list[Job]) -> list[Job]:
        if jobs[-1] is group.jobs[-1]:
            seconds = sum(job.train_seconds for job in group.jobs)
            device = (group.jobs[-1].place or here()).device
            report = ProgramReport(len(group.jobs), group.num_lanes, group.compile_seconds, seconds, device)
            self.options.timing.reports.append(report)
        return jobs

    def _on_slot_end(self, thread: threading.Thread, error: BaseException | None) -> None:
        self.threads.remove(thread)
        if error is not None:
            raise error
        self._start_slots()  # for what came when it had decided to end

    # In the threads of the slots.

    def _run_slot(self) -> None:
        error: BaseException | None = None
        try:
            with own_settings():  # of JAX: they are a thread's
                while (group := self._next_group()) is not None:
                    if not self._run_group(group):
                        return  # another thread has this one's place
                    del group
        except _StopTraining:
            pass
        except BaseException as reason:
            error = reason
        self.events.put((self._on_slot_end, threading.current_thread(), error))

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
        max_memory = self.max_memory if self.executor.shares_memory else self.options.max_memory
        spec = GroupSpec(group.signature, trials, self.recipe, max_memory)
        try:
            trainer = self.executor.open(spec, self.split, self.ending.is_set)
        except WorkerDied as error:
            if not self.executor.shares_memory:  # nor will another one soon; what is done is kept
                raise JnasError(f"workers must be such that one can be started, got none ({error}).") from error
            self._fail(group, group.jobs, ("error", f"no worker process could be started: {error}"))
            return True
        if trainer is None:
            return True
        for job in group.jobs:
            job.place = trainer.place
        with self.changed:
            self.compiling[trainer] = group, time.monotonic(), threading.current_thread()
        remaining = collections.deque(group.jobs)
        try:
            memory = self._compile(group, trainer)
            if memory is None:
                return trainer.can_abort
            if group.num_lanes and self._admit(trainer, memory):
                self._train(group, trainer, remaining)
        except WorkerDied as error:
            if not self.closing.is_set() and (group.num_lanes or self._end_compiling(trainer)):
                self._on_worker_death(group, remaining, error)
        finally:
            with self.changed:
                self.compiling.pop(trainer, None)
                if self.training.pop(trainer, None) is not None and self.executor.shares_memory:
                    self.clock.now(-1)
                self.changed.notify_all()
            trainer.close()
        return True

    def _compile(self, group: TrialGroup, trainer: _Trainer) -> int | None:
        """Compiles; returns the bytes that the program needs, or None if it was given up meanwhile."""
        start = time.perf_counter()
        reply = trainer.compile()
        seconds = time.perf_counter() - start
        if not self._end_compiling(trainer):
            return None
        group.compile_seconds, group.num_lanes = seconds, reply.num_lanes
        for job in group.jobs:
            job.compile_seconds += seconds / len(group.jobs)
        if reply.failure:
            self._fail(group, group.jobs, reply.failure)
        return reply.memory

    def _end_compiling(self, trainer: _Trainer) -> bool:
        """Notes that a program no longer compiles; returns False if it was given up before."""
        with self.changed:
            return self.compiling.pop(trainer, None) is not None

    def _admit(self, trainer: _Trainer, memory: int) -> bool:
        """Waits until a group may train beside those that do; returns False if nothing begins any more."""

        def fits() -> bool:
            if not self.executor.shares_memory:
                return True
            used = sum(self.training.values())
            room = len(self.training) < self.executor.num_training and used + memory <= self.max_memory
            return room or not self.training

        with self.changed:
            self.changed.wait_for(lambda: self.ending.is_set() or fits())
            if self.ending.is_set():
                return False
            self.training[trainer] = memory
            if self.executor.shares_memory:
                self.clock.now(1)
            return True

    def _train(self, group: TrialGroup, trainer: _Trainer, remaining: collections.deque[Job]) -> None:
        """Trains the jobs of a group that is compiled; those that are done leave `remaining`."""

        def on_epoch(epoch: int) -> None:
            if self.closing.is_set():
                raise _StopTraining
            self.events.put((self._on_epoch, epoch))

        start = self.clock.now()
        for outcomes in trainer.train([job.run for job in remaining], self.until, self.keep, on_epoch):
            jobs = [remaining.popleft() for _ in outcomes]
            now = self.clock.now()
            for job, outcome in zip(jobs, outcomes, strict=True):
                job.epochs, job.failure, job.run = outcome
                job.train_seconds += (now - start) / len(jobs)
            start = now
            self.events.put((self._on_chunk, group, jobs))
            if self.ending.is_set():
                return

    def _on_worker_death(self, group: TrialGroup, remaining: collections.deque[Job], error: WorkerDied) -> None:
        """Has trials trained elsewhere that a worker took with it; they fail where it was probably their doing.

        That is where memory ran out, and where other workers were lost with them before.
        """
        begun = [remaining.popleft() for _ in range(min(group.num_lanes or len(remaining), len(remaining)))]
        host = begun[0].place.host if begun and begun[0].place else ""
        for job in begun:
            job.num_lost += 1
        if isinstance(error, WorkerKilled):
            self._fail(group, begun, ("out_of_memory", f"the worker on {host} that trained it is gone: {error}"))
        else:
            given_up = [job for job in begun if job.num_lost > _MAX_LOST]
            count = f"{_MAX_LOST + 1} workers in turn were lost with it"
            self._fail(group, given_up, ("error", f"{count}, the last one on {host}: {error}"))
            remaining.extendleft(reversed([job for job in begun if job not in given_up]))
        with self.changed:
            if not self.ending.is_set():
                lost = [job for job in remaining if job.num_lost]  # apart, so that others do not share their fate
                others = [job for job in remaining if not job.num_lost]
                self.pending.extendleft(TrialGroup(group.signature, jobs) for jobs in (lost, others) if jobs)

    def _fail(self, group: TrialGroup, jobs: list[Job], failure: Failure) -> None:
        for job in jobs:
            job.failure, job.run = failure, None
        if jobs:
            self.events.put((self._on_chunk, group, jobs))
