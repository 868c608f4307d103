"""A place where XLA must not fuse.

XLA likes to compute cheap values again wherever they are used. A pooling uses each value `kernel ** 2` times, so what
comes before it, and in the backward pass what comes after it, would be computed as often. `materialise` keeps the
value in memory instead (benchmarks/RESULTS.md).

XLA:CPU keeps the barriers only in programs compiled with `compiler.compiler_options()`; without these the result is the
same, only slower.
"""

from __future__ import annotations

from typing import Any

import jax


@jax.custom_vjp
def materialise(x: Any) -> Any:
    """The array or arrays of `x`, held in memory; and so are their gradients."""
    return jax.lax.optimization_barrier(x)


def _forward(x):
    return materialise(x), None


def _backward(_, gradient):
    return (jax.lax.optimization_barrier(gradient),)


materialise.defvjp(_forward, _backward)
