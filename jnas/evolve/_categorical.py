"""Genes that each take one of a few values, in any combination."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jnas._runtime.jax_config import with_own_settings
from jnas._runtime.random import check_key
from jnas._validation import refuse, to_int, to_tuple


@with_own_settings
@dataclass(frozen=True)
class Categorical:
    """A `SearchSpace` of `[genes]` int32 genomes, gene g from 0 to `num_categories[g] - 1`.

    Raises a `JnasError` if there is no gene, one without a value, or nothing to choose.
    """

    num_categories: tuple[int, ...]

    def __post_init__(self) -> None:
        counts = to_tuple("num_categories", self.num_categories, "a list with the number of values of each gene")
        counts = tuple(to_int("Each of num_categories", count, 1, 1 << 16) for count in counts)
        if max(counts, default=0) < 2:
            refuse("num_categories", ">= 2 for some gene", counts)
        object.__setattr__(self, "num_categories", counts)

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        check_key(key)
        count = to_int("count", count, 0, 1 << 24)
        return jax.random.randint(key, (count, len(self.num_categories)), 0, jnp.array(self.num_categories))

    def crossover(self, key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
        """Each gene from either parent (uniform crossover, Syswerda 1989)."""
        return jnp.where(jax.random.bernoulli(key, 0.5, first.shape), first, second)

    def mutate(self, key: jax.Array, genome: jax.Array, rate: jax.Array | float) -> jax.Array:
        """One gene, and each other one that has a choice with equal probability, so that `rate` change on average."""
        which_key, more_key, step_key = jax.random.split(key, 3)
        num_categories = jnp.array(self.num_categories)
        free = num_categories > 1
        first = jnp.arange(len(genome)) == jnp.argmax(free * (1 + jax.random.uniform(which_key, genome.shape)))
        more = jax.random.uniform(more_key, genome.shape) < (rate - 1) / jnp.maximum(free.sum() - 1, 1)
        changed = first | (more & free)
        step = jax.random.randint(step_key, genome.shape, 1, jnp.maximum(num_categories, 2))
        return jnp.where(changed, (genome + step) % num_categories, genome)

    def repair(self, genomes: jax.Array) -> jax.Array:
        return genomes

    def valid(self, genomes: jax.Array) -> jax.Array:
        return ((genomes >= 0) & (genomes < jnp.array(self.num_categories))).all(-1)

    def hash_genomes(self, genomes: jax.Array) -> jax.Array:
        """Two hashes (FNV-1a with two multipliers)."""
        multipliers = jnp.array([0x01000193, 0x9E3779B1], jnp.uint32)
        words = jnp.broadcast_to(jnp.array([0x811C9DC5, 0x85EBCA6B], jnp.uint32), (*genomes.shape[:-1], 2))
        for gene in range(genomes.shape[-1]):
            words = (words ^ genomes[..., gene, None].astype(jnp.uint32)) * multipliers
            words ^= words >> 15
        return words

    def distance(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """The share of genes that differ (Hamming)."""
        return (first != second).mean(dtype=jnp.float32)

    def encode(self, genomes: jax.Array) -> jax.Array:
        """`[N, genes, values]` float32, one-hot."""
        return jax.nn.one_hot(genomes, max(self.num_categories))
