"""What can be said of a population as a whole."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def first_of_equals(keys: jax.Array) -> jax.Array:
    """Which rows of `[N, 2]` keys are the first of their kind: `[N]` bool."""
    places = jnp.arange(len(keys))
    high, low, order = jax.lax.sort((keys[:, 0], keys[:, 1], places), num_keys=2, is_stable=True)
    new = jnp.concatenate([jnp.ones(1, bool), (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    return jnp.zeros(len(keys), bool).at[order].set(new)


def diversity(
    genomes: jax.Array, there: jax.Array, distance: Callable[[jax.Array, jax.Array], jax.Array], shifts: int = 8
) -> jax.Array:
    """The mean distance of different members, estimated: each is compared with `shifts` others.

    Args:
      genomes: `[N, ...]`.
      there: `[N]` bool, which of them count. The estimate is 0 where fewer than two do.
      distance: of two genomes.
      shifts: of the population against itself.
    """
    order = jnp.argsort(~there, stable=True)
    members, count = genomes[order], there.sum()
    total = 0.0
    for shift in range(1, shifts + 1):
        other = (jnp.arange(len(genomes)) + shift) % jnp.maximum(count, 1)
        apart = jax.vmap(distance)(members, members[other])
        total += jnp.where(jnp.arange(len(genomes)) < count, apart, 0).sum()
    return total / (shifts * jnp.maximum(count, 1))
