"""Local search from random starts, which White, Nolen and Savani (2021) found hard to beat on small spaces."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve import Algorithm, Categorical, State
from jnas.evolve._archive import lookup
from jnas.evolve._base import record, where_rows
from jnas.evolve._operators import sample_novel

_MAX_MOVES = 64


@dataclass(frozen=True)
class LocalSearch(Algorithm):
    """Asks for all genomes that differ in one gene, moves to the best of them, and starts anew if none is better.

    The first member of the population is where the search stands, its fitness minus infinity while it looks for a
    start; the others are not used.

    Args:
      space: what the genomes mean.
      batch_size: how many `ask` returns; where fewer neighbours are left, random genomes fill the rest.
      archive_capacity: how many genomes are remembered.
    """

    space: Categorical
    batch_size: int = 1
    archive_capacity: int = 1 << 16
    min_population = 1

    def ask(self, state: State) -> tuple[jax.Array, State]:
        key, order_key, next_key = jax.random.split(state.key, 3)
        genomes, keys, there = self._neighbours(state)
        known, _ = lookup(state.archive, keys)
        there &= ~known & (state.fitness[0] > -jnp.inf)
        order = jax.random.permutation(order_key, len(genomes))
        order = order[jnp.argsort(~there[order], stable=True)]

        def neighbours_then_random(key, rate, size):
            drawn = self.space.sample(key, size).astype(genomes.dtype)
            places = order[jnp.minimum(jnp.arange(size), len(order) - 1)]
            # Later tries, which have a higher rate, are random.
            found = there[places] & (jnp.arange(size) < len(order)) & (rate == state.mutation_rate)
            return where_rows(found, genomes[places], drawn)

        return sample_novel(self.space, state.replace(key=next_key), key, self.batch_size, neighbours_then_random)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        state, fitness = record(self.space, state, genomes, fitness)
        best = jnp.argmax(fitness)
        state = self._move(state, state.fitness[0] == -jnp.inf, genomes[best], fitness[best])

        def is_moving(carry):
            _, moved, moves = carry
            return moved & (moves < _MAX_MOVES)

        def move(carry):
            state, _, moves = carry
            genomes, keys, there = self._neighbours(state)
            known, values = lookup(state.archive, keys)
            values = jnp.where(there, values, -jnp.inf)
            best = jnp.argmax(values)
            complete = (known | ~there).all()
            better = complete & (values[best] > state.fitness[0])
            stuck = complete & ~better & (state.fitness[0] > -jnp.inf)
            state = self._move(state, better, genomes[best], values[best])
            state = self._move(state, stuck, state.population[0], -jnp.inf)
            return state.replace(restarts=state.restarts + stuck), better, moves + 1

        return jax.lax.while_loop(is_moving, move, (state, jnp.bool_(True), 0))[0]

    def _neighbours(self, state: State) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The genomes that differ in one gene, their keys, and which of them are valid."""
        here, num_categories = state.population[0], jnp.array(self.space.num_categories)
        changes = [(gene, step) for gene, n in enumerate(self.space.num_categories) for step in range(1, n)]
        gene, step = jnp.array(changes).T
        is_changed = jnp.arange(len(here)) == gene[:, None]
        genomes = jnp.where(is_changed, (here + step[:, None]) % num_categories, here)
        return genomes, self.space.hash_genomes(genomes), self.space.valid(genomes)

    def _move(self, state: State, where: jax.Array, genome: jax.Array, fitness: jax.Array | float) -> State:
        return state.replace(
            population=state.population.at[0].set(jnp.where(where, genome, state.population[0])),
            fitness=state.fitness.at[0].set(jnp.where(where, fitness, state.fitness[0])),
            birth_generation=state.birth_generation.at[0].set(
                jnp.where(where, state.generation, state.birth_generation[0])
            ),
        )
