"""The file: open for one transaction at a time, and waited for while another process has it.

DuckDB lets either one process write a file or any number read it. So nothing here stays open, who only reads says so,
and whoever has to wait looks again after a random while, so that no two of them keep missing the file together.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from jnas.errors import JnasError

# A SQLite file would have DuckDB fetch an extension from the network.
_CONFIG = {"autoinstall_known_extensions": "false"}
# DuckDB tells these from a foreign file by its text only; Windows has words of its own for a lock.
_BUSY = ("could not set lock", "used by another process", "different configuration")
_LONGEST_PAUSE = 0.05
_LONGEST_COURTESY = 0.1
_ONE_WRITER = threading.Lock()


@contextmanager
def reading(path: Path, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to read by, beside other readers; the file stays as it is.

    Args:
      path: the file.
      patience: seconds to wait for a process that writes.

    Raises:
      JnasError: the file cannot be opened, another process keeps it, or DuckDB cannot answer what is asked.
    """
    connection = _connect(path, patience, read_only=True)
    opened = time.monotonic()
    try:
        yield connection
    except duckdb.Error as error:
        raise JnasError(
            f"{path} cannot answer ({first_line(error)}): correct the query, or put a copy in the file's place if it "
            "is damaged."
        ) from error
    finally:
        connection.close()
        # Readers that take turns would keep a writer out for good: each leaves the file alone for as long as it had it.
        time.sleep(min(time.monotonic() - opened, _LONGEST_COURTESY))


@contextmanager
def writing(path: Path, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for one transaction: all of it is written, or nothing.

    Args:
      path: the file; made where there is none.
      patience: seconds to wait for other processes that have the file open.

    Raises:
      JnasError: the file cannot be opened, another process keeps it, or it could not be written, such as to a full
        disk; what was committed before is still there then.
    """
    # Threads share an instance of DuckDB, where the later one of two that write the same row fails.
    with _ONE_WRITER:
        connection = _connect(path, patience, read_only=False)
        try:
            connection.begin()
            yield connection
            connection.commit()
        except duckdb.Error as error:
            raise JnasError(
                f"{path} could not be written ({first_line(error)}): nothing of this write was kept, and all before "
                "it was; see that the disk has room, and run it again."
            ) from error
        finally:
            connection.close()


def first_line(error: Exception) -> str:
    """What an error says, fit for the middle of a sentence."""
    return str(error).strip().splitlines()[0].rstrip(".!: ")


def _connect(path: Path, patience: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _connect_once(path, read_only)
        except duckdb.Error as error:
            reason = first_line(error)
            busy = any(words in reason.lower() for words in _BUSY)
            if not busy and not _just_made(path):
                raise JnasError(
                    f"{path} cannot be opened as a DuckDB file ({reason}): name another file; this one was "
                    "left as it is."
                ) from error
            if time.monotonic() > deadline:
                raise JnasError(
                    f"{path} is open in another process ({reason}): close it there, or name another file."
                    if busy
                    else f"{path} is empty, which no DuckDB file is: delete it, or name another file."
                ) from error
            time.sleep(random.uniform(0, _LONGEST_PAUSE))


def _connect_once(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    # The real path: through a link DuckDB 1.1 would lock nothing within this process, and log to another file. And it
    # is always a path, where DuckDB takes ":memory:" and "md:" for something else.
    real = str(path.resolve())
    try:
        return duckdb.connect(real, read_only, _CONFIG)
    except duckdb.ConnectionException:
        return duckdb.connect(real)  # this process has it open, in a notebook's own way: this joins it


def _just_made(path: Path) -> bool:
    """Whether a file is empty, as one is while another process makes it."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
