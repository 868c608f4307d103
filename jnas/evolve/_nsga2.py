"""NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002): a population spread along the front of several objectives."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas.evolve._genetic import GeneticAlgorithm
from jnas.evolve._pareto import crowding, fronts


@dataclass(frozen=True)
class NSGA2(GeneticAlgorithm):
    """The genetic algorithm whose fitness is `[P, M]`: the lower front first, then who has more room in it.

    The arguments are those of `GeneticAlgorithm`. A restart would give up the front, so there is none by default.
    """

    patience: int | None = None

    def order(self, fitness: jax.Array) -> jax.Array:
        fitness = fitness.reshape(len(fitness), -1)
        ranks = fronts(fitness)
        return jnp.lexsort((-crowding(fitness, ranks), ranks))
