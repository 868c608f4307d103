"""What a predictor sees of a network: each layer's bits, and features that follow from the whole network.

The features are sizes, costs, receptive fields and the signal's strength, all scaled to numbers of about 1. They need
only types, windows and shapes, so networks in another notation can have them, too (see `LayerBatch`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnas._runtime.jax_config import with_own_settings
from jnas.space import _layers as lt
from jnas.space._genome import LAYER_TYPE, PADDING, VALUES, WIDTH, Genomes, layer_type_id, to_bits
from jnas.space._packed_genome import decode, pack
from jnas.space._shape_inference import infer_shapes

FEATURE_NAMES = (
    *("channels", "height", "elements", "fewest elements", "fewest channels"),  # sizes
    *("params", "macs", "params so far", "macs so far", "fan in"),  # costs
    *("receptive field", "share of image", "stride so far", "share of map", "coverage", "coverage so far"),
    *("position", "layers to come", "convolutions so far", "linears so far"),  # position
    *("window", "stride", "padding", "slope", "dropout", "kept so far"),  # parameters as numbers
    *("window on map", "least window on map", "kept", "fewest kept"),  # kept fractions, by padding and dropout
    *("second moment", "signal", "signal share"),  # the signal's strength at initialisation
)

_MAX_KERNEL_SIZE = 7
_SIDE = 32
_PRELU_SLOPE = 0.25  # the initial value of a learned slope
_AVG_POOL_MOMENT_FACTOR = 0.6  # of a signal's second moment, for a small window: neighboring pixels are alike


class LayerBatch(NamedTuple):
    """Networks as arrays `[..., T]` of their layers, unused ones at the end; JAX's or NumPy's arrays.

    Shapes are `[..., T, 3]` `(C, H, W)`; a vector of N features is (N, 1, 1).
    """

    layer_type: Any  # 1 + the index in `LAYER_TYPES`; 0 for an unused layer
    before: Any  # shape of the input
    after: Any  # shape of the output
    window: Any  # pixels of the window of a convolution or pooling on a side, 7 at most; 1 elsewhere
    stride: Any  # 1 for layers without a window
    padding: Any  # 1 if the layer pads, else 0
    slope: Any  # of an activation on negative numbers
    dropout: Any  # rate


@with_own_settings
def featurize(genomes: Genomes, in_shape: tuple[int, int, int], classes: int) -> Float[Array, "*n l f"]:
    """Returns the 32 bits and the features of each layer of valid genomes, zero for unused rows."""
    genomes = jnp.asarray(genomes)
    indices = genomes.astype(jnp.int32)
    types = indices[..., LAYER_TYPE]
    after = infer_shapes(genomes, in_shape, classes).shapes
    image = jnp.broadcast_to(jnp.asarray(in_shape, after.dtype), (*after.shape[:-2], 1, 3))
    width, padding = (jnp.asarray(VALUES)[types, field, indices[..., field]] for field in (WIDTH, PADDING))
    slope = jnp.where(_is(types, lt.PReLU), _PRELU_SLOPE, jnp.where(_is(types, lt.LeakyReLU), width, 0))
    row = decode(pack(genomes))
    batch = LayerBatch(
        layer_type=types,
        before=jnp.concatenate([image, after[..., :-1, :]], -2),
        after=after,
        window=row.kernel,
        stride=row.stride,
        padding=padding,
        slope=slope,
        dropout=jnp.where(_is(types, lt.Dropout, lt.Dropout2d), width, 0),
    )
    features = layer_features(batch, max(in_shape[1:]))
    return jnp.concatenate([to_bits(genomes).astype(jnp.float32), features], -1)


@with_own_settings
def layer_features(batch: LayerBatch, side: int) -> Float[Array, "*n t f"]:
    """Returns the features named `FEATURE_NAMES` of each layer for images of `side` pixels, zero for unused layers."""
    types = jnp.asarray(batch.layer_type)
    b = LayerBatch(types, *(jnp.asarray(x, jnp.float32) for x in batch[1:]))
    mask, axis = types > 0, types.ndim - 1
    is_conv, is_linear = _is(types, lt.Conv2d), _is(types, lt.Linear)
    width, pixels, fan_in = b.after[..., 0], b.after[..., 1] * b.after[..., 2], _fan_in(b)
    # As if images had 32 pixels a side: so that what is learned of a network carries to images of another size.
    relative = _SIDE / side
    height = b.after[..., 1] * relative
    elements = width * jnp.where(pixels > 1, pixels * relative**2, 1)
    params = jnp.where(is_conv | is_linear, (fan_in + 1) * width, 0)
    macs = fan_in * elements
    min_elements = jax.lax.cummin(jnp.where(mask, elements, 2.0**24), axis=axis)
    min_channels = jax.lax.cummin(jnp.where(is_conv, width, 4096), axis=axis)

    position = jnp.arange(mask.shape[-1]) + jnp.zeros_like(width)
    length = mask.sum(-1, keepdims=True)
    window_on_map = _window_on_map(b)
    kept = elements * (1 - b.dropout)
    min_kept = jax.lax.cummin(jnp.where(mask, kept, 2.0**24), axis=axis)
    moment, signal = _second_moments(b, fan_in, window_on_map)
    columns = (
        *(_log(width, 10), _log(height, 5), _log(elements, 16), _log(min_elements, 16), _log(min_channels, 10)),
        *(_log(params, 20), _log(macs, 25), _log(jnp.cumsum(params, -1), 20), _log(jnp.cumsum(macs, -1), 25)),
        _log(fan_in, 14),
        *_receptive_field(b, side),
        *(position / 20, (length - 1 - position) / 20),
        *(jnp.cumsum(is_conv, -1) / 6, jnp.cumsum(is_linear, -1) / 3),
        *((b.window - 1) / 4, (b.stride - 1) / 4, b.padding, b.slope, b.dropout),
        jnp.cumsum(jnp.log(1 - jnp.minimum(b.dropout, 0.99)), -1),
        *(jnp.log2(window_on_map) / 5, jnp.log2(jax.lax.cummin(window_on_map, axis=axis)) / 5),
        *(_log(kept, 16), _log(min_kept, 16)),
        *(moment, signal, signal - moment),
    )
    return jnp.where(mask[..., None], jnp.stack(columns, -1), 0).astype(jnp.float32)


def _is(types: jax.Array, *classes: type[lt.LayerTemplate]) -> jax.Array:
    """Returns which layers are of one of some types."""
    return (types[..., None] == np.array([layer_type_id(cls) for cls in classes])).any(-1)


def _log(x: jax.Array, scale: int) -> jax.Array:
    return jnp.log2(jnp.maximum(x, 1)) / scale


def _fan_in(b: LayerBatch) -> jax.Array:
    """Returns the inputs of each output of a convolution or linear layer; 0 elsewhere."""
    of_linear = jnp.where(_is(b.layer_type, lt.Linear), b.before.prod(-1), 0)
    return jnp.where(_is(b.layer_type, lt.Conv2d), b.window * b.window * b.before[..., 0], of_linear)


def _receptive_field(b: LayerBatch, side: int) -> tuple[jax.Array, ...]:
    """Returns the features from "receptive field" to "coverage so far"."""
    height, height_before = b.after[..., 1], jnp.maximum(b.before[..., 1], 1)
    sees_map = _is(b.layer_type, lt.GlobalAvgPool2d, lt.Linear)
    total_stride = jnp.cumprod(jnp.minimum(b.stride, 64), -1)
    input_stride = total_stride / jnp.minimum(b.stride, 64)  # image pixels between neighbors of the layer's input
    field = 1 + jnp.cumsum((b.window - 1) * input_stride, -1)
    field = jnp.where(jnp.cumsum(sees_map, -1) > 0, jnp.maximum(field, side), field)
    map_share = jnp.where(b.window > 1, jnp.minimum(1, b.window / height_before), 0)
    coverage = jnp.square(jnp.minimum(1, jnp.minimum(b.window, b.stride) * height / height_before))
    coverage = jnp.where((b.window > 1) | (b.stride > 1), coverage, 1)
    return (
        *(_log(jnp.minimum(field / side, 4) * _SIDE, 7), jnp.minimum(field / side, 1)),
        *(_log(jnp.minimum(total_stride, 64), 6), jnp.where(sees_map, 1, map_share)),
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


def _second_moments(b: LayerBatch, fan_in: jax.Array, window_on_map: jax.Array) -> tuple[jax.Array, jax.Array]:
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

    types, has_weights = b.layer_type, _is(b.layer_type, lt.Conv2d, lt.Linear)
    gain = jnp.where(_is(types, lt.ReLU, lt.LeakyReLU, lt.PReLU), (1 + jnp.square(b.slope)) / 2, 1)
    pixels = jnp.maximum(b.before[..., 1] * b.before[..., 2], 1)
    pool_factor = jnp.where(_is(types, lt.GlobalAvgPool2d), jnp.maximum(1 / pixels, 0.03), 1)
    pool_factor = jnp.where(_is(types, lt.AvgPool2d), _AVG_POOL_MOMENT_FACTOR, pool_factor)
    layers = (has_weights, fan_in, gain, pool_factor, _is(types, lt.BatchNorm2d), window_on_map)
    ones = jnp.ones(types.shape[:-1])
    _, (moment, signal) = jax.lax.scan(step, (ones, ones), tuple(jnp.moveaxis(x, -1, 0) for x in layers))
    return jnp.moveaxis(jnp.log2(moment) / 10, 0, -1), jnp.moveaxis(jnp.log2(signal) / 10, 0, -1)
