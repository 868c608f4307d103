"""Shapes, validity and cost of genomes, vectorised: the rules of the object form as one scan over the rows.

`infer_shapes` is to genomes what `Template.shapes` and `Template.cost` are to a template, and equals them exactly.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jnas._runtime.jax_config import with_own_settings
from jnas.space import _layers as lt
from jnas.space._genome import Genomes, layer_type_id
from jnas.space._packed_genome import DecodedRow, decode, pack, unpack
from jnas.space._uint64 import UInt64

_CONV, _LINEAR, _FLATTEN = map(layer_type_id, (lt.Conv2d, lt.Linear, lt.Flatten))
_BATCH_NORM, _PRELU = map(layer_type_id, (lt.BatchNorm2d, lt.PReLU))
_GLOBAL_POOL = layer_type_id(lt.GlobalAvgPool2d)
_FLOPS_PER_INPUT = np.array([0, *(cls.flops_per_input for cls in lt.LAYER_TYPES)], np.int32)


class InferredShapes(NamedTuple):
    """What follows from genomes `[..., L, 6]`: arrays `[...]`, and `Cost` with the last Linear included."""

    valid: jax.Array  # whether the genome is a template; the rest is undefined where it is not
    shapes: jax.Array  # `[..., L, 3]` int32, the `(C, H, W)` after each row; a vector of N features is `(N, 1, 1)`
    params: UInt64
    macs: UInt64
    flops: UInt64


class ShapeState(NamedTuple):
    """The input of the next layer: int32 sizes (a vector of N features is N, 1, 1), and whether it is a vector."""

    channels: jax.Array
    height: jax.Array
    width: jax.Array
    is_flat: jax.Array


def initial_state(in_shape: tuple[int, int, int]) -> ShapeState:
    """Returns the state before the first layer, which is one image."""
    channels, height, width = (jnp.int32(n) for n in in_shape)
    return ShapeState(channels, height, width, jnp.bool_(False))


def propagate(state: ShapeState, layer: DecodedRow) -> tuple[ShapeState, Bool[Array, ""]]:
    """Returns the state after one layer, and whether the layer fits."""
    channels, height, width, is_flat = state
    accepts_input = (layer.input_rank == 0) | ((layer.input_rank == 3) == ~is_flat)
    to_pixel = (layer.layer_type == _GLOBAL_POOL) | (layer.layer_type == _FLATTEN)
    pad_minus_kernel = (2 * layer.pad - layer.kernel).astype(jnp.float32)

    def out_side(n):
        # Division takes a tenth of the time in floats; they are exact up to 2^24 pixels.
        windows = jnp.floor((n.astype(jnp.float32) + pad_minus_kernel) / layer.stride.astype(jnp.float32))
        return jnp.where(to_pixel, 1, windows.astype(jnp.int32) + 1)

    has_width = (layer.layer_type == _CONV) | (layer.layer_type == _LINEAR)
    out_channels = jnp.where(has_width, layer.width, channels)
    out_channels = jnp.where(layer.layer_type == _FLATTEN, channels * height * width, out_channels)
    out = ShapeState(out_channels, out_side(height), out_side(width), is_flat | (layer.layer_type == _FLATTEN))
    return out, accepts_input & layer.is_valid & (jnp.minimum(out.height, out.width) >= 1)


def _layer_cost(before: ShapeState, layer: DecodedRow, after: ShapeState) -> tuple[UInt64, UInt64, UInt64]:
    """Returns params, MACs and FLOPs of one layer, as `Cost` counts them."""
    layer_type = layer.layer_type
    is_conv, has_weights = layer_type == _CONV, (layer_type == _CONV) | (layer_type == _LINEAR)
    elements, out_elements = (state.channels * state.height * state.width for state in (before, after))
    fan_in = jnp.where(has_weights, layer.kernel * layer.kernel * before.channels, 0)
    weights, macs = UInt64.product(fan_in, after.channels), UInt64.product(fan_in, out_elements)
    counts = (after.channels, 2 * before.channels, jnp.where(layer.width == 1, before.channels, 1))
    other_params = jnp.select([has_weights, layer_type == _BATCH_NORM, layer_type == _PRELU], counts, 0)
    other_flops = jnp.where(is_conv, out_elements, jnp.asarray(_FLOPS_PER_INPUT)[layer_type] * elements)
    return weights + UInt64.from_integers(other_params), macs, UInt64.from_integers(other_flops) + (macs + macs)


def _add(a: tuple[UInt64, ...], b: tuple[UInt64, ...]) -> tuple[UInt64, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _infer_one(genome: jax.Array | np.ndarray, in_shape: tuple[int, int, int], classes: int) -> InferredShapes:
    def body(carry, row):
        state, valid, ended, total = carry
        layer, is_empty = row
        is_used = layer.layer_type > 0
        out, fits = propagate(state, layer)
        valid = valid & jnp.where(is_used, fits & ~ended, is_empty)
        # After the first layer that does not fit, sizes are undefined; they stop growing there.
        out = jax.tree.map(lambda new, old: jnp.where(is_used & valid, new, old), out, state)
        cost = jax.tree.map(lambda part: jnp.where(valid, part, jnp.uint32(0)), _layer_cost(state, layer, out))
        return (out, valid, ended | ~is_used, _add(total, cost)), jnp.stack(out[:3])

    zero = UInt64.from_integers(jnp.uint32(0))
    rows = pack(genome)
    is_packable = (unpack(rows) == genome).all()  # no index is too large for its field
    carry = (initial_state(in_shape), is_packable, jnp.bool_(False), (zero, zero, zero))
    (state, valid, _, total), shapes = jax.lax.scan(body, carry, (decode(rows), rows == 0))
    macs = UInt64.product(state.channels, jnp.uint32(classes))
    last_linear = (macs + UInt64.from_integers(jnp.uint32(classes)), macs, macs + macs)
    return InferredShapes(valid & state.is_flat, shapes, *_add(total, last_linear))


@with_own_settings
@functools.partial(jax.jit, static_argnames=("in_shape", "classes"))
def infer_shapes(genomes: Genomes, in_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> InferredShapes:
    """Returns validity, shapes and cost of genomes."""
    infer = functools.partial(_infer_one, in_shape=in_shape, classes=classes)
    for _ in range(genomes.ndim - 2):
        infer = jax.vmap(infer)
    return infer(genomes)
