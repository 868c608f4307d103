"""What a worker does: it compiles, and trains, whatever its driver sends.

Its messages: a `Split` is kept; a `ProgramSpec` is compiled into the cache on disk, and answered by None; a `GroupSpec`
is compiled, and answered by a `CompileReply`; a `TrainRequest` trains the group, and is answered by the number of each
epoch, and by a list of outcomes for each chunk of trials. The first message of a worker is its `Place`.
"""

import contextlib
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from typing import Any, NamedTuple

from jnas._runtime.compilation_cache import use_cache_of_threads
from jnas._runtime.devices import here, num_cores
from jnas._runtime.jax_config import own_settings
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
    """Serves the driver that has started this process, by pipes, until it ends."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message

    def send(message: Any) -> None:
        pickle.dump(message, output)
        output.flush()

    messages = _read_all(lambda: pickle.load(sys.stdin.buffer))
    # Systems send it to all processes of a job; a worker goes on until its driver has what it needs.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(messages, send)


def dial(address: tuple[str, int], key: bytes, token: str) -> None:
    """Serves the driver that listens at an address, until it ends; `token` says for which slot this worker is."""
    connection = Client(address, authkey=key)
    keep_alive(connection)
    connection.send(token)
    serve(_read_all(connection.recv), connection.send)


def keep_alive(connection: Connection) -> None:
    """Has the system notice within two minutes that the other end is gone, also where power fails."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):  # not every system has them
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def shut_down(connection: Connection) -> None:
    """Ends a connection for both ends, also where a thread reads from it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def serve(messages: queue.SimpleQueue, send: Callable[[Any], None]) -> None:
    """Does what messages say, one after the other."""
    tune_malloc()
    use_cache_of_threads(int(os.environ.get("PJRT_NPROC", num_cores())))
    with own_settings():  # whatever the environment says
        send(here())
        _answer(messages, send)


def _answer(messages: queue.SimpleQueue, send: Callable[[Any], None]) -> None:
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
                with contextlib.suppress(Exception):  # the driver, which tries the same, will say why
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


def _read_all(read: Callable[[], Any]) -> queue.SimpleQueue:
    """Returns a queue of what is read until the driver has ended, or sends a class that only its script knows.

    Then nobody waits for this process.
    """
    messages: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        with contextlib.suppress(Exception):
            while True:
                messages.put(read())
        os._exit(1)

    threading.Thread(target=run, daemon=True).start()
    return messages
