"""Processes that compile ahead, into JAX's persistent cache, from where the caller's own `compile` takes the program.

For a GPU XLA compiles little more than one program at a time in a process, however many threads ask it to
(benchmarks/RESULTS.md); processes do not hold one another up. They change when a program is ready, never what it is:
where there is none, or one fails, the caller compiles by itself.
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
import time

import jax

from jnas.train import remembered
from jnas.train.trainer import Trainer

_CORES = 4
"""Cores that XLA keeps busy with one program for a GPU."""
_MOST = 4
"""Processes, each of which takes half a GiB of the GPU's memory."""
_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")
"""What a user may have told JAX that changes programs."""
_FAILURES = (OSError, EOFError, pickle.PickleError, AttributeError)
"""What using a process raises that has ended, or a task that cannot be sent."""


def count() -> int:
    """How many processes are to compile: none on a CPU, whose cores train, and none without a persistent cache.

    JNAS_COMPILERS in the environment says otherwise.
    """
    if not (jax.config.jax_enable_compilation_cache and jax.config.jax_compilation_cache_dir):
        return 0
    asked = os.environ.get("JNAS_COMPILERS", "")
    if asked.isdigit():
        return int(asked)
    return 0 if jax.default_backend() == "cpu" else min(_MOST, (os.cpu_count() or 1) // _CORES)


def start() -> None:
    """Starts those that are missing, which takes them some seconds; nobody waits for it. They end with this process."""
    with _LOCK:
        while len(_STARTED) < count():
            compiler = _Compiler()
            _STARTED.append(compiler)
            threading.Thread(target=compiler.begin, name="jnas-compiler", daemon=True).start()


def compile_ahead(trainer: Trainer) -> float:
    """Has an idle process compile what a trainer needs into the cache; returns the seconds, 0 where none is idle."""
    begun = time.perf_counter()
    try:
        compiler = _IDLE.get_nowait()
    except queue.Empty:
        return 0.0
    with contextlib.suppress(*_FAILURES):  # one that failed is not idle any more
        if compiler.folder == jax.config.jax_compilation_cache_dir:
            compiler.ask(trainer)
        _IDLE.put(compiler)
    return time.perf_counter() - begun


class _Compiler:
    """The caller's end of a process."""

    def __init__(self):
        self.folder = jax.config.jax_compilation_cache_dir
        # No multiprocessing: it would run the user's script again, in each process.
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "JAX_COMPILATION_CACHE_DIR": self.folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(jax.config.jax_persistent_cache_min_compile_time_secs),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the GPU's memory is for training
            "JNAS_KEEP_MEMORY": "0",
        }
        if jax.config.jax_platforms:
            environment["JAX_PLATFORMS"] = jax.config.jax_platforms
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from jnas.train.compilers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            start_new_session=True,  # an interrupt in the terminal is not for it
        )
        atexit.register(self.process.kill)

    def begin(self) -> None:
        """Waits until it is ready."""
        with contextlib.suppress(*_FAILURES):
            pickle.load(self.process.stdout)
            _IDLE.put(self)

    def ask(self, trainer: Trainer) -> None:
        """Waits until it has compiled, or could not: then the caller, who tries the same, will say why."""
        settings = {name: getattr(jax.config, name) for name in _SETTINGS}
        task = trainer.structure, trainer.program.recipe, trainer.split.shapes(), trainer.lanes, trainer.scan
        pickle.dump((settings, task), self.process.stdin)
        self.process.stdin.flush()
        pickle.load(self.process.stdout)


_LOCK = threading.Lock()
_STARTED: list[_Compiler] = []
_IDLE: queue.SimpleQueue[_Compiler] = queue.SimpleQueue()


def serve() -> None:
    """What the process does: compiles the tasks that it reads from its input, until there are none."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    jax.devices()
    while True:
        pickle.dump("ready", answers)
        answers.flush()
        try:
            settings, task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        with contextlib.suppress(Exception):
            for name, value in settings.items():
                jax.config.update(name, value)
            Trainer(*task).compile()
        if remembered.too_many():
            remembered.forget()
