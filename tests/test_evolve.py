"""One contract for all algorithms, driven by one table; and what each of them promises beyond it."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnas.errors import JnasError
from jnas.evolve import (
    NSGA2,
    Categorical,
    GaussianProcess,
    GeneticAlgorithm,
    GuidedEvolution,
    RandomSearch,
    RegularizedEvolution,
    mean_pairwise_distance,
    run,
)
from jnas.evolve import _archive as archives
from jnas.evolve._operators import make_offspring

SPACE = Categorical((3, 4, 2, 3, 5, 1))


@dataclass(frozen=True)
class Even(Categorical):
    """A space with genomes that are not valid: those with an odd sum."""

    def valid(self, genomes):
        return super().valid(genomes) & (genomes.sum(-1) % 2 == 0)


EVEN = Even((3, 4, 2, 3, 5, 1))
ALGORITHMS = {
    "genetic": GeneticAlgorithm(EVEN, stagnation_limit=4, archive_capacity=512),
    "regularized": RegularizedEvolution(EVEN, batch_size=4, sample_size=4, archive_capacity=512),
    "random": RandomSearch(EVEN, batch_size=4, archive_capacity=512),
    "guided": GuidedEvolution(
        EVEN,
        GaussianProcess(steps=1),
        batch_size=4,
        max_training_points=64,
        candidates=64,
        archive_capacity=512,
    ),
    "nsga2": NSGA2(EVEN, batch_size=8, archive_capacity=512),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def total(genomes):
    """The fitness: the sum of the genes, at best 2 + 3 + 1 + 2 + 4 = 12."""
    return genomes.sum(-1).astype(jnp.float32)


def told(name, genomes):
    """The fitness as the algorithm wants it: NSGA-II gets a second objective, which the first gene spoils."""
    return total(genomes) if name != "nsga2" else jnp.stack([total(genomes), -genomes[:, 0].astype(jnp.float32)], -1)


@functools.cache
def jitted(algorithm):
    """An algorithm's functions, compiled: run one operation after the other they take minutes."""
    return jax.jit(algorithm.init), jax.jit(algorithm.ask), jax.jit(algorithm.tell)


def compiled(name):
    return jitted(ALGORITHMS[name])


def first(name, size=8, seed=0):
    genomes = SPACE.sample(jax.random.key(seed), 200)
    genomes = jnp.asarray(np.unique(np.asarray(genomes)[np.asarray(EVEN.valid(genomes))], axis=0)[:size])
    return compiled(name)[0](jax.random.key(seed + 1), genomes, told(name, genomes)), genomes


def rows(genomes):
    return [tuple(genome) for genome in np.asarray(genomes).tolist()]


@every_algorithm
def test_what_is_asked_is_valid_and_new_and_the_best_is_kept(name):
    _, ask, tell = compiled(name)
    state, genomes = first(name)
    seen, best = set(rows(genomes)), float(state.best_fitness)
    assert best == float(total(genomes).max())
    for turn in range(1, 7):
        asked, state = ask(state)
        assert EVEN.valid(asked).all() and len(set(rows(asked))) == len(asked) and not seen & set(rows(asked))
        state = tell(state, asked, told(name, asked))
        seen |= set(rows(asked))
        assert float(state.best_fitness) == max(best, float(total(asked).max()))
        best = float(state.best_fitness)
        assert int(state.generation) == turn + 1 and int(state.archive.count) == len(seen)
    assert ask._cache_size() <= 1 and tell._cache_size() <= 1


@every_algorithm
def test_it_gets_better_than_where_it_started(name):
    _, ask, tell = compiled(name)
    state, genomes = first(name)
    for _ in range(18):
        asked, state = ask(state)
        state = tell(state, asked, told(name, asked))
    assert float(state.best_fitness) > float(total(genomes).max())


@every_algorithm
def test_failures_are_remembered_and_never_members(name):
    _, ask, tell = compiled(name)
    state, _ = first(name)
    asked, state = ask(state)
    before = float(state.best_fitness)
    after = tell(state, asked, told(name, asked) * jnp.nan)
    assert float(after.best_fitness) == before and not jnp.isnan(after.fitness).any()
    members = set(rows(after.population[np.asarray(after.fitness).reshape(len(after.population), -1)[:, 0] > -np.inf]))
    assert not members & set(rows(asked))
    known, fitness = archives.lookup(after.archive, EVEN.hash_genomes(asked))
    assert known.all() and (fitness == -jnp.inf).all()
    second, again = ask(after)
    assert not set(rows(second)) & set(rows(asked))
    # What is told again keeps what it was told first, and nothing is made of what is not valid.
    odd = jnp.array([[2, 3, 1, 2, 3, 0]] * len(asked))
    for others in (asked, odd):
        assert float(tell(again, others, told(name, others) + 100).best_fitness) == before


@every_algorithm
def test_minus_infinity_is_passed_over(name):
    _, ask, tell = compiled(name)
    state, genomes = first(name)
    asked, state = ask(state)
    after = tell(state, asked, jnp.full_like(told(name, asked), -jnp.inf))
    assert int(after.archive.count) == len(genomes) and float(after.best_fitness) == float(state.best_fitness)


@every_algorithm
def test_a_stored_state_goes_on_as_if_nothing_had_happened(name, tmp_path):
    _, ask, tell = compiled(name)
    state, _ = first(name)
    asked, state = ask(state)
    state = tell(state, asked, told(name, asked))
    state.save(tmp_path / "state")
    other, _ = first(name, seed=5)
    loaded = other.load(tmp_path / "state")
    np.testing.assert_array_equal(ask(loaded)[0], ask(state)[0])
    with pytest.raises(JnasError, match="is not a checkpoint of jnas"):
        state.load(tmp_path)


@every_algorithm
def test_small_populations_are_told(name):
    algorithm = ALGORITHMS[name]
    nothing = jnp.zeros((0, 6), jnp.int32)
    with pytest.raises(JnasError, match=r"^genomes must have \d members or more for \w+, got 0\.$"):
        algorithm.init(jax.random.key(0), nothing, told(name, nothing))
    one = jnp.zeros((1, 6), jnp.int32)
    if name != "random":
        with pytest.raises(JnasError, match=r"^genomes must have 2 members or more for \w+, got 1\.$"):
            algorithm.init(jax.random.key(0), one, told(name, one))
    with pytest.raises(JnasError, match="fitness must be a number, or a row of objectives, for each of 2 genomes"):
        algorithm.init(jax.random.key(0), jnp.zeros((2, 6), jnp.int32), jnp.zeros(3))


def test_repeats_are_vmapped_and_repeat_themselves():
    algorithm = ALGORITHMS["genetic"]
    genomes = jnp.stack([first("genetic", seed=seed)[1] for seed in (0, 0, 3)])
    keys = jax.random.split(jax.random.key(0), 3).at[1].set(jax.random.split(jax.random.key(0), 3)[0])
    state = jax.jit(jax.vmap(algorithm.init))(keys, genomes, total(genomes))
    asked, _ = jax.jit(jax.vmap(algorithm.ask))(state)
    assert (asked[0] == asked[1]).all() and not (asked[0] == asked[2]).all()


def score(genomes, offset):
    return total(genomes) + offset


def test_many_generations_are_one_program_and_never_compile_again():
    genomes = jnp.asarray(first("genetic")[1])
    algorithm = GeneticAlgorithm(EVEN, archive_capacity=512)
    state = run(algorithm, score, jax.random.key(0), genomes, 12, (0.0,))
    assert float(state.best_fitness) == 12
    fitness = np.asarray(state.fitness)
    assert (np.diff(fitness) <= 0).all() and len(set(rows(state.population))) == len(genomes)
    before = run.program()._cache_size()
    run(algorithm, score, jax.random.key(1), genomes, 12, (1.0,))
    assert run.program()._cache_size() == before


def test_members_to_ignore_are_never_parents():
    genomes = jnp.zeros((16, 6), jnp.int32).at[:, 4].set(jnp.arange(16) % 5).at[:, 3].set(jnp.arange(16) // 5 % 3)
    fitness = jnp.full(16, -jnp.inf).at[5].set(1.0)
    state = jitted(GeneticAlgorithm(SPACE, archive_capacity=512))[0](jax.random.key(0), genomes, fitness)
    # The first breed only: later tries have more mutations, and at last random genomes.
    breed = jax.jit(make_offspring, static_argnums=(0, 4, 6, 7))
    children = breed(SPACE, jax.random.key(1), state.population, 1, 32, 1.0, 4, 0.5)
    assert ((children != genomes[5]).sum(-1) == 1).all()


def test_the_oldest_die():
    genomes = SPACE.sample(jax.random.key(0), 4).at[:, 0].set(jnp.arange(4) % 3).at[:, 1].set(jnp.arange(4))
    init, ask, tell = jitted(RegularizedEvolution(SPACE, sample_size=3, archive_capacity=512))
    state = init(jax.random.key(0), genomes, jnp.array([9.0, 8, 7, 6]))
    for number in range(4):
        child, state = ask(state)
        state = tell(state, child, jnp.array([float(number)]))
    assert sorted(np.asarray(state.fitness).tolist()) == [0, 1, 2, 3]  # none of the first, though they were better
    assert float(state.best_fitness) == 9


def test_stagnation_restarts_and_the_mutation_rate_adapts():
    init, ask, tell = jitted(GeneticAlgorithm(SPACE, stagnation_limit=3, num_elites=2, archive_capacity=512))
    genomes = jnp.asarray(np.unique(np.asarray(SPACE.sample(jax.random.key(2), 64)), axis=0)[:8])
    state = init(jax.random.key(0), genomes, 10.0 + jnp.arange(8))
    rates = []
    for _ in range(3):
        children, state = ask(state)
        state = tell(state, children, jnp.zeros(8))
        rates.append(float(state.mutation_rate))
    assert int(state.restarts) == 1 and np.isfinite(np.asarray(state.fitness)).tolist() == [True] * 2 + [False] * 6
    assert np.asarray(state.fitness)[:2].tolist() == [17, 16]
    children, _ = ask(state)
    assert not set(rows(children)) & set(rows(genomes))
    state = init(jax.random.key(0), genomes, jnp.arange(8.0))
    for step in range(4):
        children, state = ask(state)
        state = tell(state, children, 100.0 + 10 * step + jnp.arange(8))
    assert float(state.mutation_rate) > max(rates) >= 1  # all children enter, so mutations may be bolder


def test_an_exhausted_space_is_no_endless_loop():
    space = Categorical((2, 2))
    every = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for algorithm in (GeneticAlgorithm(space, archive_capacity=8), RandomSearch(space)):
        init, ask, tell = jitted(algorithm)
        asked, state = ask(init(jax.random.key(0), every, jnp.arange(4.0)))
        after = tell(state, asked, jnp.full(len(asked), 50.0))
        assert float(after.best_fitness) == 3 and int(after.archive.count) == 4


def spread(numbers):
    """Small numbers as what hashes look like."""
    return numbers.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(7)


def test_the_archive_is_exact():
    generator = np.random.default_rng(0)
    archive, reference = archives.empty_archive(3000), {}
    for _ in range(4):
        keys = spread(generator.integers(0, 40, (1000, 2)))
        values = generator.normal(size=1000).astype(np.float32)
        where = generator.random(1000) < 0.9
        expected = []
        for key, value, there in zip(map(tuple, keys), values, where, strict=True):
            expected.append(bool(there and key not in reference))
            if there:
                reference.setdefault(key, value)
        archive, new = jax.jit(archives.insert)(archive, keys, values, where)
        assert new.tolist() == expected and int(archive.count) == len(reference)
    every = spread(np.stack(np.meshgrid(np.arange(41), np.arange(41)), -1).reshape(-1, 2))
    known, fitness = jax.jit(archives.lookup)(archive, every)
    assert known.tolist() == [tuple(key) in reference for key in every]
    assert [float(f) for f in fitness[known]] == [float(reference[tuple(key)]) for key in every[np.asarray(known)]]


def test_a_full_archive_keeps_what_it_has():
    archive = archives.empty_archive(2)  # 4 slots
    keys = jnp.stack([jnp.arange(9, dtype=jnp.uint32)] * 2, -1)
    archive, new = jax.jit(archives.insert)(archive, keys, jnp.arange(9.0), jnp.ones(9, bool))
    assert int(archive.count) == int(new.sum()) == 4
    known, _ = archives.lookup(archive, keys)
    assert known.tolist() == new.tolist()
    with pytest.raises(JnasError, match="archive_capacity must be an integer from 1 to"):
        archives.empty_archive(0)


def test_categorical_genes():
    keys = jax.random.split(jax.random.key(0), 2000)
    genome = jnp.array([0, 3, 1, 2, 4, 0])
    for rate, expected in ((1.0, 1.0), (3.0, 2.7)):
        mutants = jax.jit(jax.vmap(SPACE.mutate, (0, None, None)))(keys, genome, rate)
        changes = (mutants != genome).sum(-1)
        assert SPACE.valid(mutants).all() and changes.min() >= 1 and abs(changes.mean() - expected) < 0.35
    child = SPACE.crossover(keys[0], genome, jnp.zeros(6, jnp.int32))
    assert ((child == genome) | (child == 0)).all()
    every = jnp.stack(jnp.meshgrid(*map(jnp.arange, SPACE.num_categories), indexing="ij"), -1).reshape(-1, 6)
    assert len({tuple(key) for key in np.asarray(SPACE.hash_genomes(every))}) == len(every) == 360
    assert float(SPACE.distance(genome, genome.at[0].set(1))) == pytest.approx(1 / 6)
    for num_categories in ((), (1, 1), (0, 3)):
        with pytest.raises(JnasError, match="num_categories must be"):
            Categorical(num_categories)


def test_mean_pairwise_distance():
    genomes = jnp.array([[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [2, 2, 1, 2, 2, 0]])
    there = jnp.array([True, True, True, False])
    assert float(mean_pairwise_distance(genomes, there, SPACE.distance, shifts=2)) == pytest.approx((1 + 1 + 2) / 3 / 6)
    assert float(mean_pairwise_distance(genomes, there & False, SPACE.distance)) == 0
