"""The matrix product of fully connected layers, whose kernel's gradient has a way of its own on a CPU."""

from __future__ import annotations

import jax

from jnas.nn.ops._barriers import row_major

_FEW = 64
"""Outputs up to which turning the inputs pays."""


@jax.custom_vjp
def linear(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[N, F_in]` by `[F_in, F_out]` to `[N, F_out]`."""
    return x @ kernel


def _forward(x, kernel):
    return linear(x, kernel), (x, kernel)


def _backward(residuals, gradient):
    x, kernel = residuals
    # A factor that is not turned in memory goes to Eigen, which takes twice as long as YNNPACK where outputs are few,
    # as they are in the layer that tells classes apart.
    turned = row_major(x.T) if jax.default_backend() == "cpu" and gradient.shape[1] <= _FEW else x.T
    return gradient @ kernel.T, turned @ gradient


linear.defvjp(_forward, _backward)
