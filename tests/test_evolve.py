"""The genetic algorithm on a space that is no CNN: bits, of which as many as possible should be one."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jnas.evolve import GeneticAlgorithm, evolve


@dataclass(frozen=True)
class Bits:
    """Genomes are `[24]` zeros and ones; those whose first bit is set are not valid."""

    def crossover(self, key, first, second):
        return jnp.where(jax.random.bernoulli(key, 0.5, first.shape), first, second)

    def mutate(self, key, genome):
        place = jax.random.randint(key, (), 0, len(genome))
        return genome.at[place].set(1 - genome[place])

    def valid(self, genomes):
        return genomes[:, 0] == 0

    def key_of(self, genomes):
        number = (genomes.astype(jnp.uint32) << jnp.arange(24, dtype=jnp.uint32)).sum(-1)
        return jnp.stack([number, number], -1)


def ones(genomes, offset=0.0):
    return genomes.sum(-1).astype(jnp.float32) + offset


ALGORITHM = GeneticAlgorithm(Bits())


def start(size=32, seed=0):
    genomes = jax.random.bernoulli(jax.random.key(seed), 0.3, (size, 24)).astype(jnp.int8).at[:, 0].set(0)
    return jax.random.key(seed + 1), genomes, ones(genomes)


def test_it_finds_the_optimum_and_holds_no_duplicates():
    state = evolve(ALGORITHM, ones, *start(), (0.0,), 60)
    assert float(state.fitness[0]) == 23  # all but the bit that must not be set
    fitness = np.asarray(state.fitness)
    assert (np.diff(fitness) <= 0).all()
    alive = np.asarray(state.genomes)[np.isfinite(fitness)]
    assert len({genome.tobytes() for genome in alive}) == len(alive) and (alive[:, 0] == 0).all()


def test_the_best_is_never_lost():
    state = ALGORITHM.init(*start())
    for _ in range(5):
        best = float(state.fitness[0])
        state, children = ALGORITHM.ask(state)
        assert children.shape == state.genomes.shape and not (children == state.genomes).all()
        state = ALGORITHM.tell(state, children, ones(children))
        assert float(state.fitness[0]) >= best


def test_failed_invalid_and_repeated_members_rank_last():
    key, genomes, fitness = start()
    state = ALGORITHM.init(key, genomes, fitness)
    bad = jnp.ones((3, 24), jnp.int8)  # not valid, and best by count
    failed = jnp.zeros((1, 24), jnp.int8).at[0, 1:].set(1)  # valid and best, but its fitness is NaN
    told = ALGORITHM.tell(
        state,
        jnp.concatenate([bad, failed, state.genomes[:4]]),
        jnp.concatenate([ones(bad), jnp.full(1, jnp.nan), jnp.full(4, 100.0)]),
    )
    np.testing.assert_array_equal(told.fitness[:4], state.fitness[:4])  # repeats count as they first were told
    assert float(told.fitness[0]) < 23


def test_members_to_ignore_are_never_parents():
    key, genomes, _ = start()
    fitness = jnp.full(32, -jnp.inf).at[5].set(1.0)
    state = ALGORITHM.init(key, genomes, fitness)
    _, children = ALGORITHM.ask(state)
    assert ((children != genomes[5]).sum(-1) <= 1).all()  # one parent, one bit flipped


def test_generations_never_recompile():
    evolve(ALGORITHM, ones, *start(seed=1), (0.0,), 3)
    before = evolve._cache_size()
    evolve(GeneticAlgorithm(Bits()), ones, *start(seed=2), (1.0,), 3)
    assert evolve._cache_size() == before
