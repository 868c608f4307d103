"""Local search from random starts, which White, Nolen and Savani (2021) found hard to beat on small spaces."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve import _archive as archives
from jnas.evolve._base import State, begin, remember
from jnas.evolve._operators import unseen
from jnas.evolve._search_space import SearchSpace

_MOST_MOVES = 64


@dataclass(frozen=True)
class LocalSearch:
    """Asks for all neighbours of a genome, moves to the best of them, and starts anew where none is better.

    Args:
      space: what the genomes mean, and which neighbours they have.
      children: how many `ask` returns; where fewer neighbours are left, random genomes fill the rest.
      capacity: how many genomes are remembered.

    The first member of the population is where the search stands, its fitness minus infinity while it looks for a
    start; the others are not used.
    """

    space: SearchSpace
    children: int = 1
    capacity: int = 1 << 16

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        return self.tell(begin(self, key, genomes, fitness, least=1), genomes, fitness)

    def ask(self, state: State) -> tuple[State, jax.Array]:
        key, order_key, next_key = jax.random.split(state.key, 3)
        genomes, keys, there = self._around(state)
        known, _ = archives.find(state.archive, keys)
        there &= ~known & (state.fitness[0] > -jnp.inf)
        order = jax.random.permutation(order_key, len(genomes))
        order = order[jnp.argsort(~there[order], stable=True)]
        count = self.children

        def neighbours_then_random(key, rate, size):
            drawn = self.space.sample(key, size).astype(state.genomes.dtype)
            places = order[jnp.minimum(jnp.arange(size), len(order) - 1)]
            found = there[places] & (jnp.arange(size) < len(order)) & (rate == state.rate)  # later tries are random
            return jnp.where(found.reshape(-1, *[1] * (drawn.ndim - 1)), genomes[places], drawn)

        return unseen(self.space, state.replace(key=next_key), key, count, neighbours_then_random)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        state, fitness = remember(self.space, state, genomes, fitness)
        best = jnp.argmax(fitness)
        looking = state.fitness[0] == -jnp.inf
        state = self._at(state, looking, genomes[best], fitness[best])

        def moving(carry):
            return carry[1] & (carry[2] < _MOST_MOVES)

        def move(carry):
            state, _, moves = carry
            genomes, keys, there = self._around(state)
            known, told = archives.find(state.archive, keys)
            told = jnp.where(there, told, -jnp.inf)
            best = jnp.argmax(told)
            complete = (known | ~there).all()
            better = complete & (told[best] > state.fitness[0])
            stuck = complete & ~better & (state.fitness[0] > -jnp.inf)
            state = self._at(state, better, genomes[best], told[best])
            state = self._at(state, stuck, state.genomes[0], -jnp.inf)
            return state.replace(restarts=state.restarts + stuck), better, moves + 1

        state, _, _ = jax.lax.while_loop(moving, move, (state, jnp.bool_(True), 0))
        return state

    def _around(self, state: State) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The neighbours, their keys, and which of them there are: valid, and no copies."""
        here = state.genomes[0]
        genomes = jax.vmap(self.space.neighbor, (None, 0))(here, jnp.arange(self.space.num_neighbors))
        different = (genomes != here).any(tuple(range(1, genomes.ndim)))
        return genomes, self.space.hash_genomes(genomes), different & self.space.valid(genomes)

    def _at(self, state: State, where: jax.Array, genome: jax.Array, fitness: jax.Array) -> State:
        return state.replace(
            genomes=state.genomes.at[0].set(jnp.where(where, genome, state.genomes[0])),
            fitness=state.fitness.at[0].set(jnp.where(where, fitness, state.fitness[0])),
            born=state.born.at[0].set(jnp.where(where, state.generation, state.born[0])),
        )
