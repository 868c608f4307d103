"""What a predictor sees of a genome: each layer's bits, and its output shape, which the bits do not show."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jnas.space.genome import KIND, encode
from jnas.space.trace import trace

WIDTH = 35


def features(genomes: jax.Array, in_shape: tuple[int, int, int], classes: int) -> jax.Array:
    """`[N, L, 6]` int8 genomes to `[N, L, 35]` float32, zeros in unused rows.

    The first 32 are the bit vector; the others are log2 of the layer's output channels, height and width, over 10.
    """
    shapes = jnp.maximum(trace(genomes, in_shape, classes).shapes, 1)
    logs = jnp.where(genomes[..., KIND, None] > 0, jnp.log2(shapes.astype(jnp.float32)) / 10, 0)
    return jnp.concatenate([encode(genomes).astype(jnp.float32), logs], -1)
