"""A genetic algorithm on fixed-size genomes, and NSGA-II, which differs from it in the order of members only."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve._base import Algorithm, State, first_objective, num_valid, record, select, where_rows
from jnas.evolve._operators import make_offspring, sample_novel
from jnas.evolve._pareto import crowding_distance, nondominated_rank
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class GeneticAlgorithm(Algorithm):
    """Tournament selection, crossover, mutation; the best of parents and children live on.

    The mutation rate follows Rechenberg's rule: it grows while more than a fifth of the children enter the population,
    and shrinks while fewer do.

    Args:
      batch_size: how many genomes `ask` returns; as many as there are members by default.
      crossover_rate: share of children that have two parents; each child is mutated, too.
      num_elites: members that a restart does not remove.
      max_mutations: the mutation rate is adapted between 1 and this many changes a child.
      stagnation_limit: generations without a new best after which all but the elites make room for random genomes; None
        for no restarts.
      archive_capacity: how many genomes are remembered, so that none is asked for twice.
    """

    space: SearchSpace
    batch_size: int | None = None
    tournament_size: int = 4
    crossover_rate: float = 0.5
    num_elites: int = 1
    max_mutations: float = 3.0
    stagnation_limit: int | None = 20
    archive_capacity: int = 1 << 16

    def ask(self, state: State) -> tuple[jax.Array, State]:
        key, next_key = jax.random.split(state.key)
        members, rates = num_valid(state), (self.tournament_size, self.crossover_rate)

        def offspring(key, rate, count):
            # After a restart only the elites are there: the others are random. So is all where no member is left.
            return jax.lax.cond(
                members <= self.num_elites,
                lambda: self.space.sample(key, count).astype(state.population.dtype),
                lambda: make_offspring(self.space, key, state.population, members, count, rate, *rates),
            )

        count = self.batch_size or len(state.population)
        return sample_novel(self.space, state.replace(key=next_key), key, count, offspring)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        state, fitness = record(self.space, state, genomes, fitness)
        size = len(state.population)
        best = self.order(jnp.concatenate([state.fitness, fitness]))[:size]
        state = select(state, genomes, fitness, best)
        entered = ((best >= size) & (first_objective(state.fitness) > -jnp.inf)).sum() / len(genomes)
        rate = state.mutation_rate * jnp.where(entered > 0.2, 1.1, 0.95)
        state = state.replace(mutation_rate=jnp.clip(rate, 1, self.max_mutations))
        if self.stagnation_limit is None:
            return state
        is_stuck, is_elite = state.stagnation >= self.stagnation_limit, jnp.arange(size) < self.num_elites
        return state.replace(
            fitness=where_rows(~is_stuck | is_elite, state.fitness, -jnp.inf),
            stagnation=jnp.where(is_stuck, 0, state.stagnation),
            restarts=state.restarts + is_stuck,
        )

    def order(self, fitness: jax.Array) -> jax.Array:
        """Returns the indices of `[N]` or `[N, M]` fitness, the fittest first."""
        return jnp.argsort(-fitness, stable=True)


@dataclass(frozen=True)
class NSGA2(GeneticAlgorithm):
    """The genetic algorithm for `[P, M]` fitness: lower fronts first, then more room in one (Deb et al. 2002)."""

    stagnation_limit: int | None = None  # a restart would give up the front

    def order(self, fitness: jax.Array) -> jax.Array:
        fitness = fitness.reshape(len(fitness), -1)
        ranks = nondominated_rank(fitness)
        return jnp.lexsort((-crowding_distance(fitness, ranks), ranks))
