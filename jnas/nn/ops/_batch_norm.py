"""Batch normalisation with its gradient written out, in as few passes over memory as it takes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from jnas.nn.ops._barriers import optimization_barrier

BATCH_NORM_EPSILON = 1e-5
Statistics = tuple[Float32[Array, " c"], Float32[Array, " c"]]
"""Mean and biased variance of each channel."""


@jax.custom_vjp
def batch_norm(
    x: Float[Array, "n *sides c"], scale: Float[Array, " c"], bias: Float[Array, " c"]
) -> tuple[Float[Array, "n *sides c"], Statistics]:
    """Returns maps normalised by their batch's statistics, and these (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Statistics are float32 whatever the type of the maps (or vectors), and no gradient flows through them.
    """
    return _forward(x, scale, bias)[0]


def _sum_channels(x: Array) -> Array:
    return x.sum(tuple(range(x.ndim - 1)))


def _forward(x: Array, scale: Array, bias: Array) -> tuple[tuple[Array, Statistics], tuple[Array, Array, Array]]:
    count = x.size // x.shape[-1]
    wide = x.astype(jnp.float32)
    mean = _sum_channels(wide) / count
    centred = optimization_barrier(wide - mean)  # read four times from here on, forward and backward
    var = _sum_channels(centred * centred) / count
    inverse_std = jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
    y = centred * (inverse_std * scale) + bias
    return (y.astype(x.dtype), (mean, var)), (centred, inverse_std, scale)


def _backward(residuals: tuple[Array, Array, Array], gradients: tuple[Array, Statistics]) -> tuple[Array, Array, Array]:
    centred, inverse_std, scale = residuals
    gradient = optimization_barrier(gradients[0])
    count = centred.size // centred.shape[-1]
    wide = gradient.astype(jnp.float32)
    bias_gradient = _sum_channels(wide)
    scale_gradient = _sum_channels(wide * centred) * inverse_std
    factor = scale * inverse_std
    x_gradient = (
        wide * factor - centred * (factor * inverse_std * scale_gradient / count) - factor * bias_gradient / count
    )
    return x_gradient.astype(gradient.dtype), scale_gradient.astype(scale.dtype), bias_gradient.astype(scale.dtype)


batch_norm.defvjp(_forward, _backward)
