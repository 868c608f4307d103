"""Features of layers that follow from a whole network: sizes, costs, receptive fields, and the signal's strength.

All are scaled to numbers of about 1. They need only windows and shapes, so networks in another notation can have them,
too (see `LayerBatch`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FEATURE_NAMES = (
    *("channels", "height", "elements", "fewest elements", "fewest channels"),  # sizes
    *("params", "macs", "params so far", "macs so far", "fan in"),  # costs
    *("receptive field", "share of image", "stride so far", "share of map", "coverage", "coverage so far"),
    *("position", "layers to come", "convolutions so far", "linears so far"),  # position
    *("window", "stride", "padding", "slope", "dropout", "kept so far"),  # parameters as numbers
    *("window on map", "least window on map", "kept", "fewest kept"),  # kept fractions, by padding and dropout
    *("second moment", "signal", "signal share"),  # the signal's strength at initialisation
)
"""Names of the features of a layer, in order."""

FEATURE_GROUPS = {
    "sizes": 5,
    "costs": 5,
    "receptive_field": 6,
    "position": 4,
    "parameters": 6,
    "kept_fraction": 4,
    "signal": 3,
}
"""Number of features per group, in order."""

_MAX_KERNEL_SIZE = 7
_AVG_POOL_MOMENT_FACTOR = 0.6
"""Fraction of a signal's second moment after a small average pooling; neighboring pixels are alike."""


class LayerBatch(NamedTuple):
    """Networks as arrays, with T layers each and unused ones at the end; JAX's or NumPy's arrays.

    Attributes:
      mask: `[..., T]` bool, whether the layer exists.
      before: `[..., T, 3]` `(C, H, W)` of the layer's input; a vector of N features is (N, 1, 1).
      after: `[..., T, 3]` `(C, H, W)` of the layer's output.
      window: `[..., T]` pixels of the window of a convolution or pooling on a side, 7 at most; 1 elsewhere.
      stride: `[..., T]` pixels; 1 for layers without a window.
      padding: `[..., T]` 1 if the layer pads, else 0.
      fan_in: `[..., T]` inputs of each output of a convolution or linear layer; 0 elsewhere.
      is_conv, is_linear, is_avg_pool, is_global_pool, is_batch_norm, is_activation: `[..., T]` bool, the type.
      slope: `[..., T]` of an activation on negative numbers.
      dropout: `[..., T]` rate.
    """

    mask: Any
    before: Any
    after: Any
    window: Any
    stride: Any
    padding: Any
    fan_in: Any
    is_conv: Any
    is_linear: Any
    is_avg_pool: Any
    is_global_pool: Any
    is_batch_norm: Any
    is_activation: Any
    slope: Any
    dropout: Any


def layer_features(batch: LayerBatch, side: int) -> Float[Array, "*n t f"]:
    """Returns the features named `FEATURE_NAMES` of each layer as float32, zero for unused layers.

    Args:
      batch: the networks.
      side: pixels of the images on a side.
    """
    b = LayerBatch(*(jnp.asarray(x) if x.dtype == bool else jnp.asarray(x, jnp.float32) for x in batch))
    axis = b.mask.ndim - 1
    width, height = b.after[..., 0], b.after[..., 1]
    elements = b.after.prod(-1)
    has_weights = b.is_conv | b.is_linear
    params = jnp.where(has_weights, (b.fan_in + 1) * width, 0)
    macs = jnp.where(has_weights, b.fan_in * elements, 0)
    min_elements = jax.lax.cummin(jnp.where(b.mask, elements, 2.0**24), axis=axis)
    min_channels = jax.lax.cummin(jnp.where(b.is_conv, width, 4096), axis=axis)

    position = jnp.arange(b.mask.shape[-1]) + jnp.zeros_like(width)
    length = b.mask.sum(-1, keepdims=True)
    window_on_map = _window_on_map(b)
    kept = elements * (1 - b.dropout)
    min_kept = jax.lax.cummin(jnp.where(b.mask, kept, 2.0**24), axis=axis)
    moment, signal = _second_moments(b, window_on_map)
    columns = (
        *(_log(width, 10), _log(height, 5), _log(elements, 16), _log(min_elements, 16), _log(min_channels, 10)),
        *(_log(params, 20), _log(macs, 25), _log(jnp.cumsum(params, -1), 20), _log(jnp.cumsum(macs, -1), 25)),
        _log(b.fan_in, 14),
        *_window_features(b, side),
        *(position / 20, (length - 1 - position) / 20),
        *(jnp.cumsum(b.is_conv, -1) / 6, jnp.cumsum(b.is_linear, -1) / 3),
        *((b.window - 1) / 4, (b.stride - 1) / 4, b.padding, b.slope, b.dropout),
        jnp.cumsum(jnp.log(1 - jnp.minimum(b.dropout, 0.99)), -1),
        *(jnp.log2(window_on_map) / 5, jnp.log2(jax.lax.cummin(window_on_map, axis=axis)) / 5),
        *(_log(kept, 16), _log(min_kept, 16)),
        *(moment, signal, signal - moment),
    )
    return jnp.where(b.mask[..., None], jnp.stack(columns, -1), 0).astype(jnp.float32)


def _log(x: jax.Array, scale: float) -> jax.Array:
    return jnp.log2(jnp.maximum(x, 1)) / scale


def _window_features(b: LayerBatch, side: int) -> tuple[jax.Array, ...]:
    """Returns the features of the group `receptive_field`."""
    height, height_before = b.after[..., 1], jnp.maximum(b.before[..., 1], 1)
    total_stride = jnp.cumprod(jnp.minimum(b.stride, 64), -1)
    input_stride = total_stride / jnp.minimum(b.stride, 64)  # image pixels between neighbors of the layer's input
    field = 1 + jnp.cumsum((b.window - 1) * input_stride, -1)
    sees_all = jnp.cumsum(b.is_global_pool | b.is_linear, -1) > 0
    field = jnp.where(sees_all, jnp.maximum(field, side), field)
    map_share = jnp.where(b.window > 1, jnp.minimum(1, b.window / height_before), 0)
    map_share = jnp.where(b.is_global_pool | b.is_linear, 1, map_share)
    coverage = jnp.square(jnp.minimum(1, jnp.minimum(b.window, b.stride) * height / height_before))
    coverage = jnp.where((b.window > 1) | (b.stride > 1), coverage, 1)
    return (
        *(_log(jnp.minimum(field, 4 * side), 7), jnp.minimum(field / side, 1)),
        *(_log(jnp.minimum(total_stride, 64), 6), map_share),
        *(coverage, jnp.log2(jnp.maximum(jnp.cumprod(coverage, -1), 2.0**-10)) / 10),
    )


def _window_on_map(b: LayerBatch) -> jax.Array:
    """Returns the fraction of a window that lies on the map and not on its padding, on average over its positions.

    A window of 7 on a map of one pixel uses 1 / 49 of its weights.
    """
    side, out, stride = b.before[..., 1, None], jnp.maximum(b.after[..., 1, None], 1), b.stride[..., None]
    pixel = jnp.arange(_MAX_KERNEL_SIZE)
    offset = b.padding[..., None] * (b.window[..., None] // 2) - pixel
    first = jnp.maximum(jnp.ceil(offset / stride), 0)
    last = jnp.minimum(jnp.floor((side - 1 + offset) / stride), out - 1)
    positions = jnp.where(pixel < b.window[..., None], jnp.maximum(last - first + 1, 0), 0).sum(-1)
    return jnp.square(jnp.clip(positions / (b.window * out[..., 0]), 1 / _MAX_KERNEL_SIZE, 1))


def _second_moments(b: LayerBatch, window_on_map: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns log2 / 10 of the second moment after each layer, and of the part of it that comes from the image.

    They hold at PyTorch's initialisation, for images of second moment 1. Weights and biases have the variance
    1 / (3 fan_in), so a layer shrinks its input to a third, less what lies on padding, and adds its bias; an activation
    halves its input (He et al. 2015, arXiv:1502.01852).
    """

    def step(carry, layer):
        moment, signal = carry
        has_weights, fan_in, gain, pool_factor, is_batch_norm, window_on_map = layer
        bias = 1 / (3 * jnp.maximum(fan_in, 1))
        moment = jnp.where(has_weights, window_on_map * moment / 3 + bias, moment * gain)
        signal = jnp.where(has_weights, window_on_map * signal / 3, signal * gain) * pool_factor
        signal = jnp.where(is_batch_norm, signal / moment, signal)
        moment = jnp.where(is_batch_norm, 1.0, moment)
        return (moment, signal), (moment, signal)

    gain = jnp.where(b.is_activation, (1 + jnp.square(b.slope)) / 2, 1)
    pixels = jnp.maximum(b.before[..., 1] * b.before[..., 2], 1)
    pool_factor = jnp.where(b.is_global_pool, jnp.maximum(1 / pixels, 0.03), 1)
    pool_factor = jnp.where(b.is_avg_pool, _AVG_POOL_MOMENT_FACTOR, pool_factor)
    layers = (b.is_conv | b.is_linear, b.fan_in, gain, pool_factor, b.is_batch_norm, window_on_map)
    ones = jnp.ones(b.mask.shape[:-1])
    _, (moment, signal) = jax.lax.scan(step, (ones, ones), tuple(jnp.moveaxis(x, -1, 0) for x in layers))
    return jnp.moveaxis(jnp.log2(moment) / 10, 0, -1), jnp.moveaxis(jnp.log2(signal) / 10, 0, -1)
