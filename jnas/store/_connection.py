"""DuckDB connections of one transaction each: DuckDB allows either one writing process or any number of readers."""

import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from jnas import _validation
from jnas.errors import JnasError

# Without it, DuckDB downloads an extension when it is given a SQLite file.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
# DuckDB reports what is wrong by its text only. Another process has the file, on Linux and on Windows; this one has it
# with other options; the drive has no locks; no room is left; the file is not what was written.
_LOCKED = re.compile("conflicting lock|lock is already held|used by another process", re.I)
_OTHER_OPTIONS = re.compile("different configuration", re.I)
_NO_LOCKS = re.compile("could not set lock", re.I)
_NO_ROOM = re.compile("no space|file too large|quota|could not write|failed to write", re.I)
_DAMAGED = re.compile(
    "corrupt|checksum|not read enough|deserializ|internal error|fatal|block|out of range|offset", re.I
)
_OTHER_DUCKDB = re.compile("version number|storage version|newer version", re.I)
_MAX_BACKOFF = 0.05
_MAX_YIELD = 0.1
_MAX_EMPTY = 1.0
"""Seconds after which a file that is still empty is not one that another process creates."""
_WRITER_LOCK = threading.Lock()

_DUCKDB_MARK = slice(8, 12), b"DUCK"


@contextmanager
def read_connection(path: Path, lock_timeout: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yields a connection that only reads, possibly beside other readers; waits `lock_timeout` seconds for a writer."""
    connection = _connect(path, lock_timeout, read_only=True)
    start = time.monotonic()
    try:
        yield connection
    except duckdb.Error as error:
        reason = first_line(error)
        if _DAMAGED.search(reason):
            raise JnasError(damage(path, error)) from error
        raise JnasError(f"{path} cannot answer ({reason}): correct the query.") from error
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
            reason = first_line(error)
            room = "make sure that the disk has room, and " if _NO_ROOM.search(reason) else ""
            raise JnasError(
                f"{path} could not be written ({reason}): nothing of this write was kept, everything before it was; "
                f"{room}run it again."
            ) from error
        finally:
            connection.close()


def first_line(error: Exception) -> str:
    """Returns what an error of DuckDB says, as one short line without its advice and the name of the file."""
    line = _validation.first_line(error)
    if inner := re.search(r'"exception_message":"(.*?)(?<!\\)"', line):  # of one of its threads
        line = inner[1].replace("\\", "")
    line = re.split(r"[.;] (?=However|See also|Try|Did you)", line)[0]
    return re.sub(r' "/[^"]*"', "", line).rstrip(".!: ")


def damage(path: Path, error: Exception) -> str:
    """Returns the sentence of a damaged file."""
    return (
        f"{path} is damaged ({first_line(error)}): put a copy in its place, or name another file, this one was not "
        "changed."
    )


def missing(path: Path) -> str:
    """Returns the sentence of a file that is not there."""
    return f"There is no store {path}: name the .duckdb file that a search wrote."


def _connect(path: Path, lock_timeout: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    start = time.monotonic()
    while True:
        try:
            return _connect_once(path, read_only)
        except duckdb.Error as error:
            reason, limit = first_line(error), -1.0
            if _LOCKED.search(reason) or _OTHER_OPTIONS.search(reason):
                limit = lock_timeout
            elif _is_empty(path):  # as while another process creates it
                limit = min(lock_timeout, _MAX_EMPTY)
            if time.monotonic() - start > limit:
                raise JnasError(_explain(path, reason, error, read_only)) from error
            time.sleep(random.uniform(0, _MAX_BACKOFF))


def _connect_once(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    # The resolved path: through a link DuckDB 1.1 does not lock within this process, and logs to another file.
    resolved = str(path.resolve())
    try:
        return duckdb.connect(resolved, read_only, _CONFIG)
    except duckdb.ConnectionException:
        # This process, such as a notebook, has the file open with other options: share that connection's instance.
        return duckdb.connect(resolved)


def _is_empty(path: Path) -> bool:
    return os.path.isfile(path) and not os.path.getsize(path)


def _explain(path: Path, reason: str, error: Exception, read_only: bool) -> str:
    """The sentence of a file that cannot be opened."""
    if _OTHER_OPTIONS.search(reason):
        return f"{path} is open in this process with other options: close that connection, or name another file."
    if _LOCKED.search(reason):
        holder = re.search(r"PID (\d+)", reason)
        which = f" (process {holder[1]})" if holder else ""
        return f"{path} is open in another process{which}: close it there, or name another file."
    cause = reason.rsplit("file: ", 1)[-1]
    if _NO_LOCKS.search(reason):
        return f"{path} is on a drive that cannot lock files ({cause}): name a file on another drive."
    if not os.path.exists(path):
        return missing(path) if read_only else f"{path} cannot be created ({cause}): name a file that can be."
    if _is_empty(path):
        return (
            f"There is no store {path}, it is an empty file: delete it, or name the .duckdb file that a search wrote."
        )
    # The file is opened only here, where DuckDB has not: to close it would take DuckDB's lock away.
    try:
        with open(path, "rb") as file:
            content = file.read(512)
    except OSError as failure:
        return f"{path} cannot be read ({_validation.first_line(failure)}): change its rights, or name another file."
    where, mark = _DUCKDB_MARK
    if content[where] != mark:
        return (
            f"{path} must be a DuckDB file that jnas wrote, got {_validation.kind_of_file(content)}; name another "
            "file, this one was not changed."
        )
    if "WAL" in reason:
        return (
            f"{path}.wal, where DuckDB keeps the last writes to {path.name}, is damaged or of another file: put copies "
            "of both in their place, or move it away and lose these writes."
        )
    if _OTHER_DUCKDB.search(reason):
        return f"{path} is of another version of DuckDB ({cause}): install a newer duckdb, or name another file."
    if _DAMAGED.search(reason):
        return damage(path, error)
    return f"{path} cannot be opened ({cause}): make sure that it can be read and written, or name another file."
