"""Freed memory stays with the process, where that is what training on a CPU waits for.

Each training step allocates its feature maps anew. The C library hands blocks that large back to the system and takes
them again, and every page is cleared on the way: on a CPU that is up to half of a training step
(benchmarks/RESULTS.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

# Names and numbers from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory; returns whether it did.

    It must come before JAX starts its threads, so `import jnas` does it. It does nothing on other C libraries, or with
    JNAS_KEEP_MEMORY=0 in the environment.
    """
    if sys.platform != "linux" or os.environ.get("JNAS_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        # One arena: a thread's own cannot grow past 64 MiB, and what is larger goes back to the system.
        settings = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST), (_M_ARENA_MAX, 1))
        return sum(mallopt(*setting) for setting in settings) == len(settings)
    except (OSError, AttributeError):
        return False
