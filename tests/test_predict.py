"""The predictor finds a signal, knows what it does not know, and is the same after a trip to the disk."""

import math

import numpy as np
import pytest

from jnas.errors import JnasError
from jnas.predict import Predictor, Scores, score


def table(rows, seed=0, length=6, width=5):
    """Sequences whose target is how much of feature 0 they hold."""
    generator = np.random.default_rng(seed)
    sequences = generator.normal(size=(rows, length, width)).astype(np.float32)
    lengths = generator.integers(1, length + 1, rows)
    there = np.arange(length) < lengths[:, None]
    return sequences, lengths, np.tanh((sequences[..., 0] * there).sum(1)) * 0.2 + 0.5


def test_it_learns_and_its_held_out_scores_are_honest():
    predictor = Predictor(0).fit(*table(120))
    assert predictor.scores.rows == 120 and predictor.scores.kendall_tau > 0.4
    sequences, lengths, targets = table(100, seed=1)
    mean, std = predictor.predict(sequences, lengths)
    fresh = score(targets, mean)
    assert fresh.kendall_tau > 0.4 and mean.shape == std.shape == (100,) and (std > 0).all()
    noise = np.random.default_rng(2).normal(size=120)
    lucky = Predictor(0).fit(*table(120)[:2], noise)
    assert abs(lucky.scores.kendall_tau) < 0.25  # what was not seen cannot be known


def test_what_lies_behind_a_sequence_changes_nothing():
    sequences, lengths, targets = table(40)
    predictor = Predictor(0).fit(sequences, lengths, targets)
    behind = np.arange(sequences.shape[1]) >= lengths[:, None]
    changed = np.where(behind[..., None], 100.0, sequences).astype(np.float32)
    np.testing.assert_allclose(predictor.predict(changed, lengths)[0], predictor.predict(sequences, lengths)[0])
    again = Predictor(0).fit(changed, lengths, targets)
    np.testing.assert_allclose(again.predict(sequences, lengths), predictor.predict(sequences, lengths), rtol=1e-5)


def test_it_repeats_itself_and_survives_the_disk(tmp_path):
    sequences, lengths, targets = table(20)
    predictor = Predictor(3).fit(sequences, lengths, targets)
    expected = predictor.predict(sequences, lengths)
    np.testing.assert_array_equal(Predictor(3).fit(sequences, lengths, targets).predict(sequences, lengths), expected)
    predictor.save(tmp_path / "predictor")
    loaded = Predictor.load(tmp_path / "predictor")
    np.testing.assert_array_equal(loaded.predict(sequences, lengths), expected)
    assert loaded.scores == predictor.scores


def test_scores_of_known_cases():
    assert score([1, 2, 3], [1, 2, 3]) == Scores(1.0, 1.0, 1.0, 3)
    assert score([1, 2, 3], [3, 2, 1])[1:3] == (-1.0, -1.0)
    assert score([1, 2, 3], [2, 2, 2]).r2 == 0 and math.isnan(score([1, 2, 3], [2, 2, 2]).kendall_tau)
    assert all(math.isnan(value) for value in score([1, 1], [1, 2])[:3])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s, n, y: (s[:9], n[:9], y[:9]), "got 9 rows and needs 10"),
        (lambda s, n, y: (s, n, np.where(np.arange(20) == 3, np.nan, y)), "a target that is not a number"),
        (lambda s, n, y: (s, n, np.full(20, 0.5)), "All 20 targets are 0.5"),
        (lambda s, n, y: (s[0], n, y), "give [N, T, D], [N] and [N]"),
        (lambda s, n, y: (s, n[:5], y), "give [N, T, D], [N] and [N]"),
    ],
)
def test_bad_tables_are_named(change, sentence):
    with pytest.raises(JnasError) as caught:
        Predictor().fit(*change(*table(20)))
    assert sentence in str(caught.value)


def test_bad_use_is_named(tmp_path):
    sequences, lengths, targets = table(20)
    with pytest.raises(JnasError, match="has not been fitted"):
        Predictor().predict(sequences, lengths)
    with pytest.raises(JnasError, match=r"fitted on sequences \[N, T, 5\]"):
        Predictor().fit(sequences, lengths, targets).predict(sequences[..., :4], lengths)
    with pytest.raises(JnasError, match="is no checkpoint of jnas"):
        Predictor.load(tmp_path)
