"""Barriers against fusion.

XLA recomputes a cheap value wherever it is used instead of storing it. A pooling reads each value `kernel_size ** 2`
times, so it would recompute the layer before it as often; in the backward pass, the layer after it. A barrier makes
XLA store the value once.

XLA:CPU keeps barriers only in programs that are compiled with `jnas._runtime.compile_options.compiler_options()`.
Without these options results are the same, but programs are slower.
"""

from typing import TypeVar

import jax

T = TypeVar("T")


def optimization_barrier(x: T) -> T:
    """Returns the pytree `x`; XLA stores its arrays in memory, and their gradients too, on purpose."""
    return backward_barrier(forward_barrier(x))


@jax.custom_vjp
def forward_barrier(x: T) -> T:
    """Returns the pytree `x`, stored in memory; for values that are read more than once, and whose gradient is once."""
    return jax.lax.optimization_barrier(x)


@jax.custom_vjp
def backward_barrier(x: T) -> T:
    """Returns the pytree `x`, whose gradients are stored; for results whose backward pass reads them more than once."""
    return x


forward_barrier.defvjp(lambda x: (forward_barrier(x), None), lambda _, gradient: (gradient,))
backward_barrier.defvjp(lambda x: (x, None), lambda _, gradient: (jax.lax.optimization_barrier(gradient),))
