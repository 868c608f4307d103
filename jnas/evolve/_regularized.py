"""Regularised evolution (Real, Aggarwal, Huang and Le 2019, arXiv:1802.01548): the oldest die, not the worst."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve._base import Algorithm, State, num_valid, record, select
from jnas.evolve._operators import mutate_population, sample_novel, tournament
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class RegularizedEvolution(Algorithm):
    """The best of a sample is mutated; its child takes the place of the oldest member.

    `batch_size`, the number of genomes that `ask` returns, is one as in the paper; `sample_size` is the paper's S.
    """

    space: SearchSpace
    batch_size: int = 1
    sample_size: int = 10
    archive_capacity: int = 1 << 16

    def ask(self, state: State) -> tuple[jax.Array, State]:
        key, next_key = jax.random.split(state.key)

        def offspring(key, rate, count):
            parent_key, mutate_key = jax.random.split(key)
            parents = tournament(parent_key, num_valid(state), self.sample_size, count)
            # One change, as in the paper; more only where all that are one change away have been seen.
            return mutate_population(self.space, mutate_key, state.population[parents], rate)

        return sample_novel(self.space, state.replace(key=next_key), key, self.batch_size, offspring)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        state, fitness = record(self.space, state, genomes, fitness)
        everyone = jnp.concatenate([state.fitness, fitness])
        births = jnp.concatenate([state.birth_generation, jnp.full(len(genomes), state.generation)])
        # The youngest that did not fail stay, and are put in the order of their fitness.
        youngest = jnp.lexsort((-everyone, -births, everyone == -jnp.inf))[: len(state.population)]
        return select(state, genomes, fitness, youngest[jnp.argsort(-everyone[youngest], stable=True)])
