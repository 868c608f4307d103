"""The space of random CNN templates, and its sampler.

The generator is that of Sophius: one to `conv_num` convolution blocks (Conv2d, an activation, then with probability
one half each MaxPool2d, BatchNorm2d and AvgPool2d), with probability one half GlobalAvgPool2d, Flatten, up to
`lin_num - 1` hidden Linear layers (each with an activation and, with probability one half, Dropout), and the last
Linear. A layer that would leave no pixel is dropped and ends the convolution part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jnas.draws import choices, draws
from jnas.errors import JnasError
from jnas.space import layers as lt
from jnas.space.genome import CARDINALITY, KIND, from_genome, kind_of
from jnas.space.rows import compact, meaning, pack, unpack
from jnas.space.template import Template
from jnas.space.trace import start, step

ACTIVATIONS = tuple(kind_of(cls) for cls in (lt.ReLU, lt.LeakyReLU, lt.PReLU))
FLATTEN = kind_of(lt.Flatten)


@dataclass(frozen=True)
class Space:
    """What may be sampled.

    Args:
      in_shape: `(C, H, W)` of one image.
      classes: number of classes.
      conv_num: convolution layers, at most.
      lin_num: Linear layers, at most, the last one included.
    """

    in_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    conv_num: int = 6
    lin_num: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", tuple(int(n) for n in self.in_shape))
        for name, least in (("conv_num", 1), ("lin_num", 1), ("classes", 2)):
            value = getattr(self, name)
            if value < least:
                raise JnasError(f"{name}={value} makes no space: give at least {least}.")
        if len(self.in_shape) != 3 or min(self.in_shape) < 1:
            raise JnasError(f"in_shape={self.in_shape} is not (channels, height, width) with positive numbers.")

    @property
    def length(self) -> int:
        """Rows of a genome: the layers of the longest template, the last Linear left out."""
        return len(_slots(self))

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """`[count, length, 6]` int8 genomes of random templates, all of them valid; jitted, no loop in Python."""
        return _sample(self, key, count)

    def random(self, seed: int) -> Template:
        """One random template."""
        return self.template(self.sample(jax.random.key(seed), 1)[0])

    def template(self, genome: np.ndarray) -> Template:
        """The template of a genome `[length, 6]` of this space."""
        return from_genome(genome, self.in_shape, self.classes)


def _slots(space: Space) -> list[tuple[int, float, int]]:
    """The generator as a list of slots: `(kind, probability, count)`, where kind 0 stands for any activation.

    `count` is the number that the drawn number of convolution (positive) or hidden Linear (negative) layers must
    reach for the slot to be filled, 0 where it does not matter.
    """
    conv, maximum, norm, mean, linear, dropout, whole = map(
        kind_of,
        (lt.Conv2d, lt.MaxPool2d, lt.BatchNorm2d, lt.AvgPool2d, lt.Linear, lt.Dropout, lt.GlobalAvgPool2d),
    )
    slots = []
    for i in range(1, space.conv_num + 1):
        slots += [(conv, 1.0, i), (0, 1.0, i), (maximum, 0.5, i), (norm, 0.5, i), (mean, 0.5, i)]
    slots += [(whole, 0.5, 0), (FLATTEN, 1.0, 0)]
    for i in range(1, space.lin_num):
        slots += [(linear, 1.0, -i), (0, 1.0, -i), (dropout, 0.5, -i)]
    return slots


def random_parameters(key: jax.Array, kind: jax.Array) -> jax.Array:
    """Rows `[N, 6]` int8 of the given kinds `[N]`, each parameter uniform over its values."""
    cardinality = jnp.asarray(CARDINALITY)[kind]
    rows = choices(key, cardinality)
    return rows.at[..., KIND].set(kind).astype(jnp.int8)


@functools.partial(jax.jit, static_argnames=("space", "count"))
def _sample(space: Space, key: jax.Array, count: int) -> jax.Array:
    kinds, probabilities, counts = map(np.array, zip(*_slots(space), strict=True))

    def one(key):
        kind_key, there_key, parameter_key, conv_key, linear_key = jax.random.split(key, 5)
        activation = jnp.asarray(ACTIVATIONS)[choices(kind_key, np.full(kinds.shape, len(ACTIVATIONS)))]
        rows = random_parameters(parameter_key, jnp.where(kinds == 0, activation, kinds))
        convs = jax.random.randint(conv_key, (), 1, space.conv_num + 1)
        hidden = jax.random.randint(linear_key, (), 0, space.lin_num)
        there = (draws(there_key, kinds.shape) < probabilities * 2**16) & (counts <= convs) & (-counts <= hidden)

        def body(carry, slot):
            state, ended = carry
            row, layer, there, in_conv_part = slot
            out, fits = step(state, layer)
            there = there & ~(ended & in_conv_part)
            keep = there & fits
            state = jax.tree.map(lambda new, old: jnp.where(keep, new, old), out, state)
            return (state, ended | (there & ~fits)), jnp.where(keep, row, 0)

        packed = pack(rows)
        slots = (packed, meaning(packed), there, jnp.asarray(counts > 0))
        _, kept = jax.lax.scan(body, (start(space.in_shape), jnp.bool_(False)), slots)
        return unpack(compact(kept))

    return jax.vmap(one)(jax.random.split(key, count))
