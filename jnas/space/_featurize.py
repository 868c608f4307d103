"""What a predictor sees of a genome: each layer's bits, and the facts that follow from the layers together."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jnas.space import _layers as lt
from jnas.space._encoding import BITS
from jnas.space._genome import IS_WINDOW, KERNEL, KIND, PADDING, STRIDE, VALUES, WIDTH, encode, kind_of
from jnas.space._layer_features import NAMES, Chain, facts
from jnas.space._shape_inference import trace

FEATURES = BITS + len(NAMES)
"""Numbers for a layer."""

_PRELU_SLOPE = 0.25  # where a trainable slope starts


def _rates() -> tuple[np.ndarray, np.ndarray]:
    """Slopes and dropout rates `[kind, index]`: the parameters that are no integers."""
    slopes, drops = np.zeros((2, 1 + len(lt.LAYER_TYPES), 19), np.float32)
    for cls in lt.LAYER_TYPES:
        for name, values in cls.ranges():
            if name == "negative_slope":
                slopes[kind_of(cls), : len(values)] = values
            if name == "p":
                drops[kind_of(cls), : len(values)] = values
    slopes[kind_of(lt.PReLU)] = _PRELU_SLOPE
    return slopes, drops


_SLOPES, _DROPS = _rates()
_BENDS = np.array([False, *(issubclass(cls, lt.Activation) for cls in lt.LAYER_TYPES)])


def chain(genomes: jax.Array, in_shape: tuple[int, int, int], classes: int) -> Chain:
    """The layers of genomes `[..., L, 6]` int8; the last Linear is not among them."""
    rows = genomes.astype(jnp.int32)
    kind = rows[..., KIND]
    after = trace(genomes, in_shape, classes).shapes
    first = jnp.broadcast_to(jnp.asarray(in_shape, after.dtype), (*after.shape[:-2], 1, 3))
    before = jnp.concatenate([first, after[..., :-1, :]], -2)

    def value(column):
        return jnp.asarray(VALUES)[kind, column, rows[..., column]]

    windowed = jnp.asarray(IS_WINDOW)[kind]
    window = jnp.where(windowed, value(KERNEL), 1)
    convolves, links = kind == kind_of(lt.Conv2d), kind == kind_of(lt.Linear)
    fan_in = jnp.where(convolves, window * window * before[..., 0], jnp.where(links, before[..., 0], 0))
    return Chain(
        there=kind > 0,
        before=before,
        after=after,
        window=window,
        stride=jnp.where(windowed, value(STRIDE), 1),
        padding=jnp.where(windowed, value(PADDING), 0),
        fan_in=fan_in,
        convolves=convolves,
        links=links,
        averages=kind == kind_of(lt.AvgPool2d),
        merges=kind == kind_of(lt.GlobalAvgPool2d),
        normalises=kind == kind_of(lt.BatchNorm2d),
        bends=jnp.asarray(_BENDS)[kind],
        slope=jnp.asarray(_SLOPES)[kind, rows[..., WIDTH]],
        dropout=jnp.asarray(_DROPS)[kind, rows[..., WIDTH]],
    )


def features(genomes: jax.Array, in_shape: tuple[int, int, int], classes: int) -> jax.Array:
    """`[..., L, 6]` int8 genomes to `[..., L, FEATURES]` float32, zeros in unused rows: 32 bits, then the facts."""
    layers = facts(chain(genomes, in_shape, classes), max(in_shape[1:]))
    return jnp.concatenate([encode(genomes).astype(jnp.float32), layers], -1)
