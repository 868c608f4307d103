"""Batch normalisation with its gradient written out, in as few passes over memory as it takes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jnas.nn.ops._barriers import optimization_barrier

Statistics = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, present: jax.Array | None = None
) -> tuple[jax.Array, Statistics]:
    """Normalises each channel by the batch's own statistics (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
      x: `[N, ..., C]`.
      scale, bias: `[C]`.
      epsilon: added to the variance.
      present: bool `[..., 1]`, the pixels that count; all of them where not given.

    Returns:
      As `x` (the bias at pixels that do not count), and the batch's mean and biased variance, `[C]` each, through
      which no gradient flows.
    """
    return _forward(x, scale, bias, epsilon, present)[0]


def count(x: jax.Array, present: jax.Array | None) -> int | jax.Array:
    """How many values each channel has, at least one."""
    if present is None:
        return x.size // x.shape[-1]
    return jnp.maximum(len(x) * present.sum(), 1)


def _where(present: jax.Array | None, x: jax.Array) -> jax.Array:
    return x if present is None else jnp.where(present, x, 0)


def _total(x: jax.Array) -> jax.Array:
    return x.sum(tuple(range(x.ndim - 1)))


def _forward(x, scale, bias, epsilon, present):
    wide = x.astype(jnp.float32)  # the statistics, whatever the precision of the maps
    number = count(x, present)
    mean = _total(_where(present, wide)) / number
    centred = optimization_barrier(_where(present, wide - mean))  # read four times from here on, forward and backward
    var = _total(centred * centred) / number
    inverse = jax.lax.rsqrt(var + epsilon)
    y = centred * (inverse * scale) + bias
    return (y.astype(x.dtype), (mean, var)), (centred, inverse, scale, present)


def _backward(epsilon, residuals, gradients):
    centred, inverse, scale, present = residuals
    gradient = optimization_barrier(gradients[0])
    number = count(centred, present)
    wide = _where(present, gradient.astype(jnp.float32))
    bias_gradient = _total(wide)
    scale_gradient = _total(wide * centred) * inverse
    factor = scale * inverse
    shared = factor * bias_gradient / number
    x_gradient = wide * factor - centred * (factor * inverse * scale_gradient / number) - _where(present, shared)
    dtypes = gradient.dtype, scale.dtype, scale.dtype
    found = (x_gradient, scale_gradient, bias_gradient)
    return (*(one.astype(dtype) for one, dtype in zip(found, dtypes, strict=True)), None)


batch_norm.defvjp(_forward, _backward)
