"""Crossover, mutation and repair of templates, and the space as the algorithms see it."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnas.errors import JnasError
from jnas.evolve import NSGA2, GeneticAlgorithm, run
from jnas.space import Space, Template, infer_shapes
from jnas.space import _genome as genome
from jnas.space import _layers as lt
from jnas.space import _operators as variation
from jnas.space import _packed_genome as packed

SMALL = Space(in_shape=(3, 12, 12), classes=7, conv_num=4, lin_num=3)
LIMITED = dataclasses.replace(SMALL, max_params=40_000, max_macs=200_000)
COUNT = 1000
CHECKED = COUNT if "JNAS_TEST_ALL" in os.environ else 250  # of crossover, one by one


@pytest.fixture(scope="module")
def genomes():
    return SMALL.sample(jax.random.key(0), COUNT)


repaired = jax.jit(LIMITED.repair)


def valid(genomes):
    return np.asarray(infer_shapes(genomes, SMALL.in_shape, SMALL.classes).valid)


def test_rows_pack_and_compact(genomes):
    rows = packed.pack(genomes)
    np.testing.assert_array_equal(packed.unpack(rows), genomes)
    holes = np.where(np.random.default_rng(0).random(rows.shape) < 0.3, 0, rows)
    found = np.asarray(jax.jit(jax.vmap(packed.left_align))(holes))
    for before, after in zip(holes, found, strict=True):
        kept = before[before != 0]
        np.testing.assert_array_equal(after, np.pad(kept, (0, len(before) - len(kept))))
    spoilt = genomes.at[0, 0, 1].set(31).at[1, 0, 2].set(-1).at[2, 0, 0].set(13)
    assert not valid(spoilt)[:3].any() and valid(spoilt)[3:].all()


def test_crossover_joins_aligned_blocks(genomes):
    keys = jax.random.split(jax.random.key(1), COUNT)
    others = jnp.roll(genomes, 1, 0)
    children = np.asarray(jax.jit(jax.vmap(variation.crossover))(keys, genomes, others))
    assert valid(children).mean() > 0.85
    heads = (genome.layer_type_id(lt.Conv2d), genome.layer_type_id(lt.Linear), genome.layer_type_id(lt.Flatten))
    heads += (genome.layer_type_id(lt.GlobalAvgPool2d),)
    mixed = 0
    for first, second, child in zip(*(np.asarray(all)[:CHECKED] for all in (genomes, others, children)), strict=True):
        cut = next((i for i in range(len(child)) if (child[i] != first[i]).any()), len(child))
        # From somewhere at or before the first difference on, the child is the end of the second parent ...
        ends = [
            (at, start)
            for at in range(cut + 1)
            for start in range(len(second) + 1)
            if (child[at:] == np.pad(second[start:], ((0, len(child)), (0, 0)))[: len(child) - at]).all()
        ]
        assert ends
        # ... and that end begins a block, as it does in the parent.
        assert any(start >= (second[:, 0] > 0).sum() or second[start, 0] in heads for _, start in ends)
        mixed += (child != first).any() and (child != second).any()
    assert mixed > CHECKED / 3


def test_mutation_changes_a_little(genomes):
    keys = jax.random.split(jax.random.key(1), COUNT)
    mutants = jax.jit(jax.vmap(variation.mutate))(keys, genomes)
    assert valid(mutants).mean() > 0.85
    changed = (variation.hash_genomes(mutants) != variation.hash_genomes(genomes)).any(-1)
    assert changed.mean() > 0.97
    before, after = np.asarray(genomes).astype(int), np.asarray(mutants).astype(int)
    grown = (after[..., 0] > 0).sum(-1) - (before[..., 0] > 0).sum(-1)
    assert set(grown) == {-1, 0, 1} and (grown == 0).mean() > 0.5
    same_kinds = (before[..., 0] == after[..., 0]).all(-1) & np.asarray(changed)
    steps = np.abs(after - before)[same_kinds].sum((-1, -2))
    assert (steps == 1).mean() > 0.85  # a parameter at a neighbouring value; the others swapped or replaced a layer
    more = jax.jit(jax.vmap(variation.mutate, (0, 0, None)))(keys, genomes, 2.0)
    apart = jax.jit(jax.vmap(variation.distance))
    assert apart(more, genomes).mean() > 1.3 * apart(mutants, genomes).mean()


def test_repair_leaves_nothing_that_is_not_valid(genomes):
    keys = jax.random.split(jax.random.key(2), COUNT)
    children = jax.jit(jax.vmap(variation.crossover))(keys, genomes, jnp.roll(genomes, 7, 0))
    children = jax.jit(jax.vmap(variation.mutate, (0, 0, None)))(keys, children, 2.0)
    assert valid(repaired(children)).all()
    np.testing.assert_array_equal(repaired(genomes), genomes)
    shuffled = jax.random.permutation(jax.random.key(3), genomes, axis=1)
    assert valid(repaired(shuffled)).all()
    assert valid(repaired(jnp.zeros((1, *genomes.shape[1:]), jnp.int8))).all()  # Flatten alone
    template = Template([lt.Flatten(), lt.Linear(32), lt.ReLU(), lt.Linear(7)], (3, 12, 12))
    layers = [lt.Conv2d(8, 7, 4, False), lt.MaxPool2d(4, 3, False), lt.Linear(32), lt.Flatten(), *template.layers[1:3]]
    raw = genome.to_genome(Template([lt.Flatten(), lt.Linear(7)], (3, 12, 12)), SMALL.length)
    for row, layer in zip(raw, layers, strict=False):
        row[:] = genome.to_genome(_alone(layer), 3)[0 if layer.input_rank != 1 else 1]
    rows = repaired(raw[None])[0]
    assert [type(layer).__name__ for layer in SMALL.template(rows).layers] == [
        *("Conv2d", "Flatten", "Linear", "ReLU", "Linear")  # the pooling found 2x2 pixels, the first Linear a map
    ]


@pytest.mark.parametrize("style", ["sophius", "modern"])
def test_repair_keeps_children_like_what_is_sampled(style):
    """After many generations no block has two activations, or two layers of a kind, and nothing is before the first."""
    space = Space(in_shape=(3, 12, 12), classes=7, conv_num=3, lin_num=3, style=style)
    sampled = children = space.sample(jax.random.key(5), 200)
    repair, mutate = jax.jit(space.repair), jax.jit(jax.vmap(space.mutate, (0, 0, None)))
    np.testing.assert_array_equal(repair(sampled), sampled)
    for generation in range(12):
        children = repair(mutate(jax.random.split(jax.random.key(generation), 200), children, 2.0))
    begins = (lt.Conv2d, lt.Linear)
    activations = (lt.ReLU, lt.LeakyReLU, lt.PReLU)
    for rows in np.asarray(children):
        there = {lt.BatchNorm2d, lt.MaxPool2d, lt.AvgPool2d, "activation"}  # not before the first convolution
        for layer in space.template(rows).layers[:-1]:
            name = "activation" if isinstance(layer, activations) else type(layer)
            assert name not in there
            there = set() if isinstance(layer, begins) else there | {name}


def _alone(layer):
    """The layer in a template of large images."""
    inside = [lt.Flatten(), layer] if layer.input_rank == 1 else [layer, lt.Flatten()]
    inside = [layer] if isinstance(layer, lt.Flatten) else inside
    return Template([*inside, lt.Linear(7)], (3, 64, 64))


def test_distance_of_templates(genomes):
    apart = jax.jit(jax.vmap(variation.distance))
    assert (apart(genomes, genomes) == 0).all()
    far = np.asarray(apart(genomes, jnp.roll(genomes, 1, 0)))
    assert 0.3 < far.mean() < 1 and far.max() <= 1


def least_macs(genomes):
    return -jnp.log(infer_shapes(genomes, SMALL.in_shape, SMALL.classes).macs.to_float())


def macs_and_params(genomes):
    traced = infer_shapes(genomes, SMALL.in_shape, SMALL.classes)
    return jnp.stack([jnp.log(traced.macs.to_float()), -jnp.log(traced.params.to_float())], -1)


@pytest.mark.slow
def test_the_genetic_algorithm_on_templates():
    """Nearly all children are valid and new, limits hold, and one program serves all generations."""
    first = LIMITED.sample_valid(jax.random.key(0), 128)
    algorithm = GeneticAlgorithm(LIMITED, archive_capacity=2048)
    state = run(algorithm, least_macs, jax.random.key(1), first, 5)
    assert float(state.best_fitness) > float(least_macs(first).max())
    assert int(state.archive.count) > 0.97 * 6 * 128  # told and new
    for rows in np.asarray(state.population):
        cost = SMALL.template(rows).cost
        assert cost.params <= 40_000 and cost.macs <= 200_000
    before = run.program()._cache_size()
    run(algorithm, least_macs, jax.random.key(2), first[::-1], 5)
    assert run.program()._cache_size() == before


@pytest.mark.slow
def test_nsga2_on_templates():
    first = LIMITED.sample_valid(jax.random.key(0), 128)
    state = run(NSGA2(LIMITED, archive_capacity=2048), macs_and_params, jax.random.key(1), first, 4)
    assert state.fitness.shape == (128, 2) and LIMITED.valid(state.population).all()


def test_limits_that_nothing_satisfies():
    with pytest.raises(
        JnasError, match=r"^max_params 3 and max_macs 5 must admit 2 random templates, got 0 of 51,200; raise"
    ):
        dataclasses.replace(SMALL, max_params=3, max_macs=5).sample_valid(jax.random.key(0), 2)
