"""What an algorithm needs to know of a space, and nothing more."""

from typing import Protocol

import jax


class SearchSpace(Protocol):
    """A space as the algorithms see it. It must be hashable, and its methods work under jit.

    A genome is an array of integers of one fixed shape; `...` below stands for that shape. `crossover`, `mutate` and
    `distance` take single genomes and are vmapped by the caller, the others take a population.
    """

    def sample(self, key: jax.Array, count: int, /) -> jax.Array:
        """Returns `[count, ...]` random genomes."""
        ...

    def crossover(self, key: jax.Array, first: jax.Array, second: jax.Array, /) -> jax.Array:
        """Returns a child of two genomes."""
        ...

    def mutate(self, key: jax.Array, genome: jax.Array, rate: jax.Array | float, /) -> jax.Array:
        """Returns a genome with at least one small change, and about `rate` of them."""
        ...

    def repair(self, genomes: jax.Array, /) -> jax.Array:
        """Returns `[N, ...]` genomes, those that are not valid made so as far as that is cheap."""
        ...

    def valid(self, genomes: jax.Array, /) -> jax.Array:
        """Returns which of `[N, ...]` genomes may be evaluated: `[N]` bool."""
        ...

    def hash_genomes(self, genomes: jax.Array, /) -> jax.Array:
        """Returns `[N, 2]` uint32 that tell `[N, ...]` genomes apart: equal for what would be evaluated alike."""
        ...

    def distance(self, first: jax.Array, second: jax.Array, /) -> jax.Array:
        """Returns how much two genomes differ, from 0 to 1."""
        ...

    def encode(self, genomes: jax.Array, /) -> jax.Array:
        """Returns `[N, ...]` genomes as a surrogate sees them; only needed where there is one."""
        ...
