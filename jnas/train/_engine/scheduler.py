"""The engine: programs compile ahead of those that train; on a CPU, several train at the same time.

XLA releases Python's lock while it computes, so threads train, and wait for the processes that compile (see
`compilers`) or do it themselves. A small network leaves a part of a CPU idle, however many of its cores XLA uses for
it: so a second one trains beside it, or, where there are many to train, one on each core in a process of its own (see
`workers`). A GPU trains lanes side by side instead. A compiled program goes when its group is done,
and JAX is made to forget it (see `remembered`).
"""

from __future__ import annotations

import collections
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jax

from jnas._runtime import malloc as memory
from jnas.train._engine import compilers
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine.jobs import Group, Job, Report

COMPILE_LIMIT = 600.0
"""Seconds that a program may take to compile; most take a few."""
_TICK = 0.2
"""Seconds between two looks at what does not tell when it changes: the caller's wish to stop, and the clock."""


@dataclass
class Watch:
    """Where the wall clock of a population goes.

    Attributes:
      models: trials that were trained, or failed.
      started: when, by `time.perf_counter`.
      waiting: seconds in which the device waited for the compiler.
      compiling: seconds of compiling in all threads together.
      programs: programs that were compiled, or taken from the cache.
      reports: one for each program that is done.
    """

    models: int = 0
    started: float = field(default_factory=time.perf_counter)
    waiting: float = 0.0
    compiling: float = 0.0
    programs: int = 0
    reports: list[Report] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started


def train(
    work: Sequence[Group],
    until: int,
    *,
    keep: bool = False,
    on_epoch: Callable[[int], None] | None = None,
    watch: Watch | None = None,
    stop: Callable[[], bool] | None = None,
    compile_limit: float = COMPILE_LIMIT,
) -> Iterator[list[Job]]:
    """Trains groups, the coming ones compiling meanwhile; yields jobs as they are done.

    Args:
      work: the groups; each is let go when it is done.
      until, keep, on_epoch: as in `Group.run`; `on_epoch` is called in other threads.
      watch: told where the time goes.
      stop: asked again and again; once it says True nothing begins any more, and the chunks in training are finished.
      compile_limit: seconds after which a program that still compiles is given up.
    """
    watch = watch or Watch()
    schedule = _Schedule(collections.deque(work), until, keep, on_epoch, watch, stop, compile_limit)
    del work  # so that each group goes, with its program, when it is done
    try:
        yield from schedule.run()
    finally:
        schedule.close()
        memory.give_back()  # what the largest of them took need not stay


class _Stopped(BaseException):
    """Ends a training thread after its epoch. Not an Exception: it is no failure of a trial."""


class _Schedule:
    """Groups on their way: coming, compiling, ready, in training. Threads tell the caller's one by `events`."""

    def __init__(self, coming, until, keep, on_epoch, watch, stop, compile_limit):
        self.coming, self.until, self.keep, self.on_epoch, self.watch = coming, until, keep, on_epoch, watch
        self.stop, self.compile_limit = stop or (lambda: False), compile_limit
        self.programs = max((group.device.programs for group in coming), default=1)
        self.compiling: dict[Group, tuple[threading.Thread, float]] = {}
        self.ready: collections.deque[Group] = collections.deque()
        self.training: list[Group] = []
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.clock = _SharedClock()
        self.ending, self.stopped = threading.Event(), threading.Event()  # after the chunk, after the epoch
        self.trainers = ThreadPoolExecutor(self.programs, "jnas-train")
        self.apart = any(group.apart for group in coming)
        if len(coming) >= compilers.WORTH and not self.apart:
            compilers.start()

    def run(self) -> Iterator[list[Job]]:
        """Yields the jobs of each chunk that is done."""
        while True:
            self._fill()
            if not self.training and (not (self.compiling or self.coming) or self._ends()):
                return
            start = time.perf_counter()
            handle, group, found = self._event()
            if not self.training:
                self.watch.waiting += time.perf_counter() - start
            chunk = handle(group, found)
            if chunk:
                self.watch.models += len(chunk)
                yield chunk
            del group, found, chunk

    def _event(self) -> tuple[Callable, Group | None, object]:
        """What happens next: which method is told, of which group, and what."""
        while True:
            try:
                return self.events.get(timeout=_TICK)
            except queue.Empty:
                for group, (_, begun) in self.compiling.items():
                    if time.monotonic() - begun > self.compile_limit:
                        group.abandon(self.compile_limit)
                        return self._compiled, group, None
                if (self._ends() and not self.training) or (self.coming and self._room()):
                    return self._nothing, None, None

    def _ends(self) -> bool:
        """Whether the caller wants an end, which the training threads are told."""
        if not self.ending.is_set() and self.stop():
            self.ending.set()
        return self.ending.is_set()

    def close(self) -> None:
        """Ends what is in training after its epoch; of what compiles it waits for no more than its time limit.

        What another process is at ends at once.
        """
        self.stopped.set()
        for group in (*self.compiling, *self.ready, *self.training):
            group.let_go()
        for thread, begun in self.compiling.values():
            thread.join(max(0.0, begun + self.compile_limit - time.monotonic()))
        self.trainers.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        """Starts what can start."""
        if self._ends():
            for group in self.ready:
                group.let_go()
            self.coming.clear(), self.ready.clear()
        while self.ready and self._fits(self.ready[0]):
            group = self.ready.popleft()
            self.training.append(group)
            self.clock.enter()
            self.trainers.submit(self._train, group)
        while self.coming and self._room():
            if remembered.too_many():
                remembered.forget()
            group = self._next()
            if not group.may_begin():
                return
            self.coming.remove(group)
            # No pool: a thread whose program was given up would keep a place in it.
            thread = threading.Thread(target=self._compile, args=(group,), name="jnas-compile", daemon=True)
            self.compiling[group] = thread, time.monotonic()
            thread.start()

    def _room(self) -> bool:
        """Whether one more may begin to compile."""
        begun = len(self.compiling) + len(self.ready)
        if self.apart:  # each has a process until it is trained
            return begun + len(self.training) < self.programs
        return begun < max(compile_workers(), self.programs)

    def _next(self) -> Group:
        """The first of those that are coming; or the longest, where it would else be the last one, and train alone."""
        first = self.coming[0]
        if not self.apart or self.programs == 1:
            return first
        # Of one that fits into no memory an endless time is expected, and it is done at once.
        seconds = [s if math.isfinite(s := group.expected.train_seconds) else 0.0 for group in self.coming]
        longest = max(seconds)
        others = sum(seconds) - longest
        return self.coming[seconds.index(longest)] if longest * self.programs >= others else first

    def _fits(self, group: Group) -> bool:
        """Whether a group may train beside those that do."""
        memory = sum(other.memory for other in (group, *self.training))
        return not self.training or (len(self.training) < self.programs and memory <= group.device.memory)

    # In other threads. What they raise is told, too.

    def _compile(self, group: Group) -> None:
        error = _error_of(group.compile)
        self.events.put((self._compiled, group, error))

    def _train(self, group: Group) -> None:
        def work() -> None:
            for chunk in group.run(self.until, self.keep, self._epoch, self.clock.now):
                self.events.put((self._chunk, group, chunk))
                if self.stopped.is_set() or self.ending.is_set():
                    return

        error = _error_of(work)
        self.clock.leave()
        self.events.put((self._trained, group, error))

    def _epoch(self, number: int) -> None:
        if self.stopped.is_set():
            raise _Stopped
        if self.on_epoch:
            self.on_epoch(number)

    # In the caller's thread.

    def _nothing(self, *_) -> None:
        """Nothing happened, and nothing will."""

    def _compiled(self, group: Group, error: BaseException | None) -> None:
        if self.compiling.pop(group, None) is None:
            return  # given up before
        if error:
            raise error
        if group.refused:
            self.coming.extendleft(reversed(group.alone()))
            return
        self.watch.compiling += group.compile_seconds
        self.watch.programs += group.width > 0
        self.ready.append(group)

    def _chunk(self, group: Group, chunk: list[Job]) -> list[Job]:
        if chunk[-1] is group.jobs[-1]:
            self.watch.reports.append(group.report())
        return chunk

    def _trained(self, group: Group, error: BaseException | None) -> None:
        self.training.remove(group)
        if error:
            raise error


class _SharedClock:
    """Seconds, shared out among those that train at the same time: with two of them it runs half as fast."""

    def __init__(self):
        self.lock, self.count, self.total, self.last = threading.Lock(), 0, 0.0, time.perf_counter()

    def now(self) -> float:
        """The present time."""
        with self.lock:
            return self._advance()

    def enter(self) -> None:
        """One more trains."""
        with self.lock:
            self._advance()
            self.count += 1

    def leave(self) -> None:
        """One is done."""
        with self.lock:
            self._advance()
            self.count -= 1

    def _advance(self) -> float:
        now = time.perf_counter()
        self.total += (now - self.last) / max(self.count, 1)
        self.last = now
        return self.total


def _error_of(function: Callable[[], None]) -> BaseException | None:
    try:
        function()
    except BaseException as error:
        return error
    return None


def compile_workers() -> int:
    """Threads that compile, or wait for a process that does: half of the processors, as XLA uses several for a program.

    For a GPU four at most: more end no sooner, and the first of them much later (benchmarks/RESULTS.md).
    """
    return max(1, min(8 if jax.default_backend() == "cpu" else 4, (os.cpu_count() or 1) // 2))
