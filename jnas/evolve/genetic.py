"""A genetic algorithm on fixed-size genomes, all of it on the device.

`init`, `ask` and `tell` pass a `State` along. What a genome means is the business of `Genes`; what makes it fit is the
business of the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Genes(Protocol):
    """What the algorithm needs to know of a space. It must be hashable, and its methods work under jit."""

    def crossover(self, key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """A child of two genomes."""

    def mutate(self, key: jax.Array, genome: jax.Array) -> jax.Array:
        """A genome with a small change."""

    def valid(self, genomes: jax.Array) -> jax.Array:
        """Which of `[N, ...]` genomes may be evaluated: `[N]` bool."""

    def key_of(self, genomes: jax.Array) -> jax.Array:
        """`[N, 2]` uint32 that tell `[N, ...]` genomes apart."""


class State(NamedTuple):
    """The population, fittest first.

    Attributes:
      key: for the next generation's randomness.
      genomes: `[P, ...]`.
      fitness: `[P]` float32, higher is better; minus infinity for members that must not be chosen.
    """

    key: jax.Array
    genomes: jax.Array
    fitness: jax.Array


@dataclass(frozen=True)
class GeneticAlgorithm:
    """Tournament selection, crossover, mutation, and the best of parents and children live on (elitism).

    Args:
      genes: the space's side of it.
      tournament: how many members compete to be a parent.
      crossover_rate: share of children that have two parents; each child is mutated, too.

    A child that is invalid, that fails (its fitness is NaN), or that equals a member of the population gets a fitness
    of minus infinity: it ranks last and is never a parent. A population may be filled up with such members.
    """

    genes: Genes
    tournament: int = 4
    crossover_rate: float = 0.5

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        """The first population: `[P, ...]` genomes and their fitness `[P]`, minus infinity for those to ignore."""
        return self._select(key, genomes, fitness, len(genomes))

    def ask(self, state: State) -> tuple[State, jax.Array]:
        """As many children as there are members: the state for the next call, and genomes `[P, ...]`."""
        key, parent_key, cross_key, there_key, mutate_key = jax.random.split(state.key, 5)
        size = len(state.genomes)
        # The population is sorted, so the fittest of a tournament is the one with the smallest place.
        alive = jnp.maximum(jnp.isfinite(state.fitness).sum(), 1)
        parents = jax.random.randint(parent_key, (2, size, self.tournament), 0, alive).min(-1)
        first, second = state.genomes[parents[0]], state.genomes[parents[1]]
        crossed = jax.vmap(self.genes.crossover)(jax.random.split(cross_key, size), first, second)
        crosses = jax.random.bernoulli(there_key, self.crossover_rate, (size,))
        children = jnp.where(crosses.reshape(-1, *[1] * (first.ndim - 1)), crossed, first)
        children = jax.vmap(self.genes.mutate)(jax.random.split(mutate_key, size), children)
        return state._replace(key=key), children

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        """The best of the population and of `[N, ...]` genomes with fitness `[N]`, as many as there were."""
        everyone = jnp.concatenate([state.genomes, genomes])
        return self._select(state.key, everyone, jnp.concatenate([state.fitness, fitness]), len(state.genomes))

    def _select(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array, size: int) -> State:
        usable = self.genes.valid(genomes) & ~jnp.isnan(fitness) & first_of_equals(self.genes.key_of(genomes))
        fitness = jnp.where(usable, fitness, -jnp.inf)
        best = jnp.argsort(-fitness, stable=True)[:size]
        return State(key, genomes[best], fitness[best])


def first_of_equals(keys: jax.Array) -> jax.Array:
    """Which rows of `[N, 2]` keys are the first of their kind: `[N]` bool."""
    order = jnp.lexsort((jnp.arange(len(keys)), keys[:, 1], keys[:, 0]))
    sorted_keys = keys[order]
    new = jnp.concatenate([jnp.ones(1, bool), (sorted_keys[1:] != sorted_keys[:-1]).any(-1)])
    return jnp.zeros(len(keys), bool).at[order].set(new)


@functools.partial(jax.jit, static_argnames=("algorithm", "fitness", "generations"))
def evolve(
    algorithm: GeneticAlgorithm,
    fitness: Callable[..., jax.Array],
    key: jax.Array,
    genomes: jax.Array,
    measured: jax.Array,
    arguments: tuple,
    generations: int,
) -> State:
    """The population after some generations, as one program.

    Args:
      algorithm: how to breed.
      fitness: a jittable function of genomes `[N, ...]` and `*arguments` that returns `[N]`.
      key: for all randomness.
      genomes, measured: the first population `[P, ...]` and its fitness `[P]`.
      arguments: what the fitness depends on and may change between calls, such as a predictor's parameters.
      generations: how many.
    """

    def generation(_, state):
        state, children = algorithm.ask(state)
        return algorithm.tell(state, children, fitness(children, *arguments))

    return jax.lax.fori_loop(0, generations, generation, algorithm.init(key, genomes, measured))
