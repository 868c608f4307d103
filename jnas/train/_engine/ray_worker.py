"""Workers on the machines of a Ray cluster: actors, one a GPU, or one a CPU where the cluster has no GPU.

Ray places them, and says when one is gone; what they do is in `worker`, and what is trained again in `scheduler`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jnas._validation import first_line
from jnas.data import Split
from jnas.errors import JnasError
from jnas.train._engine import workers
from jnas.train._engine.worker import serve
from jnas.train._engine.workers import Worker, WorkerDied, WorkerKilled, WorkerPool

_CONNECT_SECONDS = 30.0
_PING_SECONDS = 10.0
_SECONDS_BETWEEN_COUNTS = 2.0
_ARRAYS = ("x_train", "y_train", "x_val", "y_val")


class WorkerActor:
    """What Ray runs on another machine. The driver sends, then receives until it has its answer."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        self._replies: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, message: Any) -> None:
        """Takes a message of `worker.serve`."""
        if isinstance(message, Split):  # from the object store of this machine
            message = _replace_arrays(message, jax.device_put)
        self._messages.put(message)

    def receive(self) -> Any:
        """Returns the next answer, once it is there."""
        return self._replies.get()

    def ping(self) -> None:
        """Returns at once."""

    def _serve(self) -> None:
        try:
            serve(self._messages, self._replies.put)
        finally:
            os._exit(1)  # so that nobody waits for an answer


class RayWorker(Worker):
    """An actor that is ready; waits for a free device, and raises `WorkerDied` if it is not."""

    def __init__(self, pool: RayPool):
        self._pool = pool
        self._sent: Any = None
        self._actor = pool.start_actor()
        self.place = self.receive()

    def send(self, message: Any) -> None:
        try:
            self._sent = self._actor.send.remote(message)
        except Exception as error:
            if self.is_usable():  # then it was the message
                raise
            raise WorkerDied(first_line(error)) from error

    def _send_split(self, split: Split) -> None:
        """Sends a reference, as images go to each machine once."""
        try:
            self._pool.ray.get(self._actor.send.remote(self._pool.put(split)))
        except (Exception, SystemExit) as error:
            raise WorkerDied(first_line(error)) from error

    def receive(self) -> Any:
        ray = self._pool.ray
        try:
            if self._sent is not None:  # else an answer to what never came would be waited for
                ray.get(self._sent)
                self._sent = None
            return ray.get(self._actor.receive.remote())
        except ray.exceptions.OutOfMemoryError as error:
            raise WorkerKilled("Ray ended it, as memory ran out") from error
        except (Exception, SystemExit) as error:  # the latter where this process leaves the cluster
            raise WorkerDied(first_line(error)) from error

    def kill(self) -> None:
        with contextlib.suppress(Exception):  # the cluster may be gone
            self._pool.ray.kill(self._actor)

    def is_usable(self) -> bool:
        """Returns whether the actor answers, and has made few programs."""
        if self.num_programs >= workers.MAX_PROGRAMS:
            return False
        try:
            self._pool.ray.get(self._actor.ping.remote(), timeout=_PING_SECONDS)
        except Exception:
            return False
        return True


class RayPool(WorkerPool):
    """The workers of a cluster; the module `ray` is connected to it."""

    def __init__(self, ray: Any):
        super().__init__(lambda slot: RayWorker(self))
        self.ray = ray
        self._images: weakref.WeakKeyDictionary[Split, Any] = weakref.WeakKeyDictionary()
        self._put_lock = threading.Lock()
        self._devices, self._counted = ("CPU", 0), -float("inf")

    def count_devices(self) -> int:
        """Returns how many workers the cluster has room for now."""
        return self.devices()[1]

    def devices(self) -> tuple[str, int]:
        """Returns what workers compute on ("GPU", or "CPU" where there is none), and for how many there is room now.

        The cluster is asked at most every 2 s; where it does not answer, it counts as before.
        """
        if time.monotonic() > self._counted + _SECONDS_BETWEEN_COUNTS:
            with contextlib.suppress(Exception):
                found = self.ray.cluster_resources()
                kind = "GPU" if found.get("GPU", 0) >= 1 else "CPU"
                self._devices = kind, int(found.get(kind, 0))
            self._counted = time.monotonic()
        return self._devices

    def start_actor(self) -> Any:
        """Returns a new actor; it may not run yet."""
        if self.devices()[0] == "GPU":
            resources = {"num_gpus": 1, "num_cpus": 0}
            environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        else:
            resources = {"num_gpus": 0, "num_cpus": 1}
            # One heap of glibc for all threads from the start: an actor serves in a thread, whose own heap would be in
            # blocks of 64 MiB at most (see `_runtime.malloc`).
            environment = {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1", "MALLOC_ARENA_MAX": "1"}
        actor = self.ray.remote(WorkerActor).options(runtime_env={"env_vars": environment}, **resources)
        return actor.remote()

    def put(self, split: Split) -> Any:
        """Returns the reference of images that are in the cluster's object store."""
        with self._put_lock:
            if split not in self._images:
                self._images[split] = self.ray.put(_replace_arrays(split, np.asarray))
            return self._images[split]


_pools: dict[tuple[str, str], RayPool] = {}


def ray_pool(address: str) -> RayPool:
    """Returns the workers of the cluster "ray" (the one that runs here, or that of RAY_ADDRESS) or "ray://HOST:PORT".

    Raises a JnasError if Ray is not installed, or no cluster answers.
    """
    ray = _connect(address)
    key = address, ray.get_runtime_context().get_job_id()
    return _pools.setdefault(key, RayPool(ray))


def _connect(name: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise JnasError(f"Ray must be installed for workers {name}: pip install 'jnas[ray]'.") from error
    if ray.is_initialized():
        return ray
    address, errors = "auto" if name == "ray" else name, []

    def connect() -> None:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            errors.append(error)

    # In a thread of its own, as it may wait for minutes.
    thread = threading.Thread(target=connect, name="jnas-ray", daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    if errors or thread.is_alive():
        reason = first_line(errors[0]) if errors else f"no answer in {_CONNECT_SECONDS:g} s"
        raise JnasError(
            f"workers must name a Ray cluster that runs, got {name!r} ({reason}); start one with `ray start --head`."
        )
    return ray


def _replace_arrays(split: Split, function: Callable[[Any], Any]) -> Split:
    return dataclasses.replace(split, **{name: function(getattr(split, name)) for name in _ARRAYS})
