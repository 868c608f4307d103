"""Python processes that work for this one, and pools of them.

Messages are pickles, sent by pipes that only a worker and its parent have. A worker ends with its parent, and after it
has made `MAX_PROGRAMS` programs: XLA and JAX keep some memory of each, and only the end of a process returns all of it.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jnas._runtime.jax_config import read_jax_config

MAX_PROGRAMS = 32
"""Programs, of 4 to 8 MiB each on a CPU, after which a worker is replaced."""
_START_TIMEOUT = 120.0
"""Seconds that a worker has to get ready."""
_EXIT_TIMEOUT = 1.0
"""Seconds to wait for the exit status of a worker whose pipe has closed."""


class WorkerDied(Exception):
    """A worker has ended by itself; the message says how."""


class WorkersUnavailable(Exception):
    """No worker of a pool could be started."""


class Worker:
    """The parent's end of a worker process, which runs `jnas.train._engine.worker.worker_main`.

    Attributes:
      num_programs: programs that it was asked to make.
      cached_split: returns the images that it was sent and keeps; a weak reference.
    """

    def __init__(self, environment: Mapping[str, str]):
        self.environment = dict(environment)
        self.num_programs = 0
        self.cached_split: Callable[[], Any] = lambda: None
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts the process and waits until it is ready.

        Raises:
          WorkerDied: it is not ready in time.
        """
        inherited = {"PYTHONPATH": os.pathsep.join(map(os.fspath, filter(None, sys.path)))}
        if read_jax_config("jax_platforms"):
            inherited["JAX_PLATFORMS"] = read_jax_config("jax_platforms")
        # No multiprocessing: it would run the user's script again, in each process.
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from jnas.train._engine.worker import worker_main; worker_main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what goes wrong there is a message, or goes wrong here, too
            env=os.environ | inherited | self.environment,
            start_new_session=True,  # an interrupt in the terminal is not for it
        )
        atexit.register(self.kill)
        timer = threading.Timer(_START_TIMEOUT, self.kill)
        timer.daemon = True
        timer.start()
        try:
            self.receive()
        finally:
            timer.cancel()

    def send(self, message: Any) -> None:
        """Sends a message; raises `WorkerDied`, or what pickle raises if this is no message."""
        content = pickle.dumps(message)
        try:
            self._stdin.write(content)
            self._stdin.flush()
        except (OSError, ValueError) as error:  # the latter if it was closed here
            raise WorkerDied(self._exit_reason()) from error

    def receive(self) -> Any:
        """Returns the next message, once it comes; raises `WorkerDied` if none will."""
        assert self._process is not None and self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except Exception as error:
            raise WorkerDied(self._exit_reason()) from error

    def kill(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is None:
            return
        self._process.kill()
        atexit.unregister(self.kill)
        self._process.wait()
        with contextlib.suppress(OSError):  # what was not sent yet
            self._stdin.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether the system ended it, as it does where memory runs out."""
        return self._process is not None and self._process.returncode == -signal.SIGKILL

    @property
    def _stdin(self):
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin

    def _exit_reason(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:  # what it sent was no message
            self.kill()
            return "it sent what is no message"
        if code == -signal.SIGKILL:
            return "the system ended it, as it does where memory runs out"
        return f"it ended with exit code {code}"


class WorkerPool:
    """Workers that serve one caller at a time each.

    Args:
      environment: returns the variables of a worker's environment; a worker with others is replaced.
    """

    def __init__(self, environment: Callable[[], dict[str, str]]):
        self._environment = environment
        self._changed = threading.Condition()
        self._starting: set[Worker] = set()
        self._busy: set[Worker] = set()
        self._idle: collections.deque[Worker] = collections.deque()
        self._error = ""

    def start(self, count: int) -> None:
        """Starts the workers that are missing, in the background."""
        environment = self._environment()
        with self._changed:
            outdated = [one for one in self._idle if not one.is_alive or one.environment != environment]
            for worker in outdated:
                self._idle.remove(worker)
            for _ in range(count - len(self._starting) - len(self._busy) - len(self._idle)):
                worker = Worker(environment)
                self._starting.add(worker)
                threading.Thread(target=self._start, args=(worker,), name="jnas-worker", daemon=True).start()
        for worker in outdated:
            worker.kill()

    def wait(self) -> None:
        """Waits until a worker is there.

        Raises:
          WorkersUnavailable: none could be started.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._busy or not self._starting)
            if not self._idle and not self._busy:
                raise WorkersUnavailable(self._error)

    def acquire(self, should_stop: Callable[[], bool] = lambda: False, block: bool = True) -> Worker | None:
        """Returns an idle worker, for the caller alone; None if it shall not wait for one, or no longer.

        Raises:
          WorkersUnavailable: there is no worker, and none is starting.
        """
        with self._changed:
            while True:
                while self._idle:
                    worker = self._idle.popleft()
                    if worker.is_alive:  # else the system ended it
                        self._busy.add(worker)
                        return worker
                if not block or should_stop():
                    return None
                if not self._busy and not self._starting:
                    raise WorkersUnavailable(self._error)
                self._changed.wait(0.2)

    def release(self, worker: Worker) -> None:
        """Takes a worker back that waits for messages."""
        if worker.num_programs >= MAX_PROGRAMS or not worker.is_alive or worker.environment != self._environment():
            self.replace(worker)
            return
        with self._changed:
            self._busy.discard(worker)
            self._idle.append(worker)
            self._changed.notify_all()

    def replace(self, worker: Worker) -> None:
        """Ends a worker and starts another in its place."""
        worker.kill()
        with self._changed:
            count = len(self._starting) + len(self._busy) + len(self._idle)
            self._busy.discard(worker)
        self.start(count)

    def close(self) -> None:
        """Ends all workers."""
        with self._changed:
            workers = [*self._starting, *self._busy, *self._idle]
            for group in (self._starting, self._busy, self._idle):
                group.clear()
        for worker in workers:
            worker.kill()

    def _start(self, worker: Worker) -> None:
        error = ""
        try:
            worker.start()
        except Exception as reason:  # whatever it is, the caller can do without workers
            error = str(reason)
            worker.kill()
        with self._changed:
            is_wanted = worker in self._starting
            self._starting.discard(worker)
            if error:
                self._error = error
            elif is_wanted:
                self._idle.append(worker)
            self._changed.notify_all()
        if not error and not is_wanted:  # the pool was closed meanwhile
            worker.kill()


class ParentConnection:
    """The worker's end."""

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what libraries print is no message
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: Any) -> None:
        """Sends a message to the parent."""
        pickle.dump(message, self._out)
        self._out.flush()

    def receive(self, timeout: float | None = None) -> Any:
        """Returns the next message; raises `queue.Empty` if none comes within this many seconds."""
        message = self._messages.get(timeout=timeout)
        if isinstance(message, Exception):
            raise message
        return message

    def _read(self) -> None:
        while True:
            try:
                self._messages.put(pickle.load(sys.stdin.buffer))
            except EOFError:  # the parent has ended: nobody waits for what this process does
                os._exit(0)
            except Exception as error:  # a message of what is not known here, such as a class of the caller's script
                return self._messages.put(error)
