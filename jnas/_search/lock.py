"""One process at a time runs a search: the same command, started twice, waits, and then finds everything done."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a search is not kept to one process
    fcntl = None

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def hold_lock(folder: Path, on_wait: Callable[[], None], should_stop: Callable[[], bool]) -> Iterator[float]:
    """A context in which no other has the lock of a folder; yields the seconds it has waited for others.

    `on_wait` is called once if it has to wait. Once `should_stop` returns True while it waits, it raises
    KeyboardInterrupt. The system takes the lock from a process that dies.
    """
    start, has_told = time.monotonic(), False
    with open(folder.with_name(f".{folder.name}.lock"), "a") as file:
        while fcntl and not _try_lock(file.fileno()):
            if not has_told:
                on_wait()
                has_told = True
            if should_stop():
                raise KeyboardInterrupt
            time.sleep(_POLL_SECONDS)
        yield time.monotonic() - start


def _try_lock(fd: int) -> bool:
    assert fcntl
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a drive without locks, which two processes cannot share anyway
        pass
    return True
