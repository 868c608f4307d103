"""Evolution with a surrogate in the loop: many children are bred, few are evaluated."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jnas.evolve._acquisition import local_penalization, log_probability_of_improvement, rank_to_normal
from jnas.evolve._archive import first_occurrence_mask, lookup
from jnas.evolve._base import Algorithm, State, init_state, num_valid, truncation_select, where_rows
from jnas.evolve._operators import make_offspring
from jnas.evolve._search_space import SearchSpace


class Surrogate(Protocol):
    """A regressor as pure functions. It must be hashable; its parameters are any tree of arrays of fixed shapes."""

    def init(self, inputs: jax.Array, /) -> Any:
        """Returns parameters before the first fit, for `[R, ...]` inputs (only their shape matters)."""
        ...

    def fit(self, params: Any, inputs: jax.Array, targets: jax.Array, mask: jax.Array, /) -> Any:
        """Returns parameters after a fit that starts from those of the last one.

        `[R, ...]` inputs are those of `SearchSpace.encode`, `[R]` targets about standard normal; the mask `[R]` says
        which rows there are.
        """
        ...

    def predict(self, params: Any, inputs: jax.Array, /) -> tuple[jax.Array, jax.Array]:
        """Returns mean and standard deviation for `[N, ...]` inputs, `[N]` each."""
        ...


@dataclass(frozen=True)
class GuidedEvolution(Algorithm):
    """A surrogate chooses which children of the best are evaluated; a search of templates does the same.

    Children stay near what is known to be good. Of many, those are asked for that are most likely to be better than the
    best (Kushner 1964), at a distance from each other (González et al. 2016, arXiv:1505.08052). The population of the
    state is everything evaluated that did not fail, up to `max_training_points`.

    Args:
      space: it needs an `encode` that the surrogate understands.
      surrogate: predicts fitness; fitted to the population each time that `ask` is called.
      batch_size: how many genomes `ask` returns.
      max_training_points: how many evaluated genomes are kept for the surrogate, the best ones where there are more.
      candidates: how many children it chooses from.
      mutation_rate: changes that a child gets, on average.
      tournament_size: a parent is the best of so many drawn at random.
      crossover_rate: share of children that have two parents.
    """

    space: SearchSpace
    surrogate: Surrogate
    batch_size: int = 1
    max_training_points: int = 128
    candidates: int = 512
    mutation_rate: float = 1.5
    tournament_size: int = 3
    crossover_rate: float = 0.3
    archive_capacity: int = 1 << 10

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        state = init_state(self, key, genomes, fitness, self.max_training_points)
        aux = self.surrogate.init(self.space.encode(state.population))
        return self.tell(state.replace(aux=aux), genomes, fitness)

    def ask(self, state: State) -> tuple[jax.Array, State]:
        key, fill_key, next_key = jax.random.split(state.key, 3)
        mask = state.fitness > -jnp.inf
        targets = rank_to_normal(state.fitness, mask)
        params = self.surrogate.fit(state.aux, self.space.encode(state.population), targets, mask)
        settings = self.candidates, self.mutation_rate, self.tournament_size, self.crossover_rate
        children = make_offspring(self.space, key, state.population, num_valid(state), *settings)
        hashes = self.space.hash_genomes(children)
        seen, _ = lookup(state.archive, hashes)
        is_new = self.space.valid(children) & ~seen & first_occurrence_mask(hashes)
        mean, std = self.surrogate.predict(params, self.space.encode(children))
        scores = jnp.where(is_new, log_probability_of_improvement(mean, std, targets.max()), -jnp.inf)
        chosen = local_penalization(scores, children, self.batch_size, self.space.distance)
        # Where there are too few that are new, random ones take their places.
        drawn = self.space.sample(fill_key, self.batch_size).astype(children.dtype)
        asked = where_rows(scores[chosen] > -jnp.inf, children[chosen], drawn)
        return asked, state.replace(key=next_key, aux=params)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return truncation_select(self.space, state, genomes, fitness)
