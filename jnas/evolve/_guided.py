"""Evolution with a surrogate in the loop: many candidates evolve against it, few are evaluated."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jnas.evolve._acquisition import local_penalization, log_expected_improvement, rank_to_normal
from jnas.evolve._archive import first_occurrence_mask, lookup
from jnas.evolve._base import Algorithm, State, init_state, num_valid, truncation_select, where_rows
from jnas.evolve._operators import make_offspring, mutate_population, tournament
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
    """Between two evaluations a population evolves towards what a surrogate expects to improve on the best.

    The population of the state is everything evaluated that did not fail, up to `max_training_points`.

    Args:
      space: it needs an `encode` that the surrogate understands.
      surrogate: predicts fitness; fitted to the population each time that `ask` is called.
      batch_size: how many genomes `ask` returns, chosen for expected improvement and for being different.
      max_training_points: how many evaluated genomes are kept for the surrogate, the best ones where there are more.
      candidates, generations: size of the population that evolves against the surrogate, and for how long it does.
      mutation_rate: changes that its children get, on average.
    """

    space: SearchSpace
    surrogate: Surrogate
    batch_size: int = 1
    max_training_points: int = 128
    candidates: int = 128
    generations: int = 6
    mutation_rate: float = 2.0
    tournament_size: int = 3
    crossover_rate: float = 0.5
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

        def score(genomes):
            """Returns the log expected improvement, minus infinity for what cannot be asked for."""
            seen, _ = lookup(state.archive, self.space.hash_genomes(genomes))
            mean, std = self.surrogate.predict(params, self.space.encode(genomes))
            value = log_expected_improvement(mean, std, targets.max())
            return jnp.where(self.space.valid(genomes) & ~seen, value, -jnp.inf)

        def generation(pool, key):
            genomes, scores = pool
            members, rates = (scores > -jnp.inf).sum(), (self.tournament_size, self.crossover_rate)
            children = make_offspring(self.space, key, genomes, members, self.candidates, self.mutation_rate, *rates)
            return self._best(jnp.concatenate([genomes, children]), jnp.concatenate([scores, score(children)])), None

        first = self._first_candidates(state, key)
        keys = jax.random.split(key, self.generations)
        (genomes, scores), _ = jax.lax.scan(generation, self._best(first, score(first)), keys)
        chosen = local_penalization(scores, genomes, self.batch_size, self.space.distance)
        # Where the pool holds too few that are new, random ones take their places.
        drawn = self.space.sample(fill_key, self.batch_size).astype(genomes.dtype)
        asked = where_rows(scores[chosen] > -jnp.inf, genomes[chosen], drawn)
        return asked, state.replace(key=next_key, aux=params)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return truncation_select(self.space, state, genomes, fitness)

    def _first_candidates(self, state: State, key: jax.Array) -> jax.Array:
        """Half of them random, half mutants of the best few: `[candidates, ...]`."""
        draw_key, parent_key, mutate_key = jax.random.split(key, 3)
        half = self.candidates // 2
        parents = tournament(parent_key, jnp.minimum(num_valid(state), 16), 2, half)
        near = mutate_population(self.space, mutate_key, state.population[parents], self.mutation_rate)
        far = self.space.sample(draw_key, self.candidates - half).astype(near.dtype)
        return jnp.concatenate([near, far])

    def _best(self, genomes: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = jnp.where(first_occurrence_mask(self.space.hash_genomes(genomes)), scores, -jnp.inf)
        best = jnp.argsort(-scores, stable=True)[: self.candidates]
        return genomes[best], scores[best]
