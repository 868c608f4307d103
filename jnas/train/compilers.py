"""Processes that compile ahead, into the cache, from where the caller's own `compile` takes the programs.

In one process XLA compiles little more than one program at a time for a GPU, however many threads ask it to, and what
is traced holds the lock of Python that training waits for (benchmarks/RESULTS.md). Processes do not hold one another
up. They change when a program is ready, never what it is: where there is none, or one fails, the caller compiles by
itself.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import time
from typing import Any

import jax
import numpy as np

from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn.lowering import Structure
from jnas.space import Template
from jnas.space import layers as lt
from jnas.train import codebook, executables, remembered
from jnas.train.device import compile_processes
from jnas.train.recipe import Recipe
from jnas.train.trainer import Trainer

WORTH = 8
"""Programs to compile from which on a process is worth the seconds that its start takes, and half a GiB of memory."""
_FAILURES = (OSError, EOFError)
"""What using a process raises that has ended."""


def count() -> int:
    """How many processes are to compile: none without a cache that programs are kept in.

    JNAS_COMPILERS in the environment asks for another number than the device's.

    Raises:
      JnasError: it is no number.
    """
    if not executables.folder():
        return 0
    asked = os.environ.get("JNAS_COMPILERS", "")
    if asked:
        if not asked.isdigit():
            raise JnasError(f"JNAS_COMPILERS={asked} is no number of processes: give 0 or more, or leave it out.")
        return int(asked)
    return compile_processes(jax.default_backend())


def start() -> None:
    """Starts those that are missing, which takes them some seconds; nobody waits for it. They end with this process.

    Those that compile into another cache than the present one are replaced.
    """
    with _LOCK:
        for other in [one for one in _STARTED if one.folder != jax.config.jax_compilation_cache_dir]:
            _STARTED.remove(other)
            other.end()
        while len(_STARTED) < count():
            compiler = _Compiler()
            _STARTED.append(compiler)
            threading.Thread(target=compiler.begin, name="jnas-compiler", daemon=True).start()


def compile_ahead(trainer: Trainer) -> float:
    """Has an idle process compile what a trainer needs into the cache, unless it is there already.

    Returns:
      The seconds that it took; 0 where no process is idle.
    """
    if _IDLE.empty() or trainer.compiled_before():
        return 0.0
    begun = time.perf_counter()
    with contextlib.suppress(queue.Empty, *_FAILURES):  # a process that failed is not idle any more
        compiler = _IDLE.get_nowait()
        while compiler not in _STARTED:  # it was replaced
            compiler = _IDLE.get_nowait()
        compiler.ask(trainer)
        _IDLE.put(compiler)
    return time.perf_counter() - begun


class _Compiler:
    """The caller's end of a process."""

    def __init__(self):
        self.folder = jax.config.jax_compilation_cache_dir
        self.process: subprocess.Popen | None = None

    def begin(self) -> None:
        """Starts the process, and waits until it is ready."""
        environment = {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "JAX_COMPILATION_CACHE_DIR": self.folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(jax.config.jax_persistent_cache_min_compile_time_secs),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the GPU's memory is for training
            "JNAS_KEEP_MEMORY": "0",
        }
        if jax.config.jax_platforms:
            environment["JAX_PLATFORMS"] = jax.config.jax_platforms
        with contextlib.suppress(*_FAILURES):
            # No multiprocessing: it would run the user's script again, in each process.
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from jnas.train.compilers import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what goes wrong there goes wrong here, too, and is told
                env=os.environ | environment,
                start_new_session=True,  # an interrupt in the terminal is not for it
            )
            atexit.register(self.process.kill)
            self._wait()
            if self in _STARTED:
                _IDLE.put(self)
            else:  # it was replaced meanwhile
                self.end()

    def end(self) -> None:
        """Ends the process, whatever it is at."""
        if self.process:
            self.process.kill()

    def ask(self, trainer: Trainer) -> None:
        """Waits until it has compiled, or could not: then the caller, who tries the same, will say why."""
        self.process.stdin.write(json.dumps(_task(trainer)).encode() + b"\n")
        self.process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        """Waits until it says that it is ready."""
        if not self.process.stdout.readline():
            raise EOFError


_LOCK = threading.Lock()
_STARTED: list[_Compiler] = []
_IDLE: queue.SimpleQueue[_Compiler] = queue.SimpleQueue()


def serve() -> None:
    """What the process does: compiles the tasks that it reads from its input, until there are none."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    jax.devices()
    while True:
        answers.write(b"ready\n")
        answers.flush()
        line = sys.stdin.buffer.readline()
        if not line:
            return
        with contextlib.suppress(Exception):
            _trainer(json.loads(line)).compile()
        if remembered.too_many():
            remembered.forget()


def _task(trainer: Trainer) -> dict[str, Any]:
    """A trainer as JSON can hold it."""
    hull, split = trainer.structure.hull, trainer.split
    if isinstance(hull, Template):
        layers = [[type(layer).__name__, dataclasses.asdict(layer)] for layer in hull.layers]
        architecture = {"layers": layers, "in_shape": hull.in_shape}
    else:
        architecture = {"envelope": dataclasses.asdict(hull)}
    return {
        "settings": {name: getattr(jax.config, name) for name in executables.SETTINGS},
        "architecture": architecture,
        "policy": trainer.structure.policy,
        "recipe": dataclasses.asdict(trainer.program.recipe),
        "split": [[split.x_train.shape, split.x_val.shape], split.classes],
        "lanes": trainer.lanes,
        "scan": trainer.scan,
    }


def _trainer(task: dict[str, Any]) -> Trainer:
    """The trainer of a task, for compiling only; JAX is set as it was there."""
    for name, value in task["settings"].items():
        jax.config.update(name, value)
    found = task["architecture"]
    if "envelope" in found:
        hull = codebook.envelope(found["envelope"])
    else:
        layers = [getattr(lt, name)(**{k: _tuple(v) for k, v in fields.items()}) for name, fields in found["layers"]]
        hull = Template(layers, found["in_shape"])
    shapes, classes = task["split"]
    arrays = [
        jax.ShapeDtypeStruct(size, dtype)
        for shape in shapes
        for size, dtype in ((tuple(shape), np.uint8), (tuple(shape[:1]), np.int32))
    ]
    structure = Structure(hull, task["policy"])
    return Trainer(structure, Recipe(**task["recipe"]), Split(*arrays, classes), task["lanes"], task["scan"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
