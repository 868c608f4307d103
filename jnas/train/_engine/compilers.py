"""Processes that compile ahead, into the cache, from where the caller's own `compile` takes the programs.

In one process XLA compiles little more than one program at a time for a GPU, however many threads ask it to, and what
is traced holds the lock of Python that training waits for (benchmarks/RESULTS.md). Processes do not hold one another
up. They change when a program is ready, never what it is: where there is none, or one fails, the caller compiles by
itself.
"""

from __future__ import annotations

import contextlib
import time

import jax

from jnas.train._engine import executable_cache as executables
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine import worker_process as process
from jnas.train._engine.memory_plan import compile_processes
from jnas.train._trainer import Trainer

WORTH = 8
"""Programs to compile from which on a process is worth the seconds that its start takes, and half a GiB of memory."""
# The GPU's memory is for training.
POOL = process.Pool(__name__, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JNAS_KEEP_MEMORY": "0"})


def count() -> int:
    """How many processes are to compile: none without a cache that programs are kept in.

    Raises:
      JnasError: JNAS_PROCESSES in the environment is no number.
    """
    return process.count(compile_processes(jax.default_backend())) if executables.folder() else 0


def start() -> None:
    """Starts those that are missing; nobody waits for it."""
    POOL.start(count())


def compile_ahead(trainer: Trainer) -> float:
    """Has an idle process compile what a trainer needs into the cache, unless it is there already.

    Returns:
      The seconds that it took; 0 where no process is idle.
    """
    if trainer.compiled_before() or (compiler := POOL.take()) is None:
        return 0.0
    begun = time.perf_counter()
    try:
        compiler.send(task_of(trainer))
        compiler.receive()  # it has compiled, or could not: then the caller, who tries the same, will say why
    except process.Ended:
        pass  # it is not idle any more
    except Exception:  # what was to be sent is no message, and was not sent: the caller compiles it
        POOL.give_back(compiler)
    else:
        POOL.give_back(compiler)
    return time.perf_counter() - begun


def task_of(trainer: Trainer) -> tuple:
    """What a process needs to make the same trainer, for compiling only."""
    arguments = trainer.structure, trainer.program.recipe, trainer.split.shapes(), trainer.lanes, trainer.scan
    return executables.settings(), arguments


def serve() -> None:
    """What the process does: compiles whatever it is told to."""
    caller = process.Caller()
    jax.devices()
    while True:
        caller.send("ready")
        settings, arguments = caller.receive()
        with contextlib.suppress(Exception):
            executables.apply(settings)
            Trainer(*arguments).compile()
        if remembered.too_many():
            remembered.forget()
