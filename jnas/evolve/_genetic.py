"""A genetic algorithm on fixed-size genomes, all of it on the device."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve._base import State, alive, begin, remember
from jnas.evolve._operators import crossed, unseen
from jnas.evolve._search_space import SearchSpace


@dataclass(frozen=True)
class GeneticAlgorithm:
    """Tournament selection, crossover, mutation; the best of parents and children live on.

    Args:
      space: what the genomes mean.
      children: how many `ask` returns; as many as there are members by default.
      tournament: how many members compete to be a parent.
      crossover_rate: share of children that have two parents; each child is mutated, too.
      elites: members that neither age nor a restart removes.
      max_age: generations after which a member dies; None for never (Real et al. 2019 show what ageing is good for).
      most_changes: the mutation rate is adapted between 1 and this many changes a child.
      patience: generations without a new best after which all but the elites make room for random genomes; None for
        never.
      capacity: how many genomes are remembered, so that none is asked for twice.

    The mutation rate follows Rechenberg's rule: it grows while more than a fifth of the children enter the population,
    and shrinks while fewer do. See `Algorithm` for what becomes of failures, and `evolve` for many generations as one
    program.
    """

    space: SearchSpace
    children: int | None = None
    tournament: int = 4
    crossover_rate: float = 0.5
    elites: int = 1
    max_age: int | None = None
    most_changes: float = 3.0
    patience: int | None = 20
    capacity: int = 1 << 16

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        return self._survivors(*remember(self.space, begin(self, key, genomes, fitness), genomes, fitness), genomes)

    def ask(self, state: State) -> tuple[State, jax.Array]:
        key, next_key = jax.random.split(state.key)
        members, count = alive(state), self.children or len(state.genomes)

        def breed(key, rate, count):
            # After a restart only the elites are there: the others are random. So is all where no member is left.
            draw = lambda: self.space.sample(key, count).astype(state.genomes.dtype)  # noqa: E731
            cross = lambda: crossed(  # noqa: E731
                *(self.space, key, state.genomes, members, count, rate, self.tournament, self.crossover_rate)
            )
            return jax.lax.cond(members <= self.elites, draw, cross)

        return unseen(self.space, state.replace(key=next_key), key, count, breed)

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        return self._survivors(*remember(self.space, state, genomes, fitness), genomes)

    def order(self, fitness: jax.Array) -> jax.Array:
        """The places of `[N]` or `[N, M]` fitness, the fittest first."""
        return jnp.argsort(-fitness, stable=True)

    def _survivors(self, state: State, fitness: jax.Array, genomes: jax.Array) -> State:
        size, count = len(state.genomes), len(genomes)
        old = state.fitness
        if self.max_age is not None:
            aged = (state.generation - state.born > self.max_age) & (jnp.arange(size) >= self.elites)
            old = jnp.where(_like(aged, old), -jnp.inf, old)
        everyone = jnp.concatenate([old, fitness])
        best = self.order(everyone)[:size]
        fitness = everyone[best]
        entered = ((best >= size) & (fitness.reshape(size, -1)[:, 0] > -jnp.inf)).sum() / count
        rate = state.rate * jnp.where(entered > 0.2, 1.1, 0.95)
        state = state.replace(
            genomes=jnp.concatenate([state.genomes, genomes])[best],
            fitness=fitness,
            born=jnp.concatenate([state.born, jnp.full(count, state.generation)])[best],
            rate=jnp.clip(rate, 1, self.most_changes),
        )
        return state if self.patience is None else self._restarted(state)

    def _restarted(self, state: State) -> State:
        stuck = state.stagnation >= self.patience
        gone = stuck & (jnp.arange(len(state.genomes)) >= self.elites)
        return state.replace(
            fitness=jnp.where(_like(gone, state.fitness), -jnp.inf, state.fitness),
            stagnation=jnp.where(stuck, 0, state.stagnation),
            restarts=state.restarts + stuck,
        )


def _like(mask: jax.Array, values: jax.Array) -> jax.Array:
    """`[N]` made to broadcast with `[N, ...]`."""
    return mask.reshape(-1, *[1] * (values.ndim - 1))
