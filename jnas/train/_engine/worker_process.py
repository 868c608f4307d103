"""Python processes that work for this one, and pools of them.

Messages are pickles, sent by pipes that only a worker and its parent have. A worker ends with its parent, and after it
has made `MAX_PROGRAMS` programs: XLA and JAX keep some memory of each, and only the end of a process returns all of it.
"""

import atexit
import collections
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from jnas._runtime.jax_config import ENVIRONMENT, read_jax_config

MAX_PROGRAMS = 32
"""Programs, of 4 to 8 MiB each on a CPU, after which a worker is replaced."""
_START_TIMEOUT = 120.0
"""Seconds that a worker has to get ready."""
_EXIT_TIMEOUT = 1.0
"""Seconds to wait for the exit status of a worker whose pipe has closed."""


class WorkerDied(Exception):
    """A worker has ended by itself, or none could be started; the message says why."""


class WorkerKilled(WorkerDied):
    """The system has ended a worker, as it does where memory runs out."""


class Worker:
    """The parent's end of a worker process, which runs `worker_main` and is ready; raises `WorkerDied` if it is not.

    `num_programs` were asked of it. `cached_split`, a weak reference, returns the images that it was sent and keeps.
    """

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.num_programs = 0
        self.cached_split: Callable[[], Any] = lambda: None
        inherited = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
        inherited["PYTHONPATH"] = os.pathsep.join(map(os.fspath, filter(None, sys.path)))
        if read_jax_config("jax_platforms"):
            inherited["JAX_PLATFORMS"] = read_jax_config("jax_platforms")
        # No multiprocessing: it would run the user's script again, in each process.
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from jnas.train._engine.worker import worker_main; worker_main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what goes wrong there is a message, or goes wrong here, too
            env=inherited | environment,
            start_new_session=True,  # an interrupt in the terminal is not for it
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
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
            raise self._death() from error

    def receive(self) -> Any:
        """Returns the next message, once it comes; raises `WorkerDied` if none will."""
        try:
            return pickle.load(self._stdout)
        except Exception as error:
            raise self._death() from error

    def kill(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        atexit.unregister(self.kill)
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # what was not sent yet
                pipe.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _death(self) -> WorkerDied:
        try:
            code = self._process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:  # what it sent was no message
            self.kill()
            return WorkerDied("it sent what is no message")
        if code == -signal.SIGKILL:
            return WorkerKilled("the system ended it, as it does where memory runs out")
        return WorkerDied(f"it ended with exit code {code}")


class WorkerPool:
    """Workers that serve one caller at a time each. One whose `environment` is no longer that one is replaced."""

    def __init__(self, environment: Callable[[], dict[str, str]]):
        self._environment = environment
        self._changed = threading.Condition()
        self._num_starting = 0
        self._busy: set[Worker] = set()
        self._idle: collections.deque[Worker] = collections.deque()
        self._error = ""

    def start(self, count: int) -> None:
        """Starts the workers that are missing, in the background."""
        with self._changed:
            for _ in range(count - self._num_starting - len(self._busy) - len(self._idle)):
                self._start_one()

    def wait(self) -> None:
        """Waits until a worker is there; raises `WorkerDied` if none could be started."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._busy or not self._num_starting)
            if not self._idle and not self._busy:
                raise WorkerDied(self._error)

    def acquire(self, should_stop: Callable[[], bool]) -> Worker | None:
        """Returns an idle worker, or None if `should_stop` ends the wait; raises `WorkerDied` if none is left."""
        with self._changed:
            while True:
                while self._idle:
                    worker = self._idle.popleft()
                    if self._is_usable(worker):
                        self._busy.add(worker)
                        return worker
                    self._replace(worker)
                if should_stop():
                    return None
                if not self._busy and not self._num_starting:
                    raise WorkerDied(self._error)
                self._changed.wait(0.2)

    def release(self, worker: Worker, is_idle: bool) -> None:
        """Takes a worker back; one that is at work, or shall end, is replaced."""
        with self._changed:
            self._busy.discard(worker)
            if is_idle and self._is_usable(worker):
                self._idle.append(worker)
            else:
                self._replace(worker)
            self._changed.notify_all()

    def _is_usable(self, worker: Worker) -> bool:
        has_environment = worker.environment == self._environment()
        return worker.is_alive and has_environment and worker.num_programs < MAX_PROGRAMS

    def _replace(self, worker: Worker) -> None:
        worker.kill()
        self._start_one()

    def _start_one(self) -> None:
        self._num_starting += 1
        arguments = (self._environment(),)
        threading.Thread(target=self._start, args=arguments, name="jnas-worker", daemon=True).start()

    def _start(self, environment: dict[str, str]) -> None:
        worker, error = None, ""
        try:
            worker = Worker(environment)
        except Exception as reason:  # whatever it is, the caller can do without workers
            error = str(reason)
        with self._changed:
            self._num_starting -= 1
            self._error = error or self._error
            if worker:
                self._idle.append(worker)
            self._changed.notify_all()
