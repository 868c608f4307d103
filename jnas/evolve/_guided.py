"""Evolution with a predictor in the loop: many candidates evolve against it, few are evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve import _archive as archives
from jnas.evolve._acquisition import diverse, log_expected_improvement, normal_scores
from jnas.evolve._base import State, alive, begin, keep_best
from jnas.evolve._metrics import first_of_equals
from jnas.evolve._operators import crossed, mutated
from jnas.evolve._search_space import SearchSpace
from jnas.evolve._surrogate import Surrogate


@dataclass(frozen=True)
class GuidedEvolution:
    """Between two evaluations a population evolves towards what a surrogate expects to improve on the best.

    Args:
      space: what the genomes mean; it needs an `encode` that the surrogate understands.
      surrogate: predicts fitness; fitted to all that was told, each time that `ask` is called.
      children: how many `ask` returns, chosen for expected improvement and for being different.
      rows: how many evaluated genomes are kept for the surrogate, the best ones where there are more.
      candidates: size of the population that evolves against the surrogate.
      generations: how many generations it evolves.
      rate: changes that its children get, on average.
      tournament, crossover_rate: as those of `GeneticAlgorithm`.
      capacity: how many genomes are remembered, so that none is asked for twice.

    The population of the state is everything evaluated that did not fail, up to `rows`.
    """

    space: SearchSpace
    surrogate: Surrogate
    children: int = 1
    rows: int = 128
    candidates: int = 128
    generations: int = 6
    rate: float = 2.0
    tournament: int = 3
    crossover_rate: float = 0.5
    capacity: int = 1 << 10

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        state = begin(self, key, genomes, fitness)
        room = [(0, max(self.rows - len(genomes), 0))]
        state = state.replace(
            genomes=jnp.pad(state.genomes, room + [(0, 0)] * (genomes.ndim - 1)),
            fitness=jnp.pad(state.fitness, room, constant_values=-jnp.inf),
            born=jnp.pad(state.born, room),
        )
        state = state.replace(memory=self.surrogate.init(self.space.encode(state.genomes)))
        return self.tell(state, genomes, fitness)

    def ask(self, state: State) -> tuple[State, jax.Array]:
        key, fill_key, next_key = jax.random.split(state.key, 3)
        known = state.fitness > -jnp.inf
        targets = normal_scores(state.fitness, known)
        memory = self.surrogate.fit(state.memory, self.space.encode(state.genomes), targets, known)

        def score(genomes):
            """The logarithm of the expected improvement, minus infinity for what cannot be asked for."""
            seen, _ = archives.find(state.archive, self.space.hash_genomes(genomes))
            mean, std = self.surrogate.predict(memory, self.space.encode(genomes))
            value = log_expected_improvement(mean, std, targets.max())
            return jnp.where(self.space.valid(genomes) & ~seen, value, -jnp.inf)

        def generation(pool, key):
            genomes, scores = pool
            members = (scores > -jnp.inf).sum()
            children = crossed(
                *(self.space, key, genomes, members, self.candidates, self.rate, self.tournament, self.crossover_rate)
            )
            return self._best(jnp.concatenate([genomes, children]), jnp.concatenate([scores, score(children)])), None

        first = self._candidates(state, key)
        pool, _ = jax.lax.scan(generation, self._best(first, score(first)), jax.random.split(key, self.generations))
        genomes, scores = pool
        best = diverse(scores, genomes, self.children, self.space.distance)
        # Where the pool holds too few that are new, random ones take their places.
        drawn = self.space.sample(fill_key, self.children).astype(genomes.dtype)
        new = (scores[best] > -jnp.inf).reshape(-1, *[1] * (genomes.ndim - 1))
        chosen = jnp.where(new, genomes[best], drawn)
        return state.replace(key=next_key, memory=memory), chosen

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return keep_best(self.space, state, genomes, fitness)

    def _candidates(self, state: State, key: jax.Array) -> jax.Array:
        """Half of them random, half mutants of the best few: `[candidates, ...]`."""
        draw_key, place_key, mutate_key = jax.random.split(key, 3)
        half = self.candidates // 2
        places = jax.random.randint(place_key, (2, half), 0, jnp.clip(alive(state), 1, 16)).min(0)
        near = mutated(self.space, mutate_key, state.genomes[places], self.rate)
        far = self.space.sample(draw_key, self.candidates - half).astype(near.dtype)
        return jnp.concatenate([near, far])

    def _best(self, genomes: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = jnp.where(first_of_equals(self.space.hash_genomes(genomes)), scores, -jnp.inf)
        best = jnp.argsort(-scores, stable=True)[: self.candidates]
        return genomes[best], scores[best]
