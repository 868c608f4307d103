"""Random search: the baseline that everything must beat (Bergstra and Bengio 2012; Li and Talwalkar 2019)."""

from dataclasses import dataclass

import jax

from jnas.evolve._base import Algorithm, State, truncation_select
from jnas.evolve._operators import sample_novel
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class RandomSearch(Algorithm):
    """Random genomes, none of them twice; the best so far are the population. A batch is as large by default."""

    space: SearchSpace
    batch_size: int | None = None
    archive_capacity: int = 1 << 16
    min_population = 1

    def ask(self, state: State) -> tuple[jax.Array, State]:
        key, next_key = jax.random.split(state.key)
        count, dtype = self.batch_size or len(state.population), state.population.dtype
        offspring = lambda key, rate, count: self.space.sample(key, count).astype(dtype)  # noqa: E731
        return sample_novel(self.space, state.replace(key=next_key), key, count, offspring)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return truncation_select(self.space, state, genomes, fitness)
