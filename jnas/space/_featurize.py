"""What a predictor sees of a genome: each layer's bits, and the features that follow from the whole network."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from jnas.space import _layers as lt
from jnas.space._encoding import BITS_PER_LAYER
from jnas.space._genome import (
    INTEGER_VALUES,
    IS_ACTIVATION,
    IS_WINDOWED_LAYER,
    KERNEL,
    LAYER_TYPE,
    PADDING,
    STRIDE,
    WIDTH,
    layer_type_id,
    to_bits,
)
from jnas.space._layer_features import FEATURE_NAMES, LayerBatch, layer_features
from jnas.space._shape_inference import infer_shapes

NUM_FEATURES = BITS_PER_LAYER + len(FEATURE_NAMES)
"""Numbers per layer."""

_PRELU_SLOPE = 0.25  # the initial value of a learned slope


def _float_values() -> tuple[np.ndarray, np.ndarray]:
    """Returns slopes and dropout rates `[type, index]`, the parameters that are not integers."""
    slopes, rates = np.zeros((2, 1 + len(lt.LAYER_TYPES), 19), np.float32)
    for cls in lt.LAYER_TYPES:
        for name, values in cls.parameter_values():
            if name == "negative_slope":
                slopes[layer_type_id(cls), : len(values)] = values
            if name == "p":
                rates[layer_type_id(cls), : len(values)] = values
    slopes[layer_type_id(lt.PReLU)] = _PRELU_SLOPE
    return slopes, rates


_SLOPES, _DROPOUT_RATES = _float_values()


def layer_batch(
    genomes: Int8[Array | np.ndarray, "*n l 6"], in_shape: tuple[int, int, int], classes: int
) -> LayerBatch:
    """Returns genomes as a batch of layers; the last Linear is not among them."""
    rows = jnp.asarray(genomes).astype(jnp.int32)
    types = rows[..., LAYER_TYPE]
    after = infer_shapes(genomes, in_shape, classes).shapes
    image = jnp.broadcast_to(jnp.asarray(in_shape, after.dtype), (*after.shape[:-2], 1, 3))
    before = jnp.concatenate([image, after[..., :-1, :]], -2)

    def value(field):
        return jnp.asarray(INTEGER_VALUES)[types, field, rows[..., field]]

    has_window = jnp.asarray(IS_WINDOWED_LAYER)[types]
    window = jnp.where(has_window, value(KERNEL), 1)
    is_conv, is_linear = types == layer_type_id(lt.Conv2d), types == layer_type_id(lt.Linear)
    fan_in = jnp.where(is_conv, window * window * before[..., 0], jnp.where(is_linear, before[..., 0], 0))
    return LayerBatch(
        mask=types > 0,
        before=before,
        after=after,
        window=window,
        stride=jnp.where(has_window, value(STRIDE), 1),
        padding=jnp.where(has_window, value(PADDING), 0),
        fan_in=fan_in,
        is_conv=is_conv,
        is_linear=is_linear,
        is_avg_pool=types == layer_type_id(lt.AvgPool2d),
        is_global_pool=types == layer_type_id(lt.GlobalAvgPool2d),
        is_batch_norm=types == layer_type_id(lt.BatchNorm2d),
        is_activation=jnp.asarray(IS_ACTIVATION)[types],
        slope=jnp.asarray(_SLOPES)[types, rows[..., WIDTH]],
        dropout=jnp.asarray(_DROPOUT_RATES)[types, rows[..., WIDTH]],
    )


def featurize(
    genomes: Int8[Array | np.ndarray, "*n l 6"], in_shape: tuple[int, int, int], classes: int
) -> Float[Array, "*n l f"]:
    """Returns `NUM_FEATURES` numbers per layer, zero for unused rows: the 32 bits, then the features.

    Args:
      genomes: valid ones.
      in_shape: `(C, H, W)` of one image.
      classes: number of classes.
    """
    features = layer_features(layer_batch(genomes, in_shape, classes), max(in_shape[1:]))
    return jnp.concatenate([to_bits(genomes).astype(jnp.float32), features], -1)
