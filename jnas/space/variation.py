"""Crossover and mutation of genomes: written for one individual, vmapped by the caller.

Neither promises a valid template (see `trace`); both keep layers that take maps before Flatten and the others after
it, so that most children are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jnas.space import layers as lt
from jnas.space.genome import CARDINALITY, COLUMNS, KIND, compact, kind_of, lengths, words
from jnas.space.space import ACTIVATIONS, FLATTEN, random_parameters

_FOR_MAPS = (*ACTIVATIONS, *map(kind_of, (lt.Conv2d, lt.MaxPool2d, lt.AvgPool2d, lt.BatchNorm2d)))
_FOR_VECTORS = (*ACTIVATIONS, *map(kind_of, (lt.Linear, lt.Dropout)))


def crossover(key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """The layers of `first` up to a cut, then those of `second` from a cut in the same part (maps or vectors).

    Args:
      key: for the cuts.
      first, second: genomes `[L, 6]`.

    Returns:
      A genome `[L, 6]`. What does not fit in L rows is cut off.
    """
    length = len(first)
    first_key, second_key = jax.random.split(key)
    cut = jax.random.randint(first_key, (), 0, lengths(first) + 1)
    before_flatten = cut <= _flatten_at(first)
    flatten = _flatten_at(second)
    low = jnp.where(before_flatten, 0, flatten + 1)
    high = jnp.where(before_flatten, flatten, lengths(second))
    start = jax.random.randint(second_key, (), low, high + 1)
    rows = jnp.arange(length)
    source = rows - cut + start
    tail = second[jnp.clip(source, 0, length - 1)]
    return jnp.where((rows < cut)[:, None], first, jnp.where((source < length)[:, None], tail, 0))


def mutate(key: jax.Array, genome: jax.Array) -> jax.Array:
    """One random change: a parameter drawn anew, a layer inserted, removed, or replaced by another of its part.

    Args:
      key: for the choice.
      genome: `[L, 6]`.

    Returns:
      A genome `[L, 6]`.
    """
    which_key, place_key, layer_key, parameter_key = jax.random.split(key, 4)
    count = lengths(genome)
    place = jax.random.randint(place_key, (), 0, jnp.maximum(count, 1))
    layer = _random_layer(layer_key, place <= _flatten_at(genome))
    changes = (
        _draw_parameter(parameter_key, genome),
        _insert(genome, place, layer),
        _set(genome, place, jnp.zeros(COLUMNS, genome.dtype)),
        _set(genome, place, layer),
    )
    which = jax.random.choice(which_key, 4, p=jnp.array([0.55, 0.15, 0.15, 0.15]))
    return compact(jnp.stack(changes)[which])


def _flatten_at(genome: jax.Array) -> jax.Array:
    return jnp.argmax(genome[:, KIND] == FLATTEN)


def _random_layer(key: jax.Array, for_maps: jax.Array) -> jax.Array:
    kind_key, parameter_key = jax.random.split(key)
    maps = jax.random.choice(kind_key, jnp.array(_FOR_MAPS))
    vectors = jax.random.choice(kind_key, jnp.array(_FOR_VECTORS))
    return random_parameters(parameter_key, jnp.where(for_maps, maps, vectors))


def _draw_parameter(key: jax.Array, genome: jax.Array) -> jax.Array:
    """One of the parameters that have a choice, uniformly, set to another of its values."""
    pick_key, value_key = jax.random.split(key)
    cardinality = jnp.asarray(CARDINALITY)[genome[:, KIND].astype(jnp.int32)].at[:, KIND].set(1)
    free = (cardinality > 1).reshape(-1)
    picked = jnp.argmax(jax.random.uniform(pick_key, free.shape) * free)
    values = cardinality.reshape(-1)[picked]
    step = jax.random.randint(value_key, (), 1, jnp.maximum(values, 2))
    flat = genome.reshape(-1).astype(jnp.int32)
    new = (flat[picked] + step) % jnp.maximum(values, 1)
    return jnp.where(free.any(), flat.at[picked].set(new), flat).astype(genome.dtype).reshape(genome.shape)


def _insert(genome: jax.Array, place: jax.Array, layer: jax.Array) -> jax.Array:
    rows = jnp.arange(len(genome))
    shifted = jnp.where((rows > place)[:, None], jnp.roll(genome, 1, axis=0), genome)
    full = genome[-1, KIND] > 0
    return jnp.where(full, genome, shifted.at[place].set(layer))


def _set(genome: jax.Array, place: jax.Array, layer: jax.Array) -> jax.Array:
    return jnp.where(genome[place, KIND] == FLATTEN, genome, genome.at[place].set(layer))


def key_of(genomes: jax.Array) -> jax.Array:
    """Two 32-bit hashes of each genome, `[..., L, 6]` to `[..., 2]` uint32: equal for equal architectures.

    The chance that two of a million different architectures share both is about 1 in 37 million.
    """
    layers = words(genomes)
    result = []
    for multiplier, start in ((0x01000193, 0x811C9DC5), (0x9E3779B1, 0x85EBCA6B)):
        hash = jnp.full(layers.shape[:-1], start, jnp.uint32)
        for i in range(layers.shape[-1]):
            hash = (hash ^ layers[..., i]) * jnp.uint32(multiplier)
            hash ^= hash >> 15
        result.append(hash)
    return jnp.stack(result, -1)
