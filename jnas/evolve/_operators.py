"""Children of a population that were never evaluated before."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jnas.evolve._archive import insert
from jnas.evolve._base import State, where_rows
from jnas.evolve._search_space import SearchSpace

_MAX_RETRIES = 8
OffspringFn = Callable[[jax.Array, jax.Array, int], jax.Array]
"""From a key, the mutation rate, and a count: that many genomes."""


def tournament(key: jax.Array, members: jax.Array, size: int, count: int) -> jax.Array:
    """Returns `[count]` indices of a sorted population, the fittest first: the best of `size` drawn from `members`."""
    return jax.random.randint(key, (size, count), 0, jnp.maximum(members, 1)).min(0)


def mutate_population(space: SearchSpace, key: jax.Array, genomes: jax.Array, rate: jax.Array | float) -> jax.Array:
    """Returns `[N, ...]` genomes, each mutated and repaired."""
    return space.repair(jax.vmap(space.mutate, (0, 0, None))(jax.random.split(key, len(genomes)), genomes, rate))


def make_offspring(
    space: SearchSpace,
    key: jax.Array,
    genomes: jax.Array,
    members: jax.Array,
    count: int,
    rate: jax.Array | float,
    tournament_size: int,
    crossover_rate: float,
) -> jax.Array:
    """Returns `[count, ...]` mutated children of the first `members` of `[P, ...]` genomes, the fittest first.

    Parents win a tournament; a share of `crossover_rate` has two of them.
    """
    parent_key, cross_key, share_key, mutate_key = jax.random.split(key, 4)
    parents = genomes[tournament(parent_key, members, tournament_size, 2 * count)]
    first, second = parents[:count], parents[count:]
    children = jax.vmap(space.crossover)(jax.random.split(cross_key, count), first, second)
    children = where_rows(jax.random.bernoulli(share_key, crossover_rate, (count,)), children, first)
    return mutate_population(space, mutate_key, children, rate)


def sample_novel(
    space: SearchSpace, state: State, key: jax.Array, count: int, offspring: OffspringFn
) -> tuple[jax.Array, State]:
    """Returns `[count, ...]` genomes that are valid, different and never evaluated, and the state with their checksum.

    A child that is not is replaced, up to `_MAX_RETRIES` times, by one with more mutations, in the later half of these
    by a random one. What is left after that stays as it is.
    """
    is_small = count <= 64
    num_retried = max(count, 8) if is_small else count // 8  # most children are good: a retry is a part of the work

    def is_missing(carry):
        attempt, _, good, _ = carry
        return (attempt < _MAX_RETRIES) & ~good.all()

    def retry(carry):
        attempt, children, good, seen = carry
        (indices,) = jnp.nonzero(~good, size=num_retried, fill_value=count)
        attempt_key = jax.random.fold_in(key, attempt)
        new = jax.lax.cond(
            attempt >= _MAX_RETRIES // 2,
            lambda: space.sample(attempt_key, num_retried).astype(children.dtype),
            lambda: offspring(attempt_key, state.mutation_rate + attempt, num_retried),
        )
        seen, fine = insert(seen, space.hash_genomes(new), jnp.zeros(num_retried), space.valid(new))
        order = jnp.argsort(~fine, stable=True)  # the good ones first: a missing place has the pick of all
        children = children.at[indices].set(new[order], mode="drop")
        return attempt + 1, children, good.at[indices].set(fine[order], mode="drop"), seen

    if is_small:  # all at once is a retry of everything: one copy of `offspring` to compile
        children = jnp.zeros((count, *state.population.shape[1:]), state.population.dtype)
        start = jnp.int32(0), children, jnp.zeros(count, bool), state.archive
    else:
        first_key, key = jax.random.split(key)
        children = offspring(first_key, state.mutation_rate, count)
        seen, good = insert(state.archive, space.hash_genomes(children), jnp.zeros(count), space.valid(children))
        start = jnp.int32(1), children, good, seen
    _, children, good, _ = jax.lax.while_loop(is_missing, retry, start)
    checksum = space.hash_genomes(children).sum(0, dtype=jnp.uint32)
    return children, state.replace(ask_checksum=jnp.where(good.all(), checksum, 0))
