"""Genes that each take one of a few values, in any combination."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError


@dataclass(frozen=True)
class Categorical:
    """A space of `[genes]` int32 genomes, gene g from 0 to `cardinalities[g] - 1`.

    Raises:
      JnasError: there is no gene, one without a value, or nothing to choose.
    """

    cardinalities: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cardinalities", tuple(int(n) for n in self.cardinalities))
        if min(self.cardinalities, default=0) < 1 or max(self.cardinalities) < 2:
            raise JnasError(f"cardinalities={self.cardinalities} leave nothing to choose: give a gene two values.")

    @property
    def num_neighbors(self) -> int:
        return sum(self.cardinalities) - len(self.cardinalities)

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        return jax.random.randint(key, (count, len(self.cardinalities)), 0, jnp.array(self.cardinalities))

    def crossover(self, key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """Each gene from either parent (uniform crossover, Syswerda 1989)."""
        return jnp.where(jax.random.bernoulli(key, 0.5, first.shape), first, second)

    def mutate(self, key: jax.Array, genome: jax.Array, rate: jax.Array) -> jax.Array:
        """One gene, and each other one that has a choice with equal probability, so that `rate` change on average."""
        which_key, more_key, step_key = jax.random.split(key, 3)
        cardinality = jnp.array(self.cardinalities)
        free = cardinality > 1
        first = jnp.arange(len(genome)) == jnp.argmax(free * (1 + jax.random.uniform(which_key, genome.shape)))
        more = jax.random.uniform(more_key, genome.shape) < (rate - 1) / jnp.maximum(free.sum() - 1, 1)
        changed = first | (more & free)
        step = jax.random.randint(step_key, genome.shape, 1, jnp.maximum(cardinality, 2))
        return jnp.where(changed, (genome + step) % cardinality, genome)

    def neighbor(self, genome: jax.Array, number: jax.Array) -> jax.Array:
        """All genomes that differ in one gene, numbered."""
        gene, step = np.array([(g, s) for g, n in enumerate(self.cardinalities) for s in range(1, n)]).T
        here = jnp.arange(len(genome)) == jnp.asarray(gene)[number]
        return jnp.where(here, (genome + jnp.asarray(step)[number]) % jnp.array(self.cardinalities), genome)

    def repair(self, genomes: jax.Array) -> jax.Array:
        return genomes

    def valid(self, genomes: jax.Array) -> jax.Array:
        return ((genomes >= 0) & (genomes < jnp.array(self.cardinalities))).all(-1)

    def hash_genomes(self, genomes: jax.Array) -> jax.Array:
        """Two hashes (FNV-1a with two multipliers)."""
        words = []
        for multiplier, start in ((0x01000193, 0x811C9DC5), (0x9E3779B1, 0x85EBCA6B)):
            word = jnp.full(genomes.shape[:-1], start, jnp.uint32)
            for gene in range(genomes.shape[-1]):
                word = (word ^ genomes[..., gene].astype(jnp.uint32)) * jnp.uint32(multiplier)
                word ^= word >> 15
            words.append(word)
        return jnp.stack(words, -1)

    def distance(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """The share of genes that differ (Hamming)."""
        return (first != second).mean(dtype=jnp.float32)

    def encode(self, genomes: jax.Array) -> jax.Array:
        """`[N, genes, values]` float32, one-hot."""
        return jax.nn.one_hot(genomes, max(self.cardinalities))
