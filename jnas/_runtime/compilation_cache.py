"""Compiled programs on disk: where they are, how large they may become, and how to empty them.

There are two caches: JAX's own, for whatever is compiled in a process that calls `use_compilation_cache` (the command
line and the workers; `import jnas` must not change JAX's settings), and that of `executable_cache`.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import jax

from jnas._runtime.jax_config import read_jax_config

MAX_JAX_CACHE_BYTES = 2 << 30
"""JAX evicts the entries that were used the longest time ago (with a lock, by `filelock`)."""
MAX_EXECUTABLE_CACHE_BYTES = 4 << 30


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
    (JAX_ENABLE_COMPILATION_CACHE=false).
    """
    if not read_jax_config("jax_enable_compilation_cache") or read_jax_config("jax_compilation_cache_dir") is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(jax_cache_dir()))
    # Nearly all that a search compiles takes less than JAX's threshold of one second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", MAX_JAX_CACHE_BYTES)


def is_own_jax_cache() -> bool:
    """Returns whether JAX's cache is, or would be, in jnas' folder, and not in one that the user has chosen."""
    return read_jax_config("jax_compilation_cache_dir") in (None, str(cache_dir() / "xla"))


def cache_dir() -> Path:
    """Returns the folder of all caches: "jnas" in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jnas"


def jax_cache_dir(num_threads: int | None = None) -> Path:
    """Returns the folder of JAX's cache in processes with this number of XLA threads; None is all cores."""
    # XLA:CPU divides loops among threads when it compiles, which JAX's key of a program does not include.
    folder = Path(read_jax_config("jax_compilation_cache_dir") or cache_dir() / "xla")
    return folder if num_threads is None else folder / f"{num_threads}-threads"


def executable_cache_dir() -> Path:
    """Returns the folder of compiled training programs."""
    return cache_dir() / "executables"


def describe_caches() -> list[CacheInfo]:
    """Returns what is on disk of each cache."""
    caches = []
    for name, folder, max_bytes in (
        ("XLA programs (JAX's cache)", jax_cache_dir(), MAX_JAX_CACHE_BYTES),
        ("training programs", executable_cache_dir(), MAX_EXECUTABLE_CACHE_BYTES),
    ):
        sizes = [stat.st_size for _, stat in _files(folder)]
        caches.append(CacheInfo(name, folder, len(sizes), sum(sizes), max_bytes))
    return caches


def clear_caches() -> int:
    """Removes all cached programs; returns how many bytes that freed."""
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


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if path.is_file():
                files.append((path, path.stat()))
    return files
