"""glibc's malloc, tuned for training on a CPU: freed blocks stay with the process, in large pages.

Each training step allocates its feature maps anew. By default glibc returns blocks of that size to the system and
requests them again, every page is cleared on the way, and a step walks through tens of thousands of pages of 4 KiB. On
a CPU that is up to half of a training step. Workers and the command line call `tune_malloc`; `import jnas` does not.
"""

import contextlib
import ctypes
import os
import sys
from importlib.metadata import entry_points

import jax

# Names and numbers from glibc's malloc.h and Linux' mman.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MADV_HUGEPAGE = 14
_HUGE_PAGE_BYTES = 2 << 20
_RESERVE_BLOCK_BYTES = 1 << 30
_GPU_DEVICE_FILES = ("/dev/nvidiactl", "/dev/kfd")  # of NVIDIA and AMD


def tune_malloc() -> bool:
    """Tells glibc to keep freed memory, and Linux to use large pages for it; returns whether glibc agreed.

    Call it before JAX computes for the first time.
    """
    if not should_tune_malloc():
        return False
    try:
        libc = ctypes.CDLL(None)
        # One heap for all threads: only the main thread's can grow to any size, and programs train in other threads.
        settings = ((_M_MMAP_THRESHOLD, 2**31 - 1), (_M_TRIM_THRESHOLD, -1), (_M_ARENA_MAX, 1))  # -1: never
        tuned = all(libc.mallopt(*setting) for setting in settings)
        if tuned:
            _reserve_huge_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    except (OSError, AttributeError, ValueError):
        return False
    # Steps run in the thread that calls them, which costs nothing (each waits for the previous one anyway), so blocks
    # are freed and allocated in order, and each step finds the blocks of the previous one.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return bool(tuned)


def should_tune_malloc() -> bool:
    """Returns whether tuning helps: on Linux, without a GPU, unless JNAS_TUNE_MALLOC=0 is in the environment.

    Beside a GPU the heap would hold few feature maps, and the one heap of all threads slows down those that compile.
    """
    if sys.platform != "linux" or os.environ.get("JNAS_TUNE_MALLOC") == "0":
        return False
    # Whether JAX will compute on a GPU, as far as can be told without starting JAX's backends.
    has_gpu = any(map(os.path.exists, _GPU_DEVICE_FILES)) and bool(entry_points(group="jax_plugins"))
    return not has_gpu or os.environ.get("JAX_PLATFORMS", "").lower().split(",")[0] == "cpu"


def trim_malloc() -> None:
    """Returns free memory to the system, which would stay with the process otherwise."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _reserve_huge_pages(libc: ctypes.CDLL, num_bytes: int) -> None:
    """Asks for large pages for the next `num_bytes` of the heap; they are reserved, and none is touched."""
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # In blocks below the mmap threshold, so that they come from the heap, where they lie one after another.
    addresses = (libc.malloc(_RESERVE_BLOCK_BYTES) for _ in range(num_bytes // _RESERVE_BLOCK_BYTES))
    blocks = [address for address in addresses if address]
    for block in blocks:
        first = -(-block // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        size = (block + _RESERVE_BLOCK_BYTES - first) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
        libc.madvise(first, size, _MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)
