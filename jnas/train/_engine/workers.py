"""The driver's end of a worker, whatever brings it its messages, and pools of workers.

The driver is the process that a search, or another call, runs in: it has the store, the predictor and the evolution.
Workers only compile and train. A worker ends with its driver, and after it has made `MAX_PROGRAMS` programs: XLA and
JAX keep some memory of each, and only the end of a process returns all of it.
"""

import collections
import threading
from collections.abc import Callable
from typing import Any, Protocol

from jnas._runtime.devices import Place
from jnas.data import Split

MAX_PROGRAMS = 32
"""Programs, of 4 to 8 MiB each on a CPU, after which a worker is replaced."""


class WorkerDied(Exception):
    """A worker is gone, or none could be started; the message says why."""


class WorkerKilled(WorkerDied):
    """The system has ended a worker, as it does where memory runs out."""


class Worker(Protocol):
    """A worker that is ready. `place` is where it computes; `num_programs` were asked of it."""

    place: Place
    num_programs: int

    def send(self, message: Any) -> None:
        """Sends a message of `worker.serve`; raises `WorkerDied`, or what pickle raises if this is no message."""
        ...

    def send_images(self, split: Split) -> None:
        """Sends images, unless it has them; raises `WorkerDied`."""
        ...

    def receive(self) -> Any:
        """Returns the next message, once it comes; raises `WorkerDied` if none will."""
        ...

    def kill(self) -> None:
        """Ends the worker, whatever it does."""
        ...

    def is_usable(self) -> bool:
        """Returns whether it runs, and is as one would be that is started now."""
        ...


class WorkerPool:
    """Workers that serve one call at a time each. `make_worker` returns one for a slot, a number from 0.

    A worker that died, or has made many programs, is replaced by another one in its slot.
    """

    def __init__(self, make_worker: Callable[[int], Worker]):
        self._make_worker = make_worker
        self._changed = threading.Condition()
        self._starting: set[int] = set()
        self._busy: dict[Worker, int] = {}  # with their slots
        self._idle: collections.deque[tuple[Worker, int]] = collections.deque()
        self._error = ""

    def start(self, count: int) -> None:
        """Starts the workers of this many slots that are missing, in the background."""
        with self._changed:
            used = self._starting | {*self._busy.values()} | {slot for _, slot in self._idle}
            for slot in set(range(count)) - used:
                self._start_one(slot)

    def wait(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Waits until a worker is there, or `should_stop`; raises `WorkerDied` if none could be started."""
        with self._changed:
            while not (self._idle or self._busy or should_stop()):
                if not self._starting:
                    raise WorkerDied(self._error)
                self._changed.wait(0.2)

    def acquire(self, should_stop: Callable[[], bool]) -> Worker | None:
        """Returns an idle worker, or None if `should_stop` ends the wait; raises `WorkerDied` if none is left."""
        with self._changed:
            while True:
                while self._idle:
                    worker, slot = self._idle.popleft()
                    if _is_usable(worker):
                        self._busy[worker] = slot
                        return worker
                    self._replace(worker, slot)
                if should_stop():
                    return None
                if not self._busy and not self._starting:
                    raise WorkerDied(self._error)
                self._changed.wait(0.2)

    def release(self, worker: Worker, is_idle: bool) -> None:
        """Takes a worker back; one that is at work, or shall end, is replaced."""
        with self._changed:
            slot = self._busy.pop(worker)
            if is_idle and _is_usable(worker):
                self._idle.append((worker, slot))
            else:
                self._replace(worker, slot)
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all workers that are idle."""
        with self._changed:
            for worker, _ in self._idle:
                worker.kill()
            self._idle.clear()

    def _replace(self, worker: Worker, slot: int) -> None:
        worker.kill()
        self._start_one(slot)

    def _start_one(self, slot: int) -> None:
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
            self._error = error or self._error
            if worker:
                self._idle.append((worker, slot))
            self._changed.notify_all()


def _is_usable(worker: Worker) -> bool:
    return worker.num_programs < MAX_PROGRAMS and worker.is_usable()
