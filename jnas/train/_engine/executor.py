"""Where groups train: in this process, or in workers. It is decided once for a call, in `choose_executor`.

On a CPU they train in worker processes: a small network has little for several cores to share, so each core trains
another one, and nothing that XLA and JAX keep of a program stays in the caller's process. One GPU is the caller's: it
trains, and workers compile the next programs ahead into the cache on disk. Of several GPUs each has a worker. Workers
on other machines come from Ray or SLURM.

**Threads and rounding.** XLA sums in another order with another number of threads, so a row may differ in its last
digits. On this machine's CPU the number of workers, and with it of threads, follows from the programs that a call asks
for (not from those that the store lacks), the machine's cores and memory, and `workers`: so the same call gives the
same rows on the same machine.
"""

import contextlib
import functools
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import jax

from jnas._runtime.compilation_cache import MAX_JAX_CACHE_BYTES, is_own_jax_cache, jax_cache_dir
from jnas._runtime.devices import Place, available_memory, num_cores
from jnas._runtime.jax_config import read_jax_config
from jnas._validation import refuse, shown, to_int
from jnas.data import Split
from jnas.errors import JnasError
from jnas.train._engine.group_trainer import CompileReply, GroupSpec, GroupTrainer, OnEpoch, Outcome
from jnas.train._engine.jobs import failure_of
from jnas.train._engine.process_worker import ProcessWorker
from jnas.train._engine.ray_worker import RayPool, ray_pool
from jnas.train._engine.slurm_worker import slurm_pool
from jnas.train._engine.worker import TrainRequest
from jnas.train._engine.workers import Worker, WorkerDied, WorkerPool
from jnas.train._trainer import Trainer, TrainingRun

_WORKER_BYTES = 1 << 30
"""Bytes of the machine per worker: it uses half of that before it trains."""
_MIN_PROGRAMS_TO_COMPILE_AHEAD = 8
"""Programs from which on workers that compile for a GPU are worth the seconds that they take to start."""
_MAX_COMPILE_WORKERS = 4
_GPU_FRACTION = 0.9
"""Share of a GPU's memory that its workers may take; the caller's process has the rest."""


def to_workers(name: str, value: object) -> str:
    """Returns where to train as text: a number of worker processes, "ray", "ray://HOST:PORT" or "slurm:COUNT"."""
    if not isinstance(value, str):
        with contextlib.suppress(JnasError):
            value = str(to_int(name, value, 0))
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,4}|ray|ray://[^:/]+:\d+|slurm:[1-9]\d{0,3}", value):
        refuse(name, "a number of processes, ray, ray://HOST:PORT or slurm:COUNT", value)
    return value


class RemoteGroupTrainer:
    """Has a worker do what `GroupTrainer` does."""

    can_abort = True

    def __init__(self, pool: WorkerPool, worker: Worker, spec: GroupSpec, split: Split):
        self._pool, self._worker, self._spec, self._split = pool, worker, spec, split
        self._is_idle = True

    @property
    def place(self) -> Place:
        """Where the worker computes."""
        return self._worker.place

    def compile(self) -> CompileReply:
        """Has the worker compile the program; raises `WorkerDied`."""
        worker = self._worker
        worker.num_programs += 1
        try:
            worker.send_images(self._split)
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

    Where workers are on devices of their own, `count_devices` says how many there are now: they may come and go. Else
    there are `num_workers`, which share the memory of this machine.
    """

    def __init__(
        self,
        num_workers: int = 1,
        train_pool: WorkerPool | None = None,
        ahead_pool: WorkerPool | None = None,
        count_devices: Callable[[], int] | None = None,
    ):
        self._num_workers, self._train_pool, self._ahead_pool = num_workers, train_pool, ahead_pool
        self._count_devices = count_devices

    @property
    def shares_memory(self) -> bool:
        """Whether groups that train at the same time are on the same device."""
        return self._count_devices is None

    @property
    def num_training(self) -> int:
        """How many groups train at the same time."""
        if self._train_pool is None:
            return 1
        if self._count_devices is None:
            return self._num_workers
        count = self._count_devices()
        self._train_pool.start(count)
        return max(count, 1)

    @property
    def num_ready(self) -> int:
        """How many groups may begin at once: workers that are wanted may not be there yet."""
        return self.num_slots if self.shares_memory or not self._train_pool else max(1, self._train_pool.num_ready)

    @property
    def num_slots(self) -> int:
        """How many groups compile, wait or train at the same time."""
        return self.num_training if self._train_pool else self._num_workers + 1

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
        if pool is None or trainer.spec.is_cached():
            return
        pool.start(self._num_workers)  # those that have ended
        if (worker := pool.acquire(lambda: True)) is None:
            return
        worker.num_programs += 1
        # Nothing is lost: what a worker cannot be sent, or did not compile, is compiled here.
        with contextlib.suppress(Exception):
            worker.send(trainer.spec)
            worker.receive()
        pool.release(worker, is_idle=True)


def choose_executor(workers: str | int | None, num_programs: int, split: Split) -> Executor:
    """Returns what trains this many different programs; the workers are started."""
    workers = _given(workers)
    if found := _remote_pool(workers):
        pool, count_devices = found
        if num_programs == 1 and isinstance(pool, RayPool) and pool.devices()[0] == "CPU":
            return Executor()  # an actor has one core, and this machine has several
        return Executor(train_pool=pool, count_devices=count_devices)
    requested = None if workers is None else int(workers)
    if jax.default_backend() != "cpu":
        return _choose_on_gpus(requested, num_programs)
    num_workers, num_threads = plan_workers(requested, num_programs, split.x_train.nbytes + split.x_val.nbytes)
    return _start(cpu_pool(num_threads), num_workers) if num_workers else Executor()


def wait_for_workers(workers: str | None, should_stop: Callable[[], bool]) -> float:
    """Returns the seconds until a worker of another machine was there, 0 where none is asked for.

    Raises a JnasError if none can be started.
    """
    start, found = time.monotonic(), _remote_pool(_given(workers))
    if found is None:
        return 0.0
    pool, count_devices = found
    try:
        while not (count := count_devices()) and not should_stop():
            time.sleep(1.0)
        pool.start(count)
        pool.wait(should_stop)
    except WorkerDied as error:
        raise JnasError(f"workers must be such that one can be started, got {shown(workers)} ({error}).") from error
    return time.monotonic() - start


def _given(workers: str | int | None) -> str | None:
    given = os.environ.get("JNAS_WORKERS") or None if workers is None else workers
    return None if given is None else to_workers("JNAS_WORKERS", given)


def _remote_pool(workers: str | None) -> tuple[WorkerPool, Callable[[], int]] | None:
    """The workers of other machines, and how to count the devices that they have there."""
    if workers and workers.startswith("ray"):
        pool = ray_pool(workers)
        return pool, pool.count_devices
    if workers and workers.startswith("slurm"):
        count = int(workers.partition(":")[2])
        return slurm_pool(count), lambda: count
    return None


def _choose_on_gpus(requested: int | None, num_programs: int) -> Executor:
    gpus = gpu_environments()
    if requested == 0:
        return Executor()
    if (count := requested or len(gpus)) > 1:
        return _start(gpu_pool(count), count, has_devices=True)
    num_ahead = min(_MAX_COMPILE_WORKERS, num_cores() // 4)
    if not num_ahead or num_programs < _MIN_PROGRAMS_TO_COMPILE_AHEAD:
        return Executor()
    pool = ahead_pool()
    pool.start(num_ahead)  # nobody waits for them
    return Executor(num_ahead, ahead_pool=pool)


def _start(pool: WorkerPool, count: int, has_devices: bool = False) -> Executor:
    pool.start(count)
    try:
        pool.wait()
    except WorkerDied as error:
        warnings.warn(f"jnas trains in this process, as no worker process could be started: {error}.", stacklevel=3)
        return Executor()
    return Executor(count, pool, count_devices=(lambda: count) if has_devices else None)


def plan_workers(requested: int | None, num_programs: int, image_bytes: int) -> tuple[int, int]:
    """Returns how many workers train this many programs on a CPU, and with how many threads each; (0, 1) for none.

    A worker has at least two programs to train, so that all are busy until the end; a single program has all cores.
    """
    cores = num_cores()
    fits = max(1, available_memory(jax.local_devices()[0]) // (_WORKER_BYTES + 2 * image_bytes))
    limit = min(cores, fits) if requested is None else requested
    num_workers = min(limit, max(1, num_programs // 2))
    return num_workers, max(1, cores // max(1, num_workers))


def gpu_environments() -> list[dict[str, str]]:
    """Returns for each GPU that this process sees the variables of a process that sees no other."""
    count = jax.local_device_count()
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = visible if len(visible) == count else map(str, range(count))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


@functools.cache
def cpu_pool(num_threads: int) -> WorkerPool:
    """Returns the workers that train on this machine's CPU with this many threads each."""

    def environment() -> dict[str, str]:
        folder = jax_cache_dir(num_threads)  # None where no folder can be written, there either
        cache = _cache_environment() | {"JAX_COMPILATION_CACHE_DIR": str(folder or "")}
        return cache | {"PJRT_NPROC": str(num_threads)}

    return WorkerPool(lambda slot: ProcessWorker(environment))


@functools.cache
def gpu_pool(count: int) -> WorkerPool:
    """Returns so many workers that train on the GPUs of this machine, each on one; several may share one."""

    def environment(slot: int) -> dict[str, str]:
        gpus = gpu_environments()
        fraction = _GPU_FRACTION / -(-count // len(gpus))
        memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{fraction:.2f}"}
        return _cache_environment() | memory | {"JNAS_TUNE_MALLOC": "0"} | gpus[slot % len(gpus)]

    return WorkerPool(lambda slot: ProcessWorker(lambda: environment(slot)))


@functools.cache
def ahead_pool() -> WorkerPool:
    """Returns the workers that compile for the GPU of this process, whose memory is for training."""
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JNAS_TUNE_MALLOC": "0"}
    return WorkerPool(lambda slot: ProcessWorker(lambda: _cache_environment() | memory))


def _cache_environment() -> dict[str, str]:
    is_own = is_own_jax_cache()
    seconds = 0.0 if is_own else read_jax_config("jax_persistent_cache_min_compile_time_secs")
    size = MAX_JAX_CACHE_BYTES if is_own else read_jax_config("jax_compilation_cache_max_size")
    return {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(seconds),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(size),
        "JAX_ENABLE_COMPILATION_CACHE": str(read_jax_config("jax_enable_compilation_cache")).lower(),
    }
