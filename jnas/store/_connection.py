"""DuckDB connections of one transaction each: DuckDB allows either one writing process or any number of readers."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from jnas.errors import JnasError

# Without it, DuckDB downloads an extension when it is given a SQLite file.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
# DuckDB reports a lock by its text only; the second is Windows' text.
_LOCK_ERRORS = ("could not set lock", "used by another process", "different configuration")
_MAX_BACKOFF = 0.05
_MAX_YIELD = 0.1
_WRITER_LOCK = threading.Lock()


@contextmanager
def read_connection(path: Path, lock_timeout: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yields a connection that only reads, possibly beside other readers; waits `lock_timeout` seconds for a writer."""
    connection = _connect(path, lock_timeout, read_only=True)
    start = time.monotonic()
    try:
        yield connection
    except duckdb.Error as error:
        raise JnasError(
            f"{path} cannot answer ({first_line(error)}): correct the query, or put a copy in the file's place if it "
            "is damaged."
        ) from error
    finally:
        connection.close()
        # Readers that alternate would lock a writer out for good: each leaves the file free for as long as it read.
        time.sleep(min(time.monotonic() - start, _MAX_YIELD))


@contextmanager
def write_connection(path: Path, lock_timeout: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yields a connection for one transaction, which is written as a whole or not at all; creates a missing file."""
    # Threads share an instance of DuckDB, in which the second of two transactions that write the same row fails.
    with _WRITER_LOCK:
        connection = _connect(path, lock_timeout, read_only=False)
        try:
            connection.begin()
            yield connection
            connection.commit()
        except duckdb.Error as error:
            raise JnasError(
                f"{path} could not be written ({first_line(error)}): nothing of this write was kept, everything before "
                "it was; make sure that the disk has room, and run it again."
            ) from error
        finally:
            connection.close()


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text, without its final punctuation."""
    return str(error).strip().splitlines()[0].rstrip(".!: ")


def _connect(path: Path, lock_timeout: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + lock_timeout
    while True:
        try:
            return _connect_once(path, read_only)
        except duckdb.Error as error:
            reason = first_line(error)
            is_locked = any(text in reason.lower() for text in _LOCK_ERRORS)
            # A file is empty while another process creates it.
            is_new = os.path.isfile(path) and not os.path.getsize(path)
            if not is_locked and not is_new:
                raise JnasError(
                    f"{path} cannot be opened as a DuckDB file ({reason}): name another file; this one was not changed."
                ) from error
            if time.monotonic() > deadline:
                raise JnasError(
                    f"{path} is open in another process ({reason}): close it there, or name another file."
                    if is_locked
                    else f"{path} must be a DuckDB file, got an empty file: delete it, or name another file."
                ) from error
            time.sleep(random.uniform(0, _MAX_BACKOFF))


def _connect_once(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    # The resolved path: through a link DuckDB 1.1 does not lock within this process, and logs to another file. Nor does
    # it look like ":memory:" or "md:...", which DuckDB takes for something else.
    resolved = str(path.resolve())
    try:
        return duckdb.connect(resolved, read_only, _CONFIG)
    except duckdb.ConnectionException:
        # This process, such as a notebook, has the file open with other options: share that connection's instance.
        return duckdb.connect(resolved)
