"""Processes that train on a CPU, one for each core, with one thread each.

A small network has little for several cores to share: while one thread finishes an operation, begins the next or comes
to something that is not divided, the others wait. Processes that train other templates do not (benchmarks/RESULTS.md).

XLA rounds sums in another order with another number of threads, so a row must not depend on what happens to be left to
train: whether a population trains here is decided by what was asked for, not by what the store lacks.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

from jnas._runtime import executable_cache as executables
from jnas._runtime import malloc as memory
from jnas.data import Split
from jnas.nn._signature import Policy
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine import worker_process as process
from jnas.train._engine.compilers import WORTH
from jnas.train._engine.jobs import Group, Job, failure_of
from jnas.train._engine.memory_plan import free_memory
from jnas.train._trial import Trial

# XLA divides loops among threads when it compiles, which JAX' key of a program does not tell.
POOL = process.Pool(__name__, {"PJRT_NPROC": "1"}, "one-thread")
_MEMORY = 1 << 30
"""Bytes of the machine that there are to be for a process: it takes half of that before it trains."""
_QUIET = 1.0
"""Seconds without a group after which a process gives the memory back that the last ones took."""


def count(images: int = 0) -> int:
    """How many processes train: none beside a GPU, on one core, or without a cache that programs are kept in.

    Args:
      images: bytes of which each has a copy.

    Raises:
      JnasError: JNAS_PROCESSES in the environment is no number.
    """
    if jax.default_backend() != "cpu" or not executables.folder():
        return 0
    most = free_memory(jax.local_devices()[0]) // (_MEMORY + 2 * images)
    found = process.count(min(_cores(), most))
    return found if found > 1 else 0


def worth(trials: Sequence[Trial], policy: Policy, split: Split) -> int:
    """How many processes are to train these trials, known ones included; 0 where they train in this one.

    There have to be as many templates with programs of their own as are worth the start of the processes; a policy by
    which they share programs may leave fewer programs than there are cores.
    """
    if policy != "exact" or len({trial.template for trial in trials}) < WORTH:
        return 0
    return count(split.x_train.nbytes + split.x_val.nbytes)


class RemoteGroup(Group):
    """A group that compiles and trains in a process, which is its own from before it compiles until it is done.

    Where there are no processes, as they could not be started, it does so here.
    """

    apart = True
    process: process.Process | None = None
    _width = _memory = 0
    _at_rest = True
    """Whether the process is done with what it was asked."""
    _here = False
    """Whether it trains in this process."""

    def __init__(self, *made_from):
        super().__init__(*made_from)
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        return self._width or super().width

    @property
    def memory(self) -> int:
        return self._memory or super().memory

    def may_begin(self) -> bool:
        self.process = POOL.take()
        self._here = self.process is None and POOL.gone
        return self.process is not None or self._here

    def compile(self) -> None:
        if self._here:
            return super().compile()
        own = self._ask()
        if own is None:
            return None
        begun = time.perf_counter()
        try:
            self._send_split(own)
            trials = [(job.trial, job.key) for job in self.jobs]
            own.send((executables.settings(), self.expected, trials, self.recipe, self.device))
            width, size, failures = own.receive()
        except process.Ended:
            return self._lost(own, self.jobs)
        except Exception as error:  # what is sent is no message, such as a template of a class of the caller's own
            self.let_go()
            return self._fail(*failure_of(error))
        self.compile_seconds += time.perf_counter() - begun
        with self._lock:
            if self.process is own:  # else it was given up meanwhile
                self._width, self._memory, self._at_rest = width, size, True
                for job, failure in zip(self.jobs, failures, strict=True):
                    job.failure = failure
        return None

    def abandon(self, seconds: float) -> None:
        self.let_go()
        super().abandon(seconds)

    def run(
        self,
        until: int,
        keep: bool,
        on_epoch: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[list[Job]]:
        own = self._ask()
        if own is None:
            yield from super().run(until, keep, on_epoch, clock)
            return
        for job in self.jobs:
            job.compile_seconds += self.compile_seconds / len(self.jobs)
        left, begun = list(self.jobs), clock()
        try:
            own.send(until)
            while left:
                message = own.receive()
                if isinstance(message, int):
                    if on_epoch:
                        on_epoch(message)
                    continue
                chunk, left, now = left[: len(message)], left[len(message) :], clock()
                for job, (epochs, failure) in zip(chunk, message, strict=True):
                    job.epochs, job.failure = epochs, failure
                    job.train_seconds += (now - begun) / len(chunk)
                begun = now
                self._at_rest = not left
                yield chunk
        except process.Ended:
            chunk, others = left[: self._width or None], left[self._width or None :]
            if self._lost(own, chunk):
                yield chunk
                yield from self._train_here(others, until, keep, on_epoch, clock)
        finally:
            self.let_go()

    def let_go(self) -> None:
        with self._lock:
            own, self.process = self.process, None
        if own is None:
            return
        if self._at_rest:
            POOL.give_back(own)
        else:
            POOL.replace(own)

    def _ask(self) -> process.Process | None:
        """The process, which is about to be asked for something; None where it was let go, or there was none."""
        with self._lock:
            self._at_rest = False
            return self.process

    def _send_split(self, own: process.Process) -> None:
        """Sends the images, unless the process has them."""
        if own.knows() is not self.split:
            own.send(self.split)
            own.knows = weakref.ref(self.split)

    def _lost(self, own: process.Process, jobs: list[Job]) -> bool:
        """What it means for jobs that their process has ended by itself; False where it was let go."""
        if self.process is not own:
            return False
        try:
            code = own.popen.wait(_QUIET)
        except subprocess.TimeoutExpired:  # what it said was no message
            code = own.end()
        killed = code == -signal.SIGKILL
        why = "the system ended it, as it does where memory runs out" if killed else f"it ended with {code}"
        for job in jobs:
            job.failure = "out_of_memory" if killed else "error", f"the process that trained it is gone: {why}"
        self.let_go()
        return True

    def _train_here(self, jobs: list[Job], *how) -> Iterator[list[Job]]:
        """The jobs that come after those whose process ended; `how` is what `run` takes."""
        if jobs:
            rest = Group(self.expected, jobs, self.recipe, self.split, self.device)
            rest.compile()
            yield from rest.run(*how)


def serve() -> None:
    """What a process does: compiles each group that it is sent, says how that went, and trains it when told to."""
    caller = process.Caller()
    jax.devices()
    caller.send("ready")
    split = group = None
    while True:
        try:
            message = caller.receive(_QUIET)
        except queue.Empty:
            memory.give_back()
            message = caller.receive()
        if isinstance(message, Split):
            split = message
        elif isinstance(message, int):
            for chunk in group.run(message, keep=False, on_epoch=lambda number: caller.send(number)):
                caller.send([(job.epochs, job.failure) for job in chunk])
            large = group.memory > group.device.memory // group.device.programs
            group = None
            if remembered.too_many():
                remembered.forget()
            elif large:  # others have to be able to take as much, one after the other
                memory.give_back()
        else:
            settings, expected, trials, recipe, device = message
            executables.apply(settings)
            group = Group(expected, [Job(*pair) for pair in trials], recipe, split, device)
            group.compile()
            caller.send((group.width, group.memory, [job.failure for job in group.jobs]))


def _cores() -> int:
    """Cores that this process may use: those of the machine, or of the container where it has fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    limit, _, period = quota.read_text().partition(" ") if quota.is_file() else ("max", "", "")
    return max(1, min(cores, round(int(limit) / int(period)))) if limit.isdigit() else cores
