"""Regularised evolution (Real, Aggarwal, Huang and Le 2019): the oldest die, not the worst."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve._base import State, alive, begin, remember
from jnas.evolve._operators import mutated, tournament, unseen
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class RegularizedEvolution:
    """The best of a sample is mutated; its child takes the place of the oldest member.

    Args:
      space: what the genomes mean.
      children: how many `ask` returns; one by default, as in the paper.
      sample: how many members compete to be the parent.
      capacity: how many genomes are remembered.
    """

    space: SearchSpace
    children: int = 1
    sample: int = 10
    capacity: int = 1 << 16

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        return self.tell(begin(self, key, genomes, fitness), genomes, fitness)

    def ask(self, state: State) -> tuple[State, jax.Array]:
        key, next_key = jax.random.split(state.key)

        def breed(key, rate, count):
            parent_key, mutate_key = jax.random.split(key)
            parents = tournament(parent_key, alive(state), self.sample, count)
            # One change, as in the paper; more only where all that are one change away have been seen.
            return mutated(self.space, mutate_key, state.genomes[parents], rate)

        return unseen(self.space, state.replace(key=next_key), key, self.children, breed)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        size, count = len(state.genomes), len(genomes)
        state, fitness = remember(self.space, state, genomes, fitness)
        everyone = jnp.concatenate([state.fitness, fitness])
        born = jnp.concatenate([state.born, jnp.full(count, state.generation)])
        # The youngest that did not fail stay, and are put in the order of their fitness.
        youngest = jnp.lexsort((-everyone, -born, everyone == -jnp.inf))[:size]
        stay = youngest[jnp.argsort(-everyone[youngest], stable=True)]
        return state.replace(
            genomes=jnp.concatenate([state.genomes, genomes])[stay], fitness=everyone[stay], born=born[stay]
        )
