"""Layer templates, templates, vectors, hashes and cost: the facts of the original, bit for bit."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jnas.errors import JnasError
from jnas.space import LAYER_TYPES, Template
from jnas.space import _layers as lt
from jnas.space._encoding import layers_from_hash, layers_to_vectors

RUNS = list(csv.DictReader((Path(__file__).parent / "sophius_runs.csv").open()))
EXAMPLE = Template([lt.Conv2d(8, (5, 5), (3, 3), padding=False), lt.PReLU(), lt.Flatten(), lt.Linear(10)])


def bits(text):
    return np.array([int(bit) for bit in text.split()], np.uint8)


def test_vector_of_the_original():
    vector = layers_to_vectors([lt.Conv2d(32, (3, 3), (1, 1), padding=True)])[0]
    assert vector.tolist() == bits("0 0 0 0 0 0 0 0 1 0 0 0 0 0 1 0 0 0 0 0 0 1 0 0 0 0 1 0 0 0 1 0").tolist()


def test_vectors_of_the_original():
    expected = [
        bits("0 0 0 0 0 0 0 0 1 0 0 0 1 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 1 0 0 1"),
        bits("0 0 0 0 1 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"),
        bits("0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"),
    ]
    assert EXAMPLE.vectors.dtype == np.uint8
    np.testing.assert_array_equal(EXAMPLE.vectors, expected)


def test_printout_of_the_original():
    lines = ["Conv2d (8, 10, 10) (5, 5) (3, 3)", "PReLU (8, 10, 10)", "Flatten 800", "Linear 10"]
    assert str(EXAMPLE) == "\n".join(lines)
    assert repr(EXAMPLE) == " / ".join(lines)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["hash"][:24])
def test_cost_of_the_originals_runs(run):
    template = Template.from_hash(run["hash"])
    assert template.hash == run["hash"]
    assert template.cost == lt.Cost(int(run["params"]), int(run["macs"]), int(run["flops"]))


def any_layer():
    def of(cls):
        return st.builds(cls, **{name: st.sampled_from(values) for name, values in cls.parameter_values().items()})

    return st.one_of([of(cls) for cls in LAYER_TYPES])


@given(st.lists(any_layer(), min_size=1, max_size=12))
def test_hash_goes_both_ways(layers):
    vectors = layers_to_vectors(layers)
    assert vectors.shape == (len(layers), 32)
    assert layers_from_hash(np.packbits(vectors, axis=-1).tobytes().hex()) == tuple(layers)


@settings(max_examples=4 * settings().max_examples)
@given(st.one_of(st.text(max_size=40), st.text("0123456789abcdef", min_size=8, max_size=64), st.integers(), st.none()))
def test_what_is_no_hash_is_refused_or_round_trips(text):
    try:
        template = Template.from_hash(text)
    except JnasError:
        return
    assert template.hash == text.lower()


def test_equality_and_hashing():
    same = Template.from_hash(EXAMPLE.hash)
    assert same == EXAMPLE and hash(same) == hash(EXAMPLE)
    assert Template.from_hash(EXAMPLE.hash, classes=5) != EXAMPLE
    assert Template.from_hash(EXAMPLE.hash, in_shape=(3, 28, 28)) != EXAMPLE


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Template.from_hash("zz"), "hash must be 8 hex digits per layer, got 'zz'; copy the whole hash"),
        (lambda: Template.from_hash("00000000"), "hash must encode a layer with each 8 digits, got '00000000'"),
        (lambda: Template.from_hash(""), "hash must be 8 hex digits"),
        (lambda: Template.from_hash("+0880809"), "must encode a layer with each 8 digits, got '+0880809'"),
        (lambda: lt.Conv2d(24), "Conv2d out_channels must be one of 8, 16, 32, 64, 96, 128, 192, got 24."),
        (lambda: lt.Conv2d(padding=1), "Conv2d padding must be one of True, False, got 1."),
        (lambda: lt.Linear(0), "Linear out_features must be an integer from 1 to 2,147,483,647, got 0."),
        (lambda: Template([lt.Flatten()]), "layers must end with the Linear classifier, got Flatten"),
        (lambda: Template([lt.Linear(10)]), "layer 1 (Linear) must be a vector, got (3, 32, 32); put it after Flatten"),
        (
            lambda: Template([lt.Flatten(), lt.Conv2d(), lt.Linear(10)]),
            "layer 2 (Conv2d) must be a map, got (3072,); put it before Flatten",
        ),
        (
            lambda: Template([lt.Conv2d(8, 7, 1, False), lt.Flatten(), lt.Linear(2)], (1, 5, 5)),
            "must have a pixel, got (8, -1, -1) from (1, 5, 5)",
        ),
        (lambda: Template([lt.Flatten(), lt.Linear(100), lt.Linear(10)]).hash, "to be encoded, got 100"),
        (
            lambda: Template([lt.Flatten(), lt.Linear(2)], (3, 0, 4)),
            "Each of in_shape (channels, height, width) must be an integer from 1 to 16,384, got 0.",
        ),
    ],
)
def test_bad_input_is_named(make, sentence):
    with pytest.raises(JnasError) as caught:
        make()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
