"""The array form of an architecture equals the object form, in every respect."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_space import RUNS, any_layer

from jnas.errors import JnasError
from jnas.space import Space, Template, board_needs, featurize, infer_board_needs, infer_shapes
from jnas.space import _genome as genome
from jnas.space import _layers as lt
from jnas.space import _operators as variation
from jnas.space._uint64 import UInt64

LENGTH = 16
SMALL = Space(in_shape=(3, 12, 12), classes=7, conv_num=4, lin_num=3)


def raw_genome(layers):
    """The genome of a sequence of layers that need not fit together."""
    padded = Template([lt.Flatten(), lt.Linear(2)])
    object.__setattr__(padded, "layers", (*layers, lt.Linear(2)))
    return genome.to_genome(padded, LENGTH)


@settings(max_examples=4 * settings().max_examples)
@given(st.lists(any_layer(), max_size=LENGTH), st.sampled_from([(3, 32, 32), (1, 9, 7), (5, 2, 2), (3, 224, 224)]))
def test_trace_of_any_layers(layers, in_shape):
    rows = raw_genome(layers)
    traced = infer_shapes(rows[None], in_shape, 6)
    try:
        template = Template([*layers, lt.Linear(6)], in_shape)
    except JnasError:
        assert not traced.valid[0]
        return
    assert traced.valid[0]
    shapes = [(*shape, 1, 1)[:3] for shape in template.shapes[:-1]]
    assert np.asarray(traced.shapes[0, : len(shapes)]).tolist() == [list(shape) for shape in shapes]
    assert [int(count.to_numpy()[0]) for count in (traced.params, traced.macs, traced.flops)] == [
        template.cost.params,
        template.cost.macs,
        template.cost.flops,
    ]


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(any_layer(), min_size=1, max_size=LENGTH))
def test_encoding_of_any_layers(layers):
    rows = raw_genome(layers)
    template = Template([lt.Flatten(), lt.Linear(2)])
    object.__setattr__(template, "layers", (*layers, lt.Linear(2)))
    encoded = np.asarray(genome.to_bits(jnp.asarray(rows)))
    np.testing.assert_array_equal(encoded[: len(layers)], template.vectors)
    assert not encoded[len(layers) :].any()
    assert genome.arch_hashes(rows[None]) == [template.hash]
    assert int(genome.lengths(jnp.asarray(rows))) == len(layers)


def test_counts_past_32_bits():
    template = Template([lt.Conv2d(192, 1), lt.Flatten(), lt.Linear(4096), lt.Linear(10)], (3, 224, 224))
    traced = infer_shapes(genome.to_genome(template, 4)[None], template.in_shape, 10)
    found = [int(count.to_numpy()[0]) for count in (traced.params, traced.macs, traced.flops)]
    assert found == [template.cost.params, template.cost.macs, template.cost.flops]
    assert Space((3, 224, 224), max_macs=3_000_000_000).valid(genome.to_genome(template, 38)[None]).tolist() == [False]
    assert Space((3, 224, 224), max_macs=40_000_000_000).valid(genome.to_genome(template, 38)[None]).all()


def test_the_originals_runs_go_both_ways():
    templates = [Template.from_hash(run["hash"]) for run in RUNS]
    genomes = [genome.to_genome(template, 40) for template in templates]
    assert [genome.from_genome(rows) for rows in genomes] == templates


def test_too_long_a_template_is_refused():
    with pytest.raises(JnasError, match="template must have at most 2 layers"):
        genome.to_genome(Template.from_hash(RUNS[0]["hash"]), 2)


def test_samples_are_valid_and_follow_the_grammar():
    genomes = SMALL.sample(jax.random.key(0), 400)
    assert genomes.shape == (400, SMALL.length, 6) and genomes.dtype == jnp.int8
    convs, linears = [], []
    for rows in np.asarray(genomes):
        layers = list(SMALL.template(rows).layers)  # raises where it is not valid
        kinds = "".join(_LETTER[type(layer)] for layer in layers)
        assert _GRAMMAR.fullmatch(kinds), kinds
        convs.append(kinds.count("c"))
        linears.append(kinds.count("l"))
    assert set(convs) == {1, 2, 3, 4} and set(linears) == {1, 2, 3}
    uncut = Space(in_shape=(3, 96, 96), conv_num=2, lin_num=2).sample(jax.random.key(1), 2000)
    kinds = np.asarray(uncut)[..., genome.LAYER_TYPE]
    for cls, expected in ((lt.GlobalAvgPool2d, 0.5), (lt.MaxPool2d, 0.73), (lt.Conv2d, 1.5), (lt.Linear, 0.5)):
        found = (kinds == genome.layer_type_id(cls)).sum(1)
        share = found.mean() if cls in (lt.Conv2d, lt.Linear) else (found > 0).mean()
        assert abs(share - expected) < 0.15, cls


_LETTER = {
    lt.Conv2d: "c",
    lt.ReLU: "a",
    lt.LeakyReLU: "a",
    lt.PReLU: "a",
    lt.MaxPool2d: "m",
    lt.BatchNorm2d: "b",
    lt.AvgPool2d: "v",
    lt.GlobalAvgPool2d: "g",
    lt.Flatten: "f",
    lt.Linear: "l",
    lt.Dropout: "d",
}
_GRAMMAR = re.compile(r"(cam?b?v?)*g?f(lad?)*l")


def test_modern_samples_are_what_one_would_write_today():
    space = Space(in_shape=(3, 24, 24), conv_num=10, lin_num=2, style="modern")
    genomes = space.sample(jax.random.key(0), 300)
    convs, linears, kernels = [], [], []
    for rows in np.asarray(genomes):
        template = space.template(rows)  # raises where it is not valid
        kinds = "".join(_LETTER[type(layer)] for layer in template.layers)
        assert re.fullmatch(r"(cbam?)+g?f(lad?)?l", kinds), kinds
        assert Template.from_hash(template.hash, space.in_shape, 10) == template
        for layer in template.layers:
            if isinstance(layer, lt.Conv2d):
                assert layer.padding and layer.stride in (1, 2) and layer.kernel_size in (1, 3, 5)
                kernels.append(layer.kernel_size)
            elif isinstance(layer, lt.MaxPool2d):
                assert (layer.kernel_size, layer.stride, layer.padding) == (2, 2, False)
        convs.append(kinds.count("c"))
        linears.append(kinds.count("l"))
    assert set(convs) == set(range(1, 11)) and set(linears) == {1, 2}
    assert 0.5 < np.mean(np.array(kernels) == 3) < 0.7
    # They are templates of the other space, too, so evolution needs nothing else.
    other = Space(in_shape=(3, 24, 24), conv_num=10, lin_num=2)
    assert other.valid(genomes).all()


def test_sampling_repeats_itself_and_depends_on_the_key():
    drawn = Space().sample(jax.random.key(3), 1)
    assert genome.arch_hashes(drawn)[0] == (
        "0081040a20000000400000000081004a08080000004460004000000001000000800200001004000004000004"
    ), "a search of the same seed draws other templates than it did"
    first, again, other = (SMALL.sample(jax.random.key(seed), 8) for seed in (3, 3, 4))
    assert (first == again).all() and not (first == other).all()
    assert SMALL.random(3) == SMALL.random(3)


@pytest.mark.slow
def test_variation_keeps_most_children_valid_and_changes_them():
    genomes = SMALL.sample(jax.random.key(0), 1000)
    keys = jax.random.split(jax.random.key(1), 1000)
    mutants = jax.vmap(variation.mutate)(keys, genomes)
    children = jax.vmap(variation.crossover)(keys, genomes, jnp.roll(genomes, 1, 0))
    for varied in (mutants, children):
        valid = np.asarray(infer_shapes(varied, SMALL.in_shape, SMALL.classes).valid)
        assert valid.mean() > 0.7
        for rows in np.asarray(varied)[valid][:50]:
            assert (genome.to_genome(SMALL.template(rows), SMALL.length) == rows).all()
    changed = (variation.hash_genomes(mutants) != variation.hash_genomes(genomes)).any(-1)
    assert changed.mean() > 0.9


def test_keys_tell_architectures_apart():
    genomes = np.asarray(SMALL.sample(jax.random.key(2), 3000))
    names = genome.arch_hashes(genomes)
    keys = [tuple(key) for key in np.asarray(variation.hash_genomes(jnp.asarray(genomes)))]
    assert len(set(zip(names, keys, strict=True))) == len(set(names)) == len(set(keys))


def test_limits():
    space = dataclasses.replace(SMALL, max_params=5_000, max_macs=40_000)
    for rows in np.asarray(space.sample_valid(jax.random.key(0), 100)):
        cost = SMALL.template(rows).cost
        assert cost.params <= 5_000 and cost.macs <= 40_000
    with pytest.raises(
        JnasError, match="max_params 3 must admit 10 random templates, got 0 of 51,200; raise the limits"
    ):
        dataclasses.replace(SMALL, max_params=3).sample_valid(jax.random.key(0), 10)


def test_board_needs_of_genomes_are_those_of_templates():
    genomes = SMALL.sample_valid(jax.random.key(0), 200)
    needs = infer_board_needs(
        genomes, infer_shapes(genomes, SMALL.in_shape, SMALL.classes), SMALL.in_shape, SMALL.classes
    )
    expected = [board_needs(SMALL.template(rows)) for rows in np.asarray(genomes)]
    for name, values in needs.items():
        assert values.to_numpy().tolist() == [one[name] for one in expected]
    memory, flash = (np.median([one[name] for one in expected]) // 1024 + 1 for name in ("memory_bytes", "flash_bytes"))
    space = dataclasses.replace(SMALL, max_memory_kb=int(memory), max_flash_kb=int(flash))
    fits = [one["memory_bytes"] <= memory * 1024 and one["flash_bytes"] <= flash * 1024 for one in expected]
    assert np.asarray(space.valid(genomes)).tolist() == fits and 0 < sum(fits) < 200
    assert [space.admits(SMALL.template(rows)) for rows in np.asarray(genomes)] == fits
    assert all(space.admits(space.random(seed)) for seed in range(5))
    assert space.describe_limits() == f"max_memory_kb {memory:.0f} and max_flash_kb {flash:.0f}"


def test_features_show_bits_and_shapes():
    template = SMALL.random(0)
    shown = np.asarray(featurize(genome.to_genome(template, SMALL.length)[None], SMALL.in_shape, SMALL.classes))[0]
    count = len(template.vectors)
    np.testing.assert_array_equal(shown[:count, :32], template.vectors)
    shapes = np.array([(*shape, 1, 1)[:2] for shape in template.shapes[:-1]])
    shapes = shapes * [1, 32 / max(SMALL.in_shape[1:])]  # as if images had 32 pixels a side
    np.testing.assert_allclose(2 ** (shown[:count, 32:34] * [10, 5]), shapes, rtol=1e-5)
    assert not shown[count:].any()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_wide_counts(a, b, c):
    product = UInt64.product(jnp.uint32(a), jnp.uint32(b))
    total = product + UInt64.from_integers(jnp.uint32(c))
    assert int(total.to_numpy()) == (a * b + c) % 2**64
