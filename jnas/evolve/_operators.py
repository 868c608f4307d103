"""Children of a population that nobody has seen before."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jnas.evolve import _archive as archives
from jnas.evolve._base import State
from jnas.evolve._search_space import SearchSpace

ATTEMPTS = 8
"""Tries to replace children that are not valid or not new; the later half of them draw at random."""

Breed = Callable[[jax.Array, jax.Array, int], jax.Array]
"""From a key, the mutation rate, and a count: that many genomes."""


def tournament(key: jax.Array, members: jax.Array, size: int, count: int) -> jax.Array:
    """`[count]` places in a population that is sorted, the fittest first: the best of `size` drawn from `members`."""
    places = jax.random.randint(key, (size, count), 0, jnp.maximum(members, 1))
    return places.min(0)


def mutated(space: SearchSpace, key: jax.Array, genomes: jax.Array, rate: jax.Array) -> jax.Array:
    """Each of `[N, ...]` genomes, mutated and repaired."""
    return space.repair(jax.vmap(space.mutate, (0, 0, None))(jax.random.split(key, len(genomes)), genomes, rate))


def crossed(
    space: SearchSpace,
    key: jax.Array,
    genomes: jax.Array,
    members: jax.Array,
    count: int,
    rate: jax.Array,
    size: int,
    crossover_rate: float,
) -> jax.Array:
    """Mutated children of the first `members` of `[P, ...]` genomes, which are sorted: `[count, ...]`.

    Parents win a tournament of `size`; a share of `crossover_rate` has two of them.
    """
    parent_key, cross_key, there_key, mutate_key = jax.random.split(key, 4)
    parents = tournament(parent_key, members, size, 2 * count)
    first, second = genomes[parents[:count]], genomes[parents[count:]]
    children = jax.vmap(space.crossover)(jax.random.split(cross_key, count), first, second)
    crosses = jax.random.bernoulli(there_key, crossover_rate, (count,))
    children = jnp.where(crosses.reshape(-1, *[1] * (first.ndim - 1)), children, first)
    return mutated(space, mutate_key, children, rate)


def unseen(space: SearchSpace, state: State, key: jax.Array, count: int, breed: Breed) -> tuple[State, jax.Array]:
    """The state, and `[count, ...]` genomes that are valid, different from one another, and were never told.

    A child that is not is replaced, some times over, by one with more mutations, at last by a random one. What is
    left after that stays as it is.
    """
    small = count <= 64
    few = max(count, 8) if small else count // 8  # most children are good, so a retry is a fraction of the work

    def missing(carry):
        attempt, _, good, _ = carry
        return (attempt < ATTEMPTS) & ~good.all()

    def retry(carry):
        attempt, children, good, seen = carry
        (places,) = jnp.nonzero(~good, size=few, fill_value=count)
        attempt_key = jax.random.fold_in(key, attempt)
        new = jax.lax.cond(
            attempt >= ATTEMPTS // 2,
            lambda: space.sample(attempt_key, few).astype(children.dtype),
            lambda: breed(attempt_key, state.rate + attempt, few),
        )
        seen, fine = archives.add(seen, space.hash_genomes(new), jnp.zeros(few), space.valid(new))
        order = jnp.argsort(~fine, stable=True)  # the good ones first: a missing place has the pick of all
        children = children.at[places].set(new[order], mode="drop")
        return attempt + 1, children, good.at[places].set(fine[order], mode="drop"), seen

    if small:  # all at once is a retry of everything: one copy of `breed` to compile
        children = jnp.zeros((count, *state.genomes.shape[1:]), state.genomes.dtype)
        start = jnp.int32(0), children, jnp.zeros(count, bool), state.archive
    else:
        first_key, key = jax.random.split(key)
        children = breed(first_key, state.rate, count)
        keys, valid = space.hash_genomes(children), space.valid(children)
        seen, good = archives.add(state.archive, keys, jnp.zeros(count), valid)
        start = jnp.int32(1), children, good, seen
    _, children, good, _ = jax.lax.while_loop(missing, retry, start)
    total = space.hash_genomes(children).sum(0, dtype=jnp.uint32)
    return state.replace(asked=jnp.where(good.all(), total, 0)), children
