"""A place where XLA must not fuse.

XLA likes to compute cheap values again wherever they are used. A pooling uses each value `kernel ** 2` times, so what
comes before it, and in the backward pass what comes after it, would be computed as often. `materialise` keeps the
value in memory instead (benchmarks/RESULTS.md).

XLA:CPU expands optimisation barriers before it fuses, which undoes them. Programs compiled with `COMPILER_OPTIONS`
keep them; without the options the result is the same, only slower.
"""

from __future__ import annotations

from typing import Any

import jax

COMPILER_OPTIONS = {"cpu": {"xla_disable_hlo_passes": "cse_barrier_expander"}}
"""Options for `.compile(compiler_options=...)`, by backend."""


@jax.custom_vjp
def materialise(x: Any) -> Any:
    """The array or arrays of `x`, held in memory; and so are their gradients."""
    return jax.lax.optimization_barrier(x)


def _forward(x):
    return materialise(x), None


def _backward(_, gradient):
    return (jax.lax.optimization_barrier(gradient),)


materialise.defvjp(_forward, _backward)
