"""What a worker process does: it compiles, and on a CPU trains, whatever its parent sends.

Its messages: a `Split` is kept; a `ProgramSpec` is compiled into the cache on disk, and answered by None; a `GroupSpec`
is compiled, and answered by a `CompileReply`; a `TrainRequest` trains the group, and is answered by the number of each
epoch, and by a list of outcomes for each chunk of trials.
"""

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any, NamedTuple

import jax

from jnas._runtime.compilation_cache import use_compilation_cache
from jnas._runtime.malloc import trim_malloc, tune_malloc
from jnas.data import Split
from jnas.train._compiled import ProgramSpec
from jnas.train._engine.group_trainer import GroupSpec, GroupTrainer
from jnas.train._trainer import TrainingRun

_IDLE_SECONDS = 1.0
"""Seconds without a message after which a worker returns free memory to the system."""


class TrainRequest(NamedTuple):
    """Arguments of `GroupTrainer.train`."""

    runs: list[TrainingRun | None]
    until: int
    keep: bool


def worker_main() -> None:
    """Serves the parent until it ends."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message

    def send(message: Any) -> None:
        pickle.dump(message, output)
        output.flush()

    messages: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    # Systems send it to all processes of a job; a worker goes on until its parent has what it needs.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tune_malloc()
    use_compilation_cache()
    jax.devices()
    send("ready")
    split: Split | None = None
    trainer: GroupTrainer | None = None
    while True:
        try:
            message = messages.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            trim_malloc()
            message = messages.get()
        match message:
            case Split():
                split = message
            case ProgramSpec():
                with contextlib.suppress(Exception):  # the parent, which tries the same, will say why
                    message.compile()
                send(None)
            case GroupSpec():
                assert split is not None
                trainer = GroupTrainer(message, split)
                send(trainer.compile())
            case TrainRequest():
                assert trainer is not None
                for outcomes in trainer.train(message.runs, message.until, message.keep, send):
                    send(outcomes)
                trainer = None


def _read(messages: queue.SimpleQueue) -> None:
    """Reads messages until the parent has ended, or sends a class that only its script knows; then nobody waits."""
    with contextlib.suppress(Exception):
        while True:
            messages.put(pickle.load(sys.stdin.buffer))
    os._exit(1)
