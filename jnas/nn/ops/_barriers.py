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
from jax.experimental.layout import Layout, with_layout_constraint


def materialise(x: Any) -> Any:
    """The array or arrays of `x`, held in memory; and so are their gradients."""
    return materialise_gradient(materialise_value(x))


@jax.custom_vjp
def materialise_value(x: Any) -> Any:
    """The same, whose gradient is not held: for what is read more than once, and has one gradient."""
    return jax.lax.optimization_barrier(x)


materialise_value.defvjp(lambda x: (materialise_value(x), None), lambda _, gradient: (gradient,))


@jax.custom_vjp
def materialise_gradient(x: Any) -> Any:
    """`x` as it is, whose gradient is held in memory: for the results of what reads its gradient more than once."""
    return x


materialise_gradient.defvjp(lambda x: (x, None), lambda _, gradient: (jax.lax.optimization_barrier(gradient),))


def in_order(x: jax.Array) -> jax.Array:
    """The array held in memory in the order of its axes; it has no gradient.

    XLA likes to leave a transposed array where it is and to give what follows another memory layout. A sum over its
    pixels then is no longer one that YNNPACK knows, and takes many times as long (benchmarks/RESULTS.md).
    """
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))
