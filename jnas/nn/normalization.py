"""Batch normalisation of `[N, H, W, C]` with its gradient written out, in as few passes over memory as it takes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

Statistics = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[jax.Array, Statistics]:
    """Normalises each channel by the batch's own statistics (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Args:
      x: `[N, H, W, C]`.
      scale, bias: `[C]`.
      epsilon: added to the variance.

    Returns:
      `[N, H, W, C]`, and the batch's mean and biased variance, `[C]` each, through which no gradient flows.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x, scale, bias, epsilon):
    wide = x.astype(jnp.float32)  # the statistics, whatever the precision of the maps
    mean = wide.mean((0, 1, 2))
    # Sums of products are read off the maps as they lie; centred squares would be written to memory first. Like Flax'
    # default, this loses digits where a mean is a hundred times its deviation.
    var = jnp.maximum((wide * wide).mean((0, 1, 2)) - mean * mean, 0)
    inverse = jax.lax.rsqrt(var + epsilon)
    factor = inverse * scale
    y = wide * factor + (bias - mean * factor)
    return (y.astype(x.dtype), (mean, var)), (x, mean, inverse, scale)


def _backward(epsilon, residuals, gradients):
    x, mean, inverse, scale = residuals
    wide, gradient = x.astype(jnp.float32), gradients[0].astype(jnp.float32)
    count = x.size // x.shape[-1]
    bias_gradient = gradient.sum((0, 1, 2))
    scale_gradient = ((gradient * wide).sum((0, 1, 2)) - mean * bias_gradient) * inverse
    # scale * inverse * (gradient - bias_gradient / count - normalised * scale_gradient / count), multiplied out
    factor = scale * inverse
    slope = factor * inverse * scale_gradient / count
    x_gradient = gradient * factor - wide * slope + (mean * slope - factor * bias_gradient / count)
    return x_gradient.astype(x.dtype), scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)


batch_norm.defvjp(_forward, _backward)
