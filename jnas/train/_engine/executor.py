"""Where groups train: in this process, or in worker processes. It is decided once for a call, in `choose_executor`.

On a CPU they train in workers: a small network has little for several cores to share, so each core trains another one,
and nothing that XLA and JAX keep of a program stays in the caller's process. On a GPU one process has the device: it
trains, and workers compile the next programs ahead into the cache on disk.

**Threads and rounding.** XLA sums in another order with another number of threads, so a row may differ in its last
digits. The number of workers, and with it of threads, follows from the programs that a call asks for (not from those
that the store lacks), the machine's cores and memory, and JNAS_NUM_WORKERS: so the same call gives the same rows on the
same machine.
"""

import contextlib
import functools
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import jax

from jnas._runtime.compilation_cache import MAX_JAX_CACHE_BYTES, is_own_jax_cache, jax_cache_dir
from jnas._runtime.devices import available_memory, num_cores
from jnas._runtime.jax_config import read_jax_config
from jnas._validation import to_int
from jnas.data import Split
from jnas.train._engine.group_trainer import CompileReply, GroupSpec, GroupTrainer, OnEpoch, Outcome
from jnas.train._engine.jobs import failure_of
from jnas.train._engine.worker import TrainRequest
from jnas.train._engine.worker_process import Worker, WorkerDied, WorkerPool
from jnas.train._trainer import Trainer, TrainingRun

_WORKER_BYTES = 1 << 30
"""Bytes of the machine per worker: it uses half of that before it trains."""
_MIN_PROGRAMS_TO_COMPILE_AHEAD = 8
"""Programs from which on workers that compile for a GPU are worth the seconds that they take to start."""
_MAX_COMPILE_WORKERS = 4


class RemoteGroupTrainer:
    """Has a worker do what `GroupTrainer` does."""

    can_abort = True

    def __init__(self, pool: WorkerPool, worker: Worker, spec: GroupSpec, split: Split):
        self._pool, self._worker, self._spec, self._split = pool, worker, spec, split
        self._is_idle = True

    def compile(self) -> CompileReply:
        """Has the worker compile the program; raises `WorkerDied`."""
        worker = self._worker
        worker.num_programs += 1
        try:
            if worker.cached_split() is not self._split:
                worker.send(self._split)
                worker.cached_split = weakref.ref(self._split)
            worker.send(self._spec)
        except WorkerDied:
            raise
        except Exception as error:  # it cannot be pickled, such as a template of a class in the caller's function
            return CompileReply(failure_of(error))
        self._is_idle = False
        reply = worker.receive()
        self._is_idle = True
        return reply

    def train(
        self, runs: Sequence[TrainingRun | None], until: int, keep: bool, on_epoch: OnEpoch
    ) -> Iterator[list[Outcome]]:
        """Has the worker train; raises `WorkerDied`."""
        remaining = len(runs)
        self._is_idle = False
        self._worker.send(TrainRequest(list(runs), until, keep))
        while remaining:
            message = self._worker.receive()
            if isinstance(message, int):
                on_epoch(message)
                continue
            remaining -= len(message)
            self._is_idle = not remaining
            yield message

    def abort(self) -> None:
        """Ends the worker."""
        self._worker.kill()

    def close(self) -> None:
        """Gives the worker back."""
        self._pool.release(self._worker, self._is_idle)


class Executor:
    """Gives each group what trains it: here, one group at a time, or in a worker of `train_pool`.

    `num_slots` groups compile, wait or train at the same time; `num_training` of these train.
    """

    def __init__(
        self, num_workers: int = 1, train_pool: WorkerPool | None = None, ahead_pool: WorkerPool | None = None
    ):
        self._train_pool, self._ahead_pool = train_pool, ahead_pool
        self.num_training = num_workers if train_pool else 1
        self.num_slots = num_workers if train_pool else num_workers + 1

    def open(
        self, spec: GroupSpec, split: Split, should_stop: Callable[[], bool]
    ) -> GroupTrainer | RemoteGroupTrainer | None:
        """Returns what trains a group, or None if `should_stop` ends the wait for a worker; raises `WorkerDied`."""
        if self._train_pool is None:
            return GroupTrainer(spec, split, self._compile_ahead)
        worker = self._train_pool.acquire(should_stop)
        return None if worker is None else RemoteGroupTrainer(self._train_pool, worker, spec, split)

    def _compile_ahead(self, trainer: Trainer) -> None:
        """Has a worker compile a trainer's programs into the cache, if one is idle."""
        pool = self._ahead_pool
        if pool is None or trainer.spec.is_cached() or (worker := pool.acquire(lambda: True)) is None:
            return
        worker.num_programs += 1
        # Nothing is lost: what a worker cannot be sent, or did not compile, is compiled here.
        with contextlib.suppress(Exception):
            worker.send(trainer.spec)
            worker.receive()
        pool.release(worker, is_idle=True)


def choose_executor(num_programs: int, split: Split) -> Executor:
    """Returns what trains this many different programs; the workers are started."""
    if jax.default_backend() != "cpu":
        count = _requested_workers(min(_MAX_COMPILE_WORKERS, num_cores() // 4))
        if not count or num_programs < _MIN_PROGRAMS_TO_COMPILE_AHEAD:
            return Executor()
        pool = worker_pool(None)
        pool.start(count)  # nobody waits for them
        return Executor(count, ahead_pool=pool)
    num_workers, num_threads = plan_workers(num_programs, split.x_train.nbytes + split.x_val.nbytes)
    if not num_workers:
        return Executor()
    pool = worker_pool(num_threads)
    pool.start(num_workers)
    try:
        pool.wait()
    except WorkerDied as error:
        warnings.warn(f"jnas trains in this process, as no worker process could be started: {error}.", stacklevel=2)
        return Executor()
    return Executor(num_workers, pool)


def plan_workers(num_programs: int, image_bytes: int) -> tuple[int, int]:
    """Returns how many workers train this many programs on a CPU, and with how many threads each; (0, 1) for none.

    A worker has at least two programs to train, so that all are busy until the end; a single program has all cores.
    """
    cores = num_cores()
    fits = max(1, available_memory(jax.local_devices()[0]) // (_WORKER_BYTES + 2 * image_bytes))
    limit = _requested_workers(min(cores, fits))
    num_workers = min(limit, max(1, num_programs // 2))
    return num_workers, max(1, cores // max(1, num_workers))


def _requested_workers(default: int) -> int:
    text = os.environ.get("JNAS_NUM_WORKERS", "")
    number = int(text) if text.isdecimal() else text
    return to_int("JNAS_NUM_WORKERS", number, 0, hint="leave it unset for all cores") if text else default


@functools.cache
def worker_pool(num_threads: int | None) -> WorkerPool:
    """Returns the workers that train on a CPU with this many threads each; None: those that compile for a GPU."""

    def environment() -> dict[str, str]:
        is_own = is_own_jax_cache()
        seconds = 0.0 if is_own else read_jax_config("jax_persistent_cache_min_compile_time_secs")
        size = MAX_JAX_CACHE_BYTES if is_own else read_jax_config("jax_compilation_cache_max_size")
        cache = {
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(seconds),
            "JAX_COMPILATION_CACHE_MAX_SIZE": str(size),
            "JAX_ENABLE_COMPILATION_CACHE": str(read_jax_config("jax_enable_compilation_cache")).lower(),
        }
        if num_threads is None:  # the GPU's memory is for training
            return cache | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JNAS_TUNE_MALLOC": "0"}
        folder = jax_cache_dir(num_threads)  # None where no folder can be written, there either
        return cache | {"PJRT_NPROC": str(num_threads), "JAX_COMPILATION_CACHE_DIR": str(folder or "")}

    return WorkerPool(environment)
