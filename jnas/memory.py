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
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory; returns whether it did.

    `import jnas` does it, and it must come before JAX first computes. It does nothing on other C libraries, or with
    JNAS_KEEP_MEMORY=0 in the environment.
    """
    if sys.platform != "linux" or os.environ.get("JNAS_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        kept = sum(mallopt(parameter, _LARGEST) for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))
    except (OSError, AttributeError):
        return False
    # Only the main thread's heap can grow to any size. JAX computes there when its CPU dispatch waits for the result,
    # which costs nothing here: a training step has to wait for the one before it anyway.
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_cpu_enable_async_dispatch", False)
    else:
        os.environ.setdefault("JAX_CPU_ENABLE_ASYNC_DISPATCH", "false")
    return kept == 2
