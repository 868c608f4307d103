"""What is kept on disk: compiled programs and pictures as arrays, how large that may become, and how to empty it.

There are two caches of programs: JAX's own, for whatever is compiled in a process that calls `use_compilation_cache`
(the command line and the workers; `import jnas` must not change JAX's settings), and that of `executable_cache`. Where
there is no folder to write to, there is no cache, and all else works as before.
"""

import contextlib
import functools
import glob
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jnas._runtime.jax_config import read_jax_config

MAX_JAX_CACHE_BYTES = 2 << 30
"""JAX evicts the entries that were used the longest time ago (with a lock, by `filelock`)."""
MAX_EXECUTABLE_CACHE_BYTES = 4 << 30
MAX_PICTURE_CACHE_BYTES = 4 << 30
_CACHE_WARNING = "Error (?:reading|writing) persistent compilation cache entry for '([^']*)'"


class CacheInfo(NamedTuple):
    """A cache on disk; old entries are removed from `max_bytes` on."""

    name: str
    folder: Path
    num_files: int
    num_bytes: int
    max_bytes: int


def use_compilation_cache() -> None:
    """Switches JAX's persistent compilation cache on, in the user's cache folder, with a limit of 2 GiB.

    A folder that the user has chosen (JAX_COMPILATION_CACHE_DIR or `jax.config`) stays as it is, and so does no cache
    (JAX_ENABLE_COMPILATION_CACHE=false). An entry that cannot be read, such as one of a process that was killed, is
    made anew, and nothing warns of it, nor of a disk that is full.
    """
    use_cache_of_threads(None)


def use_cache_of_threads(num_threads: int | None) -> None:
    """Does what `use_compilation_cache` does, in a process with this number of XLA threads; None: all cores."""
    if not read_jax_config("jax_enable_compilation_cache"):
        return
    warnings.filterwarnings("always", message=_CACHE_WARNING)
    if getattr(warnings.showwarning, "func", None) is not _show_warning:  # else another call has done so
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
    folder = jax_cache_dir(num_threads)
    if read_jax_config("jax_compilation_cache_dir") is not None or folder is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Nearly all that a search compiles takes less than JAX's threshold of one second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", MAX_JAX_CACHE_BYTES)


def is_own_jax_cache() -> bool:
    """Returns whether JAX's cache is, or would be, in jnas' folder, and not in one that the user has chosen."""
    chosen = read_jax_config("jax_compilation_cache_dir")
    return chosen is None or Path(chosen) == cache_dir("xla")


def cache_dir(name: str) -> Path | None:
    """Returns the folder of a cache, within "jnas" in XDG_CACHE_HOME, or in ~/.cache; None where it cannot be written.

    Names are "xla" (JAX's cache), "executables" (training programs), "pictures" and "slurm" (what jobs read).
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "jnas"
        existing = next(path for path in (folder, *folder.parents) if path.exists())
    except (OSError, RuntimeError, KeyError):  # the user has no home folder, or may not look into it
        return None
    return folder / name if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK) else None


def jax_cache_dir(num_threads: int | None = None) -> Path | None:
    """Returns the folder of JAX's cache in processes with this number of XLA threads; without a number, all cores."""
    # XLA:CPU divides loops among threads when it compiles, which JAX's key of a program does not include.
    chosen = read_jax_config("jax_compilation_cache_dir")
    folder = Path(chosen) if chosen else cache_dir("xla")
    return folder if folder is None or num_threads is None else folder / f"{num_threads}-threads"


def describe_caches() -> list[CacheInfo]:
    """Returns what is on disk of each cache that has a folder."""
    caches = []
    for name, folder, max_bytes in (
        ("XLA programs (JAX's cache)", jax_cache_dir(), MAX_JAX_CACHE_BYTES),
        ("training programs", cache_dir("executables"), MAX_EXECUTABLE_CACHE_BYTES),
        ("pictures as arrays", cache_dir("pictures"), MAX_PICTURE_CACHE_BYTES),
    ):
        if folder is None:
            continue
        sizes = [stat.st_size for _, stat in _files(folder)]
        caches.append(CacheInfo(name, folder, len(sizes), sum(sizes), max_bytes))
    return caches


def clear_caches() -> int:
    """Removes all cached programs and pictures; returns how many bytes that freed."""
    # A folder that the user chose for JAX's cache may hold programs of others: it is left alone.
    caches = [info for info in describe_caches() if is_own_jax_cache() or info.folder != jax_cache_dir()]
    for info in caches:
        shutil.rmtree(info.folder, ignore_errors=True)
    return sum(info.num_bytes for info in caches)


def remove_oldest(folder: Path, max_bytes: int) -> None:
    """Removes the files of `folder` that were used the longest time ago until at most `max_bytes` are left."""
    with contextlib.suppress(OSError):  # it is only a cache, and another process may remove the same file
        files = sorted(((stat.st_mtime, stat.st_size, path) for path, stat in _files(folder)), reverse=True)
        total = 0
        for _, size, path in files:
            total += size
            if total > max_bytes:
                path.unlink(missing_ok=True)


def _show_warning(show: Callable[..., None], message: Warning | str, *arguments: Any) -> None:
    """Removes the entries of a program that JAX could not read or write, before it writes one; shows other warnings."""
    match, folder = re.match(_CACHE_WARNING, str(message)), read_jax_config("jax_compilation_cache_dir")
    if match is None:
        show(message, *arguments)
    elif folder:
        with contextlib.suppress(OSError):
            for path in Path(folder).glob(f"{glob.escape(match[1])}-*-cache"):
                path.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if path.is_file():
                files.append((path, path.stat()))
    return files
