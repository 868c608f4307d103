"""What an algorithm needs to know of a space, and nothing more."""

from __future__ import annotations

from typing import Protocol

import jax


class SearchSpace(Protocol):
    """The side of a space that the algorithms see. It must be hashable, and its methods work under jit.

    A genome is an array of integers of one fixed shape; `...` below stands for that shape. `crossover`, `mutate`,
    `distance` and `neighbor` are written for one genome and vmapped by the caller, the others take a population.
    """

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many values each gene has, at most; which go together is the business of `valid` and `repair`."""

    @property
    def num_neighbors(self) -> int:
        """How many small changes there are; only local search asks for them."""

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """`[count, ...]` random genomes."""

    def crossover(self, key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """A child of two genomes."""

    def mutate(self, key: jax.Array, genome: jax.Array, rate: jax.Array) -> jax.Array:
        """A genome with at least one small change, and about `rate` of them."""

    def neighbor(self, genome: jax.Array, number: jax.Array) -> jax.Array:
        """The genome with change `number`; itself where that change is not possible."""

    def repair(self, genomes: jax.Array) -> jax.Array:
        """`[N, ...]` genomes, those that are not valid made so as far as that is cheap."""

    def valid(self, genomes: jax.Array) -> jax.Array:
        """Which of `[N, ...]` genomes may be evaluated: `[N]` bool."""

    def hash_genomes(self, genomes: jax.Array) -> jax.Array:
        """`[N, 2]` uint32 that tell `[N, ...]` genomes apart: equal for what would be evaluated alike."""

    def distance(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """How much two genomes differ, from 0 to 1."""

    def encode(self, genomes: jax.Array) -> jax.Array:
        """`[N, ...]` genomes as a surrogate sees them. Only needed where there is one."""
