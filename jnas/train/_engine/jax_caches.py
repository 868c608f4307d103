"""What JAX remembers of a search, which compiles thousands of programs and asks for few of them again.

JAX keeps whatever it traced and compiled, for thousands of programs, also where nobody holds them any more. A search
that is left alone would grow by some MiB with each template.
"""

from __future__ import annotations

import gc

import jax

from jnas._runtime import malloc as memory

MOST = 32
"""Programs of templates that JAX may keep, of 4 to 8 MiB each on a CPU, before it is made to let go of all."""
_count = 0


def add() -> None:
    """Notes down that one more program was compiled."""
    global _count
    _count += 1


def too_many() -> bool:
    """Whether it is time to forget."""
    return _count >= MOST


def forget() -> None:
    """Makes JAX let go of every program that nobody holds, and gives the memory back to the system.

    What is called again, such as the predictor's program, is traced again then, and taken from the persistent cache: a
    few seconds, once in so many programs. Other threads may trace and compile meanwhile: what they are at is kept until
    the next time.
    """
    global _count
    _count = 0
    jax.clear_caches()
    gc.collect()
    memory.give_back()
