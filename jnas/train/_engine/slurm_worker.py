"""Workers that are jobs of SLURM: submitit submits them, and they dial the driver when they begin.

What a job gets is said by sbatch's own variables, such as SBATCH_PARTITION, SBATCH_GRES and SBATCH_TIMELIMIT. Messages
go by a socket of the driver, which only who knows its key can talk to; the key lies in a folder of the user.
"""

import atexit
import contextlib
import functools
import os
import queue
import secrets
import shutil
import socket
import threading
from multiprocessing import connection
from pathlib import Path
from typing import Any

from jnas._runtime.compilation_cache import cache_dir
from jnas._validation import shown
from jnas.errors import JnasError
from jnas.train._engine.worker import dial, keep_alive, shut_down
from jnas.train._engine.workers import Worker, WorkerDied, WorkerPool

_JOB_MINUTES = 24 * 60
"""Time limit of a job, unless SBATCH_TIMELIMIT says another."""
_POLL_SECONDS = 2.0


class Listener:
    """Waits at a port of this machine for workers, and gives each connection to who waits for its token."""

    def __init__(self) -> None:
        self.key = secrets.token_bytes(32)
        self._waiting: dict[str, queue.SimpleQueue] = {}
        # JNAS_DRIVER_HOST is the name by which workers reach this machine, where that is not the machine's own.
        host = os.environ.get("JNAS_DRIVER_HOST") or socket.gethostname()
        # At all its addresses: the name may be that of another one here than elsewhere. On this machine, at that alone.
        own = host if host.startswith("127.") else ""
        self._listener = connection.Listener((own, 0), backlog=256)
        self.address = host, self._listener.address[1]
        threading.Thread(target=self._accept, name="jnas-listener", daemon=True).start()

    def expect(self, token: str) -> queue.SimpleQueue:
        """Returns a queue into which the connection with this token comes."""
        return self._waiting.setdefault(token, queue.SimpleQueue())

    def _accept(self) -> None:
        while True:
            try:
                found = self._listener.accept()
            except OSError:  # who knocked has gone
                continue
            threading.Thread(target=self._greet, args=(found,), daemon=True).start()

    def _greet(self, found: connection.Connection) -> None:
        try:
            connection.deliver_challenge(found, self.key)  # pyright: ignore[reportAttributeAccessIssue]
            connection.answer_challenge(found, self.key)  # pyright: ignore[reportAttributeAccessIssue]
            keep_alive(found)
            self._waiting.pop(found.recv()).put(found)
        except Exception:  # it does not know the key, or is no worker
            found.close()


class SlurmWorker(Worker):
    """A job that has dialled; waits until it begins, and raises `WorkerDied` if it ends before."""

    def __init__(self, executor: Any, listener: Listener):
        self._connection: connection.Connection | None = None
        token = secrets.token_hex(16)
        arrived = listener.expect(token)
        self._job = executor.submit(dial, listener.address, listener.key, token)
        atexit.register(self.kill)
        try:
            self._connection = self._wait(arrived)
            self.place = self.receive()
        except BaseException:
            self.kill()
            raise

    def send(self, message: Any) -> None:
        assert self._connection is not None
        try:
            self._connection.send(message)
        except OSError as error:
            raise WorkerDied("the connection to it is lost") from error

    def receive(self) -> Any:
        assert self._connection is not None
        try:
            return self._connection.recv()
        except Exception as error:
            raise WorkerDied("the connection to it is lost") from error

    def kill(self) -> None:
        """Ends the job."""
        atexit.unregister(self.kill)
        if self._connection is not None:
            with contextlib.suppress(OSError):  # it may have ended; who waits for an answer learns of it at once
                shut_down(self._connection)
                self._connection.close()
        with contextlib.suppress(Exception):
            self._job.cancel()

    def is_usable(self) -> bool:
        """Returns whether it is connected; however many programs it has made, as another job may wait for long."""
        try:
            return self._connection is not None and not self._connection.poll()
        except OSError:
            return False

    def _wait(self, arrived: queue.SimpleQueue) -> connection.Connection:
        while True:
            with contextlib.suppress(queue.Empty):
                return arrived.get(timeout=_POLL_SECONDS)
            if self._job.done():
                said = (self._job.stderr() or "").strip().splitlines() or ["it printed nothing"]
                raise WorkerDied(f"job {self._job.job_id} ended before it was ready ({shown(said[-1])})")


@functools.cache
def slurm_pool(count: int) -> WorkerPool:
    """Returns a pool of so many jobs; raises a JnasError where none can be submitted."""
    executor, listener = make_executor(count), Listener()
    return WorkerPool(lambda slot: SlurmWorker(executor, listener))


def make_executor(count: int) -> Any:
    """Returns what submits jobs to SLURM; raises a JnasError where there is no SLURM, or no submitit."""
    try:
        import submitit
    except ImportError as error:
        raise JnasError(f"submitit must be installed for workers slurm:{count}: pip install 'jnas[slurm]'.") from error
    if shutil.which("sbatch") is None:
        raise JnasError(f"sbatch must be found for workers slurm:{count}; run jnas on a machine that submits jobs.")
    executor = submitit.AutoExecutor(job_folder(), cluster="slurm")
    executor.update_parameters(name="jnas", timeout_min=_JOB_MINUTES)
    return executor


def job_folder() -> Path:
    """Returns a new folder for what jobs read and print, which only the user may open; it goes with this process."""
    folder = (cache_dir("slurm") or Path.cwd() / "slurm") / secrets.token_hex(8)
    folder.mkdir(parents=True, mode=0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
