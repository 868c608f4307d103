"""The driver's end of a worker, whatever brings it its messages, and pools of workers.

The driver is the process that a search, or another call, runs in: it has the store, the predictor and the evolution.
Workers only compile and train. A worker ends with its driver, and one of this machine or of Ray after it has made
`MAX_PROGRAMS` programs: XLA and JAX keep some memory of each, and only the end of a process returns all of it.
"""

import collections
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from jnas._runtime.devices import Place
from jnas.data import Split

MAX_PROGRAMS = 32
"""Programs, of 4 to 8 MiB each on a CPU, after which a worker is ended, unless it is long to come by."""
_MAX_FAILED_STARTS = 3
"""Starts in a row that may fail before whoever waits is told."""
_MOST_PAUSE_SECONDS = 60.0
_WAIT_SECONDS = 0.2
"""Between two looks at whether to go on waiting."""


class WorkerDied(Exception):
    """A worker is gone, or none could be started; the message says why."""


class WorkerKilled(WorkerDied):
    """The system has ended a worker, as it does where memory runs out."""


class Worker(ABC):
    """A worker that is ready. `place` is where it computes; `num_programs` were asked of it."""

    place: Place
    num_programs = 0
    _images: weakref.ref[Split] | None = None

    @abstractmethod
    def send(self, message: Any) -> None:
        """Sends a message of `worker.serve`; raises `WorkerDied`, or what pickle raises if this is no message."""

    @abstractmethod
    def receive(self) -> Any:
        """Returns the next message, once it comes; raises `WorkerDied` if none will."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the worker, whatever it does."""

    @abstractmethod
    def is_usable(self) -> bool:
        """Returns whether it may go on: it runs, and is as one would be that is started now."""

    def send_images(self, split: Split) -> None:
        """Sends images, unless it has them; raises `WorkerDied`."""
        if self._images is None or self._images() is not split:
            self._send_split(split)
            self._images = weakref.ref(split)

    def _send_split(self, split: Split) -> None:
        self.send(split)


class WorkerPool:
    """Workers that serve one call at a time each. `make_worker` returns one for a slot, a number from 0.

    Whoever waits for one has those started that are missing: a worker that died, or shall end, is not replaced before
    it is needed. A slot whose worker could not be started is tried again after a pause, which doubles.
    """

    def __init__(self, make_worker: Callable[[int], Worker]):
        self._make_worker = make_worker
        self._changed = threading.Condition()
        self._count = 0
        self._starting: set[int] = set()
        self._busy: dict[Worker, int] = {}  # with their slots
        self._idle: collections.deque[tuple[Worker, int]] = collections.deque()
        self._num_failed, self._retry_time, self._error = 0, 0.0, ""

    @property
    def num_ready(self) -> int:
        """How many workers there are now."""
        with self._changed:
            return len(self._busy) + len(self._idle)

    def start(self, count: int) -> None:
        """Starts those of so many workers that are missing, in the background; from now on so many are wanted."""
        with self._changed:
            self._count = count
            self._start_missing()

    def wait(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Waits until a worker is there, or `should_stop`; raises `WorkerDied` if none can be started."""
        with self._changed:
            while not (self._idle or self._busy or should_stop()):
                self._start_missing()
                self._raise_if_none_starts()
                self._changed.wait(_WAIT_SECONDS)

    def acquire(self, should_stop: Callable[[], bool]) -> Worker | None:
        """Returns an idle worker, or None if `should_stop` ends the wait; raises `WorkerDied` if none starts."""
        while True:
            with self._changed:
                if self._idle:
                    worker, slot = self._idle.popleft()
                    self._busy[worker] = slot
                elif should_stop():
                    return None
                else:
                    self._start_missing()
                    self._raise_if_none_starts()
                    self._changed.wait(_WAIT_SECONDS)
                    continue
            if worker.is_usable():  # which may take a while
                return worker
            self._remove(worker)

    def release(self, worker: Worker, is_idle: bool) -> None:
        """Takes a worker back; one that is at work, or shall end, is ended."""
        if not (is_idle and worker.is_usable()):
            self._remove(worker)
            return
        with self._changed:
            self._idle.append((worker, self._busy.pop(worker)))
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all workers that are idle."""
        with self._changed:
            idle = [worker for worker, _ in self._idle]
            self._idle.clear()
        for worker in idle:
            worker.kill()

    def _remove(self, worker: Worker) -> None:
        worker.kill()
        with self._changed:
            self._busy.pop(worker)
            self._changed.notify_all()

    def _raise_if_none_starts(self) -> None:
        if not self._busy and not self._starting and self._num_failed >= _MAX_FAILED_STARTS:
            raise WorkerDied(self._error)

    def _start_missing(self) -> None:
        used = self._starting | {*self._busy.values()} | {slot for _, slot in self._idle}
        if time.monotonic() < self._retry_time:
            return
        for slot in set(range(self._count)) - used:
            self._starting.add(slot)
            threading.Thread(target=self._start, args=(slot,), name="jnas-worker", daemon=True).start()

    def _start(self, slot: int) -> None:
        worker, error = None, ""
        try:
            worker = self._make_worker(slot)
        except Exception as reason:  # whatever it is, the caller can do without workers
            error = str(reason)
        with self._changed:
            self._starting.discard(slot)
            if worker:
                self._num_failed = 0
                self._idle.append((worker, slot))
            else:
                self._num_failed, self._error = self._num_failed + 1, error
                pause = min(0.5 * 2**self._num_failed, _MOST_PAUSE_SECONDS)
                self._retry_time = time.monotonic() + pause
            self._changed.notify_all()
