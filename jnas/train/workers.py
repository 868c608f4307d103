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
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from jnas import memory
from jnas.data import Split
from jnas.nn.lowering import Policy
from jnas.train import executables, process, remembered
from jnas.train.compilers import WORTH
from jnas.train.device import free_memory
from jnas.train.population import Group, Job
from jnas.train.trial import Trial

POOL = process.Pool(__name__, {"PJRT_NPROC": "1"})
_MEMORY = 1 << 30
"""Bytes of the machine that there are to be for a process: it takes half of that before it trains."""
_QUIET = 1.0
"""Seconds without a group after which a process gives the memory back that the last ones took."""


def count() -> int:
    """How many processes train: none beside a GPU, on one core, or without a cache that programs are kept in.

    Raises:
      JnasError: JNAS_PROCESSES in the environment is no number.
    """
    if jax.default_backend() != "cpu" or not executables.folder():
        return 0
    most = free_memory(jax.local_devices()[0]) // _MEMORY
    found = process.count(min(_cores(), most))
    return found if found > 1 else 0


def suit(trials: Sequence[Trial], policy: Policy) -> bool:
    """Whether a population of these trials, known ones included, is to train here.

    It has to have as many templates with programs of their own as are worth the start of the processes; a policy by
    which they share programs may leave fewer programs than there are cores.
    """
    return policy == "exact" and len({trial.template for trial in trials}) >= WORTH and count() > 0


def start() -> None:
    """Starts those that are missing; nobody waits for it."""
    POOL.start(count())


class RemoteGroup(Group):
    """A group that compiles and trains in a process, which is its own from before it compiles until it is done.

    Where there are no processes, as they could not be started, it does so here.
    """

    apart = True
    process: process.Process | None = None
    _width = _memory = 0
    _at_rest = True
    """Whether the process is done with what it was asked."""

    @property
    def width(self) -> int:
        return self._width or super().width

    @property
    def memory(self) -> int:
        return self._memory or super().memory

    def may_begin(self) -> bool:
        self.process = POOL.take()
        return self.process is not None or POOL.gone

    def compile(self) -> None:
        own = self.process
        if own is None:
            return super().compile()
        begun, self._at_rest = time.perf_counter(), False
        try:
            self._send_split(own)
            trials = [(job.trial, job.key) for job in self.jobs]
            own.send((executables.settings(), self.expected, trials, self.recipe, self.device))
            width, size, failures = own.receive()
        except process.ENDED:
            return self._lost(own, self.jobs)
        self.compile_seconds += time.perf_counter() - begun
        if self.process is own:  # else it was given up meanwhile
            self._width, self._memory, self._at_rest = width, size, True
            for job, failure in zip(self.jobs, failures, strict=True):
                job.failure = failure
        return None

    def abandon(self, seconds: float) -> None:
        super().abandon(seconds)
        self.let_go()

    def run(
        self,
        until: int,
        keep: bool,
        on_epoch: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Iterator[list[Job]]:
        own = self.process
        if own is None:
            yield from super().run(until, keep, on_epoch, clock)
            return
        for job in self.jobs:
            job.compile_seconds += self.compile_seconds / len(self.jobs)
        left, begun, self._at_rest = list(self.jobs), clock(), False
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
        except process.ENDED:
            self._lost(own, left)
            yield left
        finally:
            self.let_go()

    def let_go(self) -> None:
        if self.process is None:
            return
        own, self.process = self.process, None
        if self._at_rest:
            POOL.give_back(own)
        else:
            POOL.replace(own)

    def _send_split(self, own: process.Process) -> None:
        """Sends the images, unless the process has them."""
        if own.knows is not self.split:
            arrays = (self.split.x_train, self.split.y_train, self.split.x_val, self.split.y_val)
            own.send(Split(*map(np.asarray, arrays), self.split.classes))
            own.knows = self.split

    def _lost(self, own: process.Process, jobs: list[Job]) -> None:
        """The process has ended by itself, unless it was let go."""
        if self.process is not own:
            return
        code = own.popen.wait()
        killed = code == -signal.SIGKILL
        why = "the system ended it, as it does where memory runs out" if killed else f"it ended with {code}"
        for job in jobs:
            job.failure = "out_of_memory" if killed else "error", f"the process that trained it is gone: {why}"
        self.let_go()


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
            arrays = (message.x_train, message.y_train, message.x_val, message.y_val)
            split = Split(*map(jax.numpy.asarray, arrays), message.classes)
        elif isinstance(message, int):
            for chunk in group.run(message, keep=False, on_epoch=lambda number: caller.send(number)):
                caller.send([(job.epochs, job.failure) for job in chunk])
            group = None
            if remembered.too_many():
                remembered.forget()
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
