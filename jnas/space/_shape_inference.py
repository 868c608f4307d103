"""Shapes, validity and cost of genomes, vectorised: the object form's rules as one scan over the rows.

`trace` is to a genome what `Template.shapes` and `Template.cost` are to a template, and equals them exactly.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnas.space import _layers as lt
from jnas.space import _uint64 as wide
from jnas.space._genome import kind_of
from jnas.space._packed_genome import Meaning, in_columns, meaning, pack

_CONV, _LINEAR, _FLATTEN, _GLOBAL = map(kind_of, (lt.Conv2d, lt.Linear, lt.Flatten, lt.GlobalAvgPool2d))
_BATCH_NORM, _PRELU, _MAX, _AVG = map(kind_of, (lt.BatchNorm2d, lt.PReLU, lt.MaxPool2d, lt.AvgPool2d))

_FIRST_ACTIVATION = kind_of(lt.ReLU)  # then LeakyReLU and PReLU


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


def step(state: MapState, layer: Meaning) -> tuple[MapState, jax.Array]:
    """The shape after one layer, and whether it fits there."""
    channels, height, width, flat = state
    takes_it = (layer.takes == 2) | ((layer.takes == 1) == ~flat)
    to_pixel = (layer.kind == _GLOBAL) | (layer.kind == _FLATTEN)
    reach = (2 * layer.pad - layer.kernel).astype(jnp.float32)

    def side(n):
        # In floats, where a division takes a tenth of the time; exact up to 2^24 pixels a side.
        moved = jnp.floor((n.astype(jnp.float32) + reach) / layer.stride.astype(jnp.float32)).astype(jnp.int32) + 1
        return jnp.where(to_pixel, 1, moved)

    out_channels = jnp.where((layer.kind == _CONV) | (layer.kind == _LINEAR), layer.width, channels)
    out_channels = jnp.where(layer.kind == _FLATTEN, channels * height * width, out_channels)
    out = MapState(out_channels, side(height), side(width), flat | (layer.kind == _FLATTEN))
    return out, takes_it & layer.known & (jnp.minimum(out.height, out.width) >= 1)


def _cost(before: MapState, layer: Meaning, after: MapState) -> tuple[wide.Wide, wide.Wide, wide.Wide]:
    """The cost of one layer; see `layers.Cost` for what is counted."""
    kind = layer.kind
    is_conv, is_linear = kind == _CONV, kind == _LINEAR
    window = jnp.where(is_conv, layer.kernel * layer.kernel, jnp.where(is_linear, 1, 0))
    fan_in = window * before.channels
    pixels_in, pixels_out = before.height * before.width, after.height * after.width
    weights = wide.multiply(fan_in, after.channels)
    macs = wide.multiply(fan_in, after.channels * pixels_out)

    elements = before.channels * pixels_in
    slopes = jnp.where(layer.width == 1, before.channels, 1)
    others = (
        jnp.where(is_conv | is_linear, after.channels, 0)
        + jnp.where(kind == _BATCH_NORM, 2 * before.channels, 0)
        + jnp.where(kind == _PRELU, slopes, 0)
    )
    is_activation = (kind >= _FIRST_ACTIVATION) & (kind <= _PRELU)
    flops = (
        jnp.where(is_conv, after.channels * pixels_out, 0)
        + jnp.where(kind == _BATCH_NORM, 2 * elements, 0)
        + jnp.where(is_activation, elements, 0)
        + jnp.where((kind == _MAX) | (kind == _AVG) | (kind == _GLOBAL), elements, 0)
    )
    return wide.add(weights, wide.widen(others)), macs, wide.add(wide.widen(flops), wide.add(macs, macs))


def _trace_one(genome: jax.Array, in_shape: tuple[int, int, int], classes: int) -> Trace:
    def body(carry, row):
        state, valid, ended, total = carry
        layer, empty = row
        used = layer.kind > 0
        out, fits = step(state, layer)
        valid = valid & jnp.where(used, fits & ~ended, empty)
        # Past the first misfit sizes may be anything, so they stop growing there.
        out = jax.tree.map(lambda new, old: jnp.where(used & valid, new, old), out, state)
        counted = tuple(wide.only(valid, count) for count in _cost(state, layer, out))
        return (out, valid, ended | ~used, _add_costs(total, counted)), jnp.stack(out[:3])

    zero = wide.widen(jnp.uint32(0))
    packed = pack(genome)
    carry = (start(in_shape), in_columns(genome).all(), jnp.bool_(False), (zero, zero, zero))
    (state, valid, _, total), shapes = jax.lax.scan(body, carry, (meaning(packed), packed == 0))
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
