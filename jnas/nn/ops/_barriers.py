"""Barriers against fusion, and against memory layouts that make reductions slow.

XLA recomputes a cheap value wherever it is used instead of storing it. A pooling reads each value `kernel_size ** 2`
times, so it would recompute the layer before it as often; in the backward pass, the layer after it. A barrier makes
XLA store the value once.

XLA:CPU keeps barriers only in programs that are compiled with `jnas._runtime.compile_options.compiler_options()`.
Without these options results are the same, but programs are slower.
"""

from __future__ import annotations

from typing import TypeVar

import jax
from jax.experimental.layout import Layout, with_layout_constraint

T = TypeVar("T")


def optimization_barrier(x: T) -> T:
    """Returns the pytree `x`; XLA stores its arrays in memory, and their gradients too.

    Other than for `jax.lax.optimization_barrier`, derivatives are defined on purpose.
    """
    return backward_barrier(forward_barrier(x))


@jax.custom_vjp
def forward_barrier(x: T) -> T:
    """Returns the pytree `x`; XLA stores its arrays in memory, but need not store their gradients.

    This is for values that are read more than once and whose gradient is read once.
    """
    return jax.lax.optimization_barrier(x)


forward_barrier.defvjp(lambda x: (forward_barrier(x), None), lambda _, gradient: (gradient,))


@jax.custom_vjp
def backward_barrier(x: T) -> T:
    """Returns the pytree `x`; XLA stores the gradients of its arrays in memory, but need not store the arrays.

    This is for results of operations whose backward pass reads their gradient more than once.
    """
    return x


backward_barrier.defvjp(lambda x: (x, None), lambda _, gradient: (jax.lax.optimization_barrier(gradient),))


def row_major(x: jax.Array) -> jax.Array:
    """Returns `x`, stored in memory with its last axis contiguous. It has no gradient.

    XLA often leaves a transposed array as it is and gives its consumers another memory layout. YNNPACK does not support
    reductions over arrays in such a layout, and XLA's own are many times slower.
    """
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))
