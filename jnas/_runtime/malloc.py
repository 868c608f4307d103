"""Memory of the CPU: freed blocks stay with the process, in large pages.

Each training step allocates its feature maps anew. The C library hands blocks that large back to the system and takes
them again, and every page is cleared on the way; and in pages of 4 KiB, every step walks through tens of thousands of
them. On a CPU that is up to half of a training step (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from importlib.metadata import entry_points

import jax

# Names and numbers from glibc's malloc.h and Linux' mman.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MADV_HUGEPAGE = 14
_LARGEST = 2**31 - 1
_NEVER = -1
_LARGE_PAGE = 2 << 20
_BLOCK = 1 << 30
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")
"""What a system with a GPU of NVIDIA or AMD has."""


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory, and the system to use large pages for it; returns whether glibc agreed.

    `import jnas` does it, and it must come before JAX first computes. It does nothing where it is not `wanted`, or on
    other C libraries.
    """
    if not wanted():
        return False
    try:
        libc = ctypes.CDLL(None)
        # One heap for all threads: only the main thread's can grow to any size, and programs train in other threads.
        settings = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _NEVER), (_M_ARENA_MAX, 1))
        kept = all(libc.mallopt(*setting) for setting in settings)
        if kept:
            _use_large_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    except (OSError, AttributeError, ValueError):
        return False
    # Steps that compute in the thread that calls them, which costs nothing (each waits for the one before it anyway),
    # come and go in order, so that each finds the blocks of the one before.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return bool(kept)


def wanted() -> bool:
    """Whether freed memory is to be kept: on Linux, without a GPU, unless JNAS_KEEP_MEMORY=0 is in the environment.

    Beside a GPU it would hold few feature maps, and the one heap that all threads share holds up those that compile.
    """
    return sys.platform == "linux" and os.environ.get("JNAS_KEEP_MEMORY") != "0" and not _gpu_expected()


def _gpu_expected() -> bool:
    """Whether JAX will compute on a GPU, as far as can be told without asking JAX, which would start it."""
    platforms = os.environ.get("JAX_PLATFORMS", "").lower().split(",")
    return platforms[0] != "cpu" and any(map(os.path.exists, _ACCELERATORS)) and bool(entry_points(group="jax_plugins"))


def give_back() -> None:
    """Gives the memory that is free now back to the system, where it would stay with the process."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _use_large_pages(libc: ctypes.CDLL, size: int) -> None:
    """Asks for large pages for the next `size` bytes of the heap; they are reserved, and none is touched."""
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # In blocks below the mmap threshold, so that they come from the heap, where they lie one after another.
    blocks = [block for block in (libc.malloc(_BLOCK) for _ in range(size // _BLOCK)) if block]
    for block in blocks:
        first = -(-block // _LARGE_PAGE) * _LARGE_PAGE
        libc.madvise(first, (block + _BLOCK - first) // _LARGE_PAGE * _LARGE_PAGE, _MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)
