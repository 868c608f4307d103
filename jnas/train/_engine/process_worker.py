"""Workers on this machine: Python processes, with pipes that only a worker and its driver have."""

import atexit
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
from jnas.train._engine import workers
from jnas.train._engine.workers import Worker, WorkerDied, WorkerKilled

_START_TIMEOUT = 120.0
"""Seconds that a worker has to get ready."""
_EXIT_TIMEOUT = 1.0
"""Seconds to wait for the exit status of a worker whose pipe has closed."""


class ProcessWorker(Worker):
    """A process that runs `worker_main` and is ready; raises `WorkerDied` if it is not.

    `make_environment` returns the variables that it has besides the driver's; when they change it is no longer usable.
    """

    def __init__(self, make_environment: Callable[[], dict[str, str]]):
        self._make_environment, self._environment = make_environment, make_environment()
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
            env=inherited | self._environment,
            start_new_session=True,  # an interrupt in the terminal is not for it
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        atexit.register(self.kill)
        timer = threading.Timer(_START_TIMEOUT, self.kill)
        timer.daemon = True
        timer.start()
        try:
            self.place = self.receive()
        finally:
            timer.cancel()

    def send(self, message: Any) -> None:
        content = pickle.dumps(message)
        try:
            self._stdin.write(content)
            self._stdin.flush()
        except (OSError, ValueError) as error:  # the latter if it was closed here
            raise self._death() from error

    def receive(self) -> Any:
        try:
            return pickle.load(self._stdout)
        except Exception as error:
            raise self._death() from error

    def kill(self) -> None:
        self._process.kill()
        atexit.unregister(self.kill)
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # what was not sent yet
                pipe.close()

    def is_usable(self) -> bool:
        """Returns whether the process runs, in the environment of a new one, and has made few programs."""
        is_current = self._environment == self._make_environment() and self.num_programs < workers.MAX_PROGRAMS
        return is_current and self._process.poll() is None

    def _death(self) -> WorkerDied:
        try:
            code = self._process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:  # what it sent was no message
            self.kill()
            return WorkerDied("it sent what is no message")
        if code == -signal.SIGKILL:
            return WorkerKilled("the system ended it, as it does where memory runs out")
        return WorkerDied(f"it ended with exit code {code}")
