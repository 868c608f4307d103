"""Python processes that serve this one for as long as it runs.

Messages go to and fro as pickles, by pipes that a process and the one that started it have to themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax

from jnas.errors import JnasError

_PATIENCE = 120
"""Seconds that a process has to get ready."""


class Ended(Exception):
    """A process that was used has ended."""


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
      subfolder: of the compilation cache, where it keeps programs that are not for others.
    """

    def __init__(self, module: str, environment: dict[str, str], subfolder: str = ""):
        self.module, self.environment = module, environment
        self.folder, self.subfolder = jax.config.jax_compilation_cache_dir, subfolder
        self.popen: subprocess.Popen | None = None
        self.failed = False  # to start
        self.knows: Callable[[], Any] = lambda: None  # a weak reference to what it was told, and keeps

    def begin(self) -> None:
        """Starts it, and waits until it is ready; raises whatever stands in the way."""
        environment = {
            "PYTHONPATH": os.pathsep.join(map(os.fspath, filter(None, sys.path))),
            "JAX_COMPILATION_CACHE_DIR": os.path.join(self.folder, self.subfolder),
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
        timer = threading.Timer(_PATIENCE, self.end)
        timer.daemon = True
        timer.start()
        self.receive()
        timer.cancel()

    def send(self, message: Any) -> None:
        """Raises `Ended` where it has, and what pickle raises where this is no message."""
        content = pickle.dumps(message)
        try:
            self.popen.stdin.write(content)
            self.popen.stdin.flush()
        except (OSError, ValueError) as error:  # the latter where it was closed here
            raise Ended from error

    def receive(self) -> Any:
        """The next message, once it comes; raises `Ended` where it has, or says what is no message."""
        try:
            return pickle.load(self.popen.stdout)
        except Exception as error:
            raise Ended from error

    def end(self) -> int | None:
        """Ends it, whatever it is at, and returns its exit status."""
        if self.popen is None:
            return None
        self.popen.kill()
        atexit.unregister(self.end)
        code = self.popen.wait()
        with contextlib.suppress(OSError):  # what was not sent yet
            self.popen.stdin.close()
        return code

    @property
    def ended(self) -> bool:
        """Whether it ended, or could not start."""
        return self.failed or (self.popen is not None and self.popen.poll() is not None)


class Pool:
    """Processes of one kind, made from the arguments of `Process`."""

    def __init__(self, *made_from: Any):
        self.made_from = made_from
        self.lock = threading.Lock()
        self.started: list[Process] = []
        self.idle: queue.SimpleQueue[Process] = queue.SimpleQueue()

    def start(self, count: int) -> None:
        """Starts those that are missing, which takes them some seconds; nobody waits for it. They end with this one.

        Those that have ended are replaced, and those that keep programs in another cache than the present one.
        """
        with self.lock:
            here = jax.config.jax_compilation_cache_dir
            for other in [one for one in self.started if one.folder != here or one.ended]:
                self.started.remove(other)
                other.end()
            while len(self.started) < count:
                process = Process(*self.made_from)
                self.started.append(process)
                threading.Thread(target=self._begin, args=(process,), name="jnas-process", daemon=True).start()

    def take(self) -> Process | None:
        """An idle one, for the caller alone; None where there is none."""
        with contextlib.suppress(queue.Empty):
            process = self.idle.get_nowait()
            while process not in self.started or process.ended:  # it was replaced, or the system ended it
                process = self.idle.get_nowait()
            return process
        return None

    @property
    def gone(self) -> bool:
        """Whether there will be none: all that were started have ended."""
        return all(process.ended for process in self.started)

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
        except Exception:  # whatever it is, the caller can do without processes
            process.failed = True
            process.end()
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
                return self._messages.put(error)
