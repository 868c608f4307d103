"""Shapes, validity and cost of genomes, vectorised: the object form's rules as one scan over the rows.

`trace` is to a genome what `Template.shapes` and `Template.cost` are to a template, and equals them exactly.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.space import layers as lt
from jnas.space import wide
from jnas.space.genome import CARDINALITY, IS_WINDOW, KERNEL, KIND, PADDING, STRIDE, VALUES, WIDTH, kind_of

_CONV, _LINEAR, _FLATTEN, _GLOBAL = map(kind_of, (lt.Conv2d, lt.Linear, lt.Flatten, lt.GlobalAvgPool2d))
_BATCH_NORM, _PRELU, _MAX, _AVG = map(kind_of, (lt.BatchNorm2d, lt.PReLU, lt.MaxPool2d, lt.AvgPool2d))

# For each KIND: 1 takes maps only, 0 vectors only, -1 both (unused rows too).
_SPATIAL = np.array([-1, *(-1 if cls.spatial is None else int(cls.spatial) for cls in lt.LAYER_TYPES)])
_IS_ACTIVATION = np.array([False, *(issubclass(cls, lt.Activation) for cls in lt.LAYER_TYPES)])


class Trace(NamedTuple):
    """What follows from genomes `[..., L, 6]`.

    Attributes:
      valid: `[...]` bool: the genome is a template; the rest means nothing where it is not.
      shapes: `[..., L, 3]` int32: the `(C, H, W)` after each row; a vector of N features is `(N, 1, 1)`.
      params, macs, flops: the cost for one image, the last Linear included, as wide counts (see `wide`).
    """

    valid: jax.Array
    shapes: jax.Array
    params: wide.Wide
    macs: wide.Wide
    flops: wide.Wide


class MapState(NamedTuple):
    """What the next layer gets: `channels`, `height`, `width` (a vector of N features is N, 1, 1), and `flat`."""

    channels: jax.Array
    height: jax.Array
    width: jax.Array
    flat: jax.Array


def start(in_shape: tuple[int, int, int]) -> MapState:
    """The images themselves."""
    return MapState(*(jnp.int32(n) for n in in_shape), jnp.bool_(False))


def _value(row: jax.Array, column: int) -> jax.Array:
    return jnp.asarray(VALUES)[row[KIND], column, row[column]]


def step(state: MapState, row: jax.Array) -> tuple[MapState, jax.Array]:
    """The shape after one row `[6]` (int32), and whether the layer fits there."""
    kind, (channels, height, width, flat) = row[KIND], state
    spatial = jnp.asarray(_SPATIAL)[kind]
    takes_it = (spatial < 0) | ((spatial == 1) == ~flat)

    kernel, stride = _value(row, KERNEL), jnp.maximum(_value(row, STRIDE), 1)
    reach = 2 * jnp.where(_value(row, PADDING) == 1, kernel // 2, 0) - kernel
    windowed = jnp.asarray(IS_WINDOW)[kind]
    to_pixel = (kind == _GLOBAL) | (kind == _FLATTEN)

    def side(n):
        return jnp.where(windowed, (n + reach) // stride + 1, jnp.where(to_pixel, 1, n))

    out_channels = jnp.where((kind == _CONV) | (kind == _LINEAR), _value(row, WIDTH), channels)
    out_channels = jnp.where(kind == _FLATTEN, channels * height * width, out_channels)
    out = MapState(out_channels, side(height), side(width), flat | (kind == _FLATTEN))
    in_range = ((row >= 0) & (row < jnp.asarray(CARDINALITY)[jnp.clip(kind, 0, len(CARDINALITY) - 1)])).all()
    return out, takes_it & in_range & (jnp.minimum(out.height, out.width) >= 1)


def _cost(before: MapState, row: jax.Array, after: MapState) -> tuple[wide.Wide, wide.Wide, wide.Wide]:
    """The cost of one layer; see `layers.Cost` for what is counted."""
    kind, kernel = row[KIND], _value(row, KERNEL)
    is_conv, is_linear = kind == _CONV, kind == _LINEAR
    window = jnp.where(is_conv, kernel * kernel, jnp.where(is_linear, 1, 0))
    fan_in = window * before.channels
    pixels_in, pixels_out = before.height * before.width, after.height * after.width
    weights = wide.multiply(fan_in, after.channels)
    macs = wide.multiply(fan_in, after.channels * pixels_out)

    elements = before.channels * pixels_in
    slopes = jnp.where(_value(row, WIDTH) == 1, before.channels, 1)
    others = (
        jnp.where(is_conv | is_linear, after.channels, 0)
        + jnp.where(kind == _BATCH_NORM, 2 * before.channels, 0)
        + jnp.where(kind == _PRELU, slopes, 0)
    )
    flops = (
        jnp.where(is_conv, after.channels * pixels_out, 0)
        + jnp.where(kind == _BATCH_NORM, 2 * elements, 0)
        + jnp.where(jnp.asarray(_IS_ACTIVATION)[kind], elements, 0)
        + jnp.where((kind == _MAX) | (kind == _AVG) | (kind == _GLOBAL), elements, 0)
    )
    return wide.add(weights, wide.widen(others)), macs, wide.add(wide.widen(flops), wide.add(macs, macs))


def _trace_one(genome: jax.Array, in_shape: tuple[int, int, int], classes: int) -> Trace:
    def body(carry, row):
        state, valid, ended, total = carry
        used = row[KIND] > 0
        out, fits = step(state, row)
        valid = valid & jnp.where(used, fits & ~ended, (row == 0).all())
        # Past the first misfit sizes may be anything, so they stop growing there.
        out = jax.tree.map(lambda new, old: jnp.where(used & valid, new, old), out, state)
        cost = _cost(state, jnp.where(valid, row, 0), out)
        return (out, valid, ended | ~used, _add_costs(total, cost)), jnp.stack(out[:3])

    zero = wide.widen(jnp.uint32(0))
    carry = (start(in_shape), jnp.bool_(True), jnp.bool_(False), (zero, zero, zero))
    (state, valid, _, total), shapes = jax.lax.scan(body, carry, genome.astype(jnp.int32))
    macs = wide.multiply(state.channels, jnp.uint32(classes))
    last = (wide.add(macs, wide.widen(jnp.uint32(classes))), macs, wide.add(macs, macs))
    return Trace(valid & state.flat, shapes, *_add_costs(total, last))


def _add_costs(a, b):
    return tuple(wide.add(x, y) for x, y in zip(a, b, strict=True))


@functools.partial(jax.jit, static_argnames=("in_shape", "classes"))
def trace(genomes: jax.Array, in_shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> Trace:
    """Validity, shapes and cost of genomes `[..., L, 6]` int8; see `Trace`."""
    one = functools.partial(_trace_one, in_shape=in_shape, classes=classes)
    for _ in range(genomes.ndim - 2):
        one = jax.vmap(one)
    return one(genomes)
