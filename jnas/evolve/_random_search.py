"""Random search: the baseline that everything must beat (Bergstra and Bengio 2012; Li and Talwalkar 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import jax

from jnas.evolve._base import State, begin, keep_best
from jnas.evolve._operators import unseen
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class RandomSearch:
    """Random genomes, none of them twice; the best so far are the population.

    Args:
      space: what the genomes mean.
      children: how many `ask` returns; as many as there are members by default.
      capacity: how many genomes are remembered.
    """

    space: SearchSpace
    children: int | None = None
    capacity: int = 1 << 16

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        return self.tell(begin(self, key, genomes, fitness, least=1), genomes, fitness)

    def ask(self, state: State) -> tuple[State, jax.Array]:
        key, next_key = jax.random.split(state.key)
        draw = lambda key, rate, count: self.space.sample(key, count).astype(state.genomes.dtype)  # noqa: E731
        return unseen(self.space, state.replace(key=next_key), key, self.children or len(state.genomes), draw)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return keep_best(self.space, state, genomes, fitness)
