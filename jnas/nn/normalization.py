"""Batch normalisation of `[N, H, W, C]` with its gradient written out, in as few passes over memory as it takes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jnas.nn.fusion import materialise

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
    centred = materialise(wide - mean)  # read four times from here on, forward and backward
    var = (centred * centred).mean((0, 1, 2))
    inverse = jax.lax.rsqrt(var + epsilon)
    y = centred * (inverse * scale) + bias
    return (y.astype(x.dtype), (mean, var)), (centred, inverse, scale)


def _backward(epsilon, residuals, gradients):
    centred, inverse, scale = residuals
    gradient = gradients[0]
    count = centred.size // centred.shape[-1]
    wide = gradient.astype(jnp.float32)
    bias_gradient = wide.sum((0, 1, 2))
    scale_gradient = (wide * centred).sum((0, 1, 2)) * inverse
    factor = scale * inverse
    x_gradient = wide * factor - centred * (factor * inverse * scale_gradient / count) - factor * bias_gradient / count
    return x_gradient.astype(gradient.dtype), scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)


batch_norm.defvjp(_forward, _backward)
