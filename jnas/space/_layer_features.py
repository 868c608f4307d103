"""What follows from a chain of layers and is not in its bits: sizes, costs, what a kernel sees, how a signal fares.

The facts are scaled to numbers of about one. They need only windows and shapes, so that tables in another notation can
have them, too (`Chain`); `features` makes a chain of genomes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

NAMES = (
    *("channels", "height", "elements", "fewest elements", "fewest channels"),  # sizes
    *("params", "macs", "params so far", "macs so far", "fan in"),  # costs
    *("receptive field", "share of image", "stride so far", "share of map", "coverage", "coverage so far"),  # sight
    *("position", "layers to come", "convolutions so far", "linears so far"),  # place
    *("window", "stride", "padding", "slope", "dropout", "kept so far"),  # parameters as numbers
    *("window on map", "least window on map", "kept", "fewest kept"),  # what padding and dropout leave
    *("second moment", "signal", "signal share"),  # how a signal fares at initialisation
)
"""The facts of a layer, in order."""

GROUPS = {"sizes": 5, "costs": 5, "sight": 6, "place": 4, "parameters": 6, "left": 4, "signal": 3}
"""How many facts belong together, in order."""

_LARGEST = 7
"""Pixels of the largest window on a side."""
_AVERAGED = 0.6
"""Share of a signal's second moment that a small average pooling leaves; neighbouring pixels are alike."""


class Chain(NamedTuple):
    """Layers in a chain, T of them, unused ones at the end.

    Attributes:
      there: `[..., T]` bool: the layer exists.
      before, after: `[..., T, 3]` the `(C, H, W)` that a layer gets and gives; a vector of N features is (N, 1, 1).
      window, stride, padding: `[..., T]` of convolutions and poolings, in pixels, the window of 7 at most; 1, 1, 0
        elsewhere. Padding is a flag.
      fan_in: `[..., T]` inputs of each output of a convolution or linear layer; 0 elsewhere.
      convolves, links, averages, merges, normalises, bends: `[..., T]` bool: a convolution, linear layer, average
        pooling, global average pooling, batch norm, activation.
      slope: `[..., T]` of an activation on negative numbers.
      dropout: `[..., T]` rate.
    """

    there: jax.Array
    before: jax.Array
    after: jax.Array
    window: jax.Array
    stride: jax.Array
    padding: jax.Array
    fan_in: jax.Array
    convolves: jax.Array
    links: jax.Array
    averages: jax.Array
    merges: jax.Array
    normalises: jax.Array
    bends: jax.Array
    slope: jax.Array
    dropout: jax.Array


def facts(chain: Chain, side: int) -> jax.Array:
    """`[..., T, len(NAMES)]` float32 facts of each layer of chains on images of `side` pixels, zero for unused ones."""
    chain = Chain(*(jnp.asarray(x) if x.dtype == bool else jnp.asarray(x, jnp.float32) for x in chain))
    c = chain
    wide, high = c.after[..., 0], c.after[..., 1]
    high_before = jnp.maximum(c.before[..., 1], 1)
    elements = c.after.prod(-1)
    learns = c.convolves | c.links
    params = jnp.where(learns, (c.fan_in + 1) * wide, 0)
    macs = jnp.where(learns, c.fan_in * elements, 0)

    strides = jnp.cumprod(jnp.minimum(c.stride, 64), -1)
    jump = strides / jnp.minimum(c.stride, 64)  # pixels between neighbours of the map that the layer gets
    field = 1 + jnp.cumsum((c.window - 1) * jump, -1)
    whole = jnp.cumsum(c.merges | c.links, -1) > 0
    field = jnp.where(whole, jnp.maximum(field, side), field)
    share = jnp.where(c.merges | c.links, 1, jnp.where(c.window > 1, jnp.minimum(1, c.window / high_before), 0))
    covered = jnp.square(jnp.minimum(1, jnp.minimum(c.window, c.stride) * high / high_before))
    covered = jnp.where((c.window > 1) | (c.stride > 1), covered, 1)

    place = jnp.arange(c.there.shape[-1]) + jnp.zeros_like(wide)
    length = c.there.sum(-1, keepdims=True)
    fewest = jax.lax.cummin(jnp.where(c.there, elements, 2.0**24), axis=c.there.ndim - 1)
    thinnest = jax.lax.cummin(jnp.where(c.convolves, wide, 4096), axis=c.there.ndim - 1)
    on_map = _on_map(c)
    kept = elements * (1 - c.dropout)
    fewest_kept = jax.lax.cummin(jnp.where(c.there, kept, 2.0**24), axis=c.there.ndim - 1)
    moment, signal = _signal(c, on_map)
    columns = (
        *(_log(wide, 10), _log(high, 5), _log(elements, 16), _log(fewest, 16), _log(thinnest, 10)),
        *(_log(params, 20), _log(macs, 25), _log(jnp.cumsum(params, -1), 20), _log(jnp.cumsum(macs, -1), 25)),
        _log(c.fan_in, 14),
        *(_log(jnp.minimum(field, 4 * side), 7), jnp.minimum(field / side, 1), _log(jnp.minimum(strides, 64), 6)),
        *(share, covered, jnp.log2(jnp.maximum(jnp.cumprod(covered, -1), 2.0**-10)) / 10),
        *(place / 20, (length - 1 - place) / 20, jnp.cumsum(c.convolves, -1) / 6, jnp.cumsum(c.links, -1) / 3),
        *((c.window - 1) / 4, (c.stride - 1) / 4, c.padding, c.slope, c.dropout),
        jnp.cumsum(jnp.log(1 - jnp.minimum(c.dropout, 0.99)), -1),
        *(jnp.log2(on_map) / 5, jnp.log2(jax.lax.cummin(on_map, axis=c.there.ndim - 1)) / 5),
        *(_log(kept, 16), _log(fewest_kept, 16)),
        *(moment, signal, signal - moment),
    )
    return jnp.where(c.there[..., None], jnp.stack(columns, -1), 0).astype(jnp.float32)


def _log(x: jax.Array, scale: float) -> jax.Array:
    return jnp.log2(jnp.maximum(x, 1)) / scale


def _on_map(c: Chain) -> jax.Array:
    """The share of a window that lies on the map, not on the padding around it, on average over its places.

    A window of 7 on a map of one pixel sees 1 / 49 of what its weights are for.
    """
    side, out, stride = c.before[..., 1, None], jnp.maximum(c.after[..., 1, None], 1), c.stride[..., None]
    pixel = jnp.arange(_LARGEST)
    before = c.padding[..., None] * (c.window[..., None] // 2) - pixel
    first = jnp.maximum(jnp.ceil(before / stride), 0)
    last = jnp.minimum(jnp.floor((side - 1 + before) / stride), out - 1)
    places = jnp.where(pixel < c.window[..., None], jnp.maximum(last - first + 1, 0), 0).sum(-1)
    return jnp.square(jnp.clip(places / (c.window * out[..., 0]), 1 / _LARGEST, 1))


def _signal(c: Chain, on_map: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log2 / 10 of the second moment after each layer, and of the part of it that comes from the image, `[..., T]`.

    At PyTorch's initialisation, on images of second moment 1: weights and biases have the variance 1 / (3 fan_in), so
    a layer shrinks what it gets to a third, less what sees only padding, and adds its bias; an activation halves what
    it gets (He et al. 2015).
    """

    def step(carry, layer):
        moment, signal = carry
        learns, fan_in, gain, averaged, normalises, on_map = layer
        moment = jnp.where(learns, on_map * moment / 3 + 1 / (3 * jnp.maximum(fan_in, 1)), moment * gain)
        signal = jnp.where(learns, on_map * signal / 3, signal * gain) * averaged
        signal = jnp.where(normalises, signal / moment, signal)
        moment = jnp.where(normalises, 1.0, moment)
        return (moment, signal), (moment, signal)

    gain = jnp.where(c.bends, (1 + jnp.square(c.slope)) / 2, 1)
    pixels = jnp.maximum(c.before[..., 1] * c.before[..., 2], 1)
    averaged = jnp.where(c.averages, _AVERAGED, jnp.where(c.merges, jnp.maximum(1 / pixels, 0.03), 1))
    layers = (c.convolves | c.links, c.fan_in, gain, averaged, c.normalises, on_map)
    ones = jnp.ones(c.there.shape[:-1])
    _, moments = jax.lax.scan(step, (ones, ones), tuple(jnp.moveaxis(x, -1, 0) for x in layers))
    return tuple(jnp.moveaxis(jnp.log2(x) / 10, 0, -1) for x in moments)
