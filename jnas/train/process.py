"""Python processes that serve this one for as long as it runs: messages go to and fro as pickles."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from typing import Any

import jax

from jnas.errors import JnasError

ENDED = (OSError, EOFError, pickle.UnpicklingError)
"""What using a process raises that has ended."""


def count(default: int) -> int:
    """How many processes there are to be: `default`, or what JNAS_PROCESSES in the environment asks for.

    Raises:
      JnasError: that is no number.
    """
    asked = os.environ.get("JNAS_PROCESSES", "")
    if asked and not asked.isdigit():
        raise JnasError(f"JNAS_PROCESSES={asked} is no number of processes: give 0 or more, or leave it out.")
    return int(asked) if asked else default


class Process:
    """The caller's end.

    Args:
      module: whose function `serve` it runs; it sends one message first, once it is ready.
      environment: variables of its own.
    """

    def __init__(self, module: str, environment: dict[str, str]):
        self.module, self.environment = module, environment
        self.folder = jax.config.jax_compilation_cache_dir
        self.popen: subprocess.Popen | None = None
        self.failed = False  # to start
        self.knows: Any = None  # what it was told, and keeps

    def begin(self) -> None:
        """Starts it, and waits until it is ready."""
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "JAX_COMPILATION_CACHE_DIR": self.folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(jax.config.jax_persistent_cache_min_compile_time_secs),
        }
        if jax.config.jax_platforms:
            environment["JAX_PLATFORMS"] = jax.config.jax_platforms
        # No multiprocessing: it would run the user's script again, in each process.
        self.popen = subprocess.Popen(
            [sys.executable, "-c", f"from {self.module} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what goes wrong there is told by messages, or goes wrong here, too
            env=os.environ | environment | self.environment,
            start_new_session=True,  # an interrupt in the terminal is not for it
        )
        atexit.register(self.end)
        self.receive()

    def send(self, message: Any) -> None:
        """Raises one of `ENDED` where it has ended."""
        pickle.dump(message, self.popen.stdin)
        self.popen.stdin.flush()

    def receive(self) -> Any:
        """The next message, once it comes; raises one of `ENDED` where it has ended."""
        return pickle.load(self.popen.stdout)

    def end(self) -> None:
        """Ends it, whatever it is at."""
        if self.popen:
            self.popen.kill()


class Pool:
    """Processes of one kind."""

    def __init__(self, module: str, environment: dict[str, str]):
        self.module, self.environment = module, environment
        self.lock = threading.Lock()
        self.started: list[Process] = []
        self.idle: queue.SimpleQueue[Process] = queue.SimpleQueue()

    def start(self, count: int) -> None:
        """Starts those that are missing, which takes them some seconds; nobody waits for it. They end with this one.

        Those that keep programs in another cache than the present one are replaced.
        """
        with self.lock:
            for other in [one for one in self.started if one.folder != jax.config.jax_compilation_cache_dir]:
                self.started.remove(other)
                other.end()
            while len(self.started) < count:
                process = Process(self.module, self.environment)
                self.started.append(process)
                threading.Thread(target=self._begin, args=(process,), name="jnas-process", daemon=True).start()

    def take(self) -> Process | None:
        """An idle one, for the caller alone; None where there is none."""
        with contextlib.suppress(queue.Empty):
            process = self.idle.get_nowait()
            while process not in self.started:  # it was replaced
                process = self.idle.get_nowait()
            return process
        return None

    @property
    def gone(self) -> bool:
        """Whether there will be none: not one could be started."""
        return all(process.failed for process in self.started)

    def give_back(self, process: Process) -> None:
        """It is idle again."""
        self.idle.put(process)

    def replace(self, process: Process) -> None:
        """Ends one, and starts another in its place."""
        process.end()
        with self.lock:
            count = len(self.started)
            if process in self.started:
                self.started.remove(process)
        self.start(count)

    def _begin(self, process: Process) -> None:
        try:
            process.begin()
        except ENDED:
            process.failed = True
        else:
            if process in self.started:
                self.idle.put(process)
            else:  # it was replaced meanwhile
                process.end()


class Caller:
    """The served process' end."""

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what libraries print is no message
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: Any) -> None:
        pickle.dump(message, self._out)
        self._out.flush()

    def receive(self, timeout: float | None = None) -> Any:
        """The next message; raises `queue.Empty` where none comes within so many seconds."""
        message = self._messages.get(timeout=timeout)
        if isinstance(message, Exception):
            raise message
        return message

    def _read(self) -> None:
        while True:
            try:
                self._messages.put(pickle.load(sys.stdin.buffer))
            except EOFError:  # the caller has ended: nobody waits for what this process is at
                os._exit(0)
            except Exception as error:  # a message of what is not known here, such as a class of the caller's script
                self._messages.put(error)
