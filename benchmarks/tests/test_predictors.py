"""The baselines of the predictor, and what compares models."""

import sys

import numpy as np
import pytest
from predictor import compare, with_oracle
from predictors import GradientBoosting, Ridge, cross_validate, learning_curve, noise_ceiling, summarize
from tables import Table

from jnas import JnasError
from jnas.predict import score


def table(rows, seed=0, length=6, width=5):
    """Sequences whose target is how much of feature 0 they hold."""
    generator = np.random.default_rng(seed)
    sequences = generator.normal(size=(rows, length, width)).astype(np.float32)
    lengths = generator.integers(1, length + 1, rows)
    there = np.arange(length) < lengths[:, None]
    return sequences, lengths, np.tanh((sequences[..., 0] * there).sum(1)) * 0.2 + 0.5


@pytest.mark.parametrize("cls", [Ridge, GradientBoosting])
def test_baseline_learns_and_repeats(cls):
    if cls is GradientBoosting:
        pytest.importorskip("sklearn")
    train, (sequences, lengths, targets) = table(150), table(80, seed=1)
    model = cls(3).fit(*train)
    np.testing.assert_array_equal(cls(3).fit(*train).predict(sequences, lengths), model.predict(sequences, lengths))
    assert score(targets, model.predict(sequences, lengths)[0]).r2 > 0.5 and model.scores.r2 > 0.5


def test_ridge_std_is_of_leave_one_out_errors():
    """The leave-one-out predictions are those of models that are fitted without the row, at the same penalty."""
    sequences, lengths, targets = table(40)
    model = Ridge().fit(sequences, lengths, targets)
    assert 0 < model.std < targets.std() and model.scores.r2 == pytest.approx(1 - (model.std / targets.std()) ** 2)


def test_gradient_boosting_without_scikit_learn_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(JnasError, match=r"needs scikit-learn: pip install scikit-learn"):
        GradientBoosting()


def test_learning_curve_and_cross_validation_score_unseen_rows():
    rows = table(40)
    curve = learning_curve(Ridge, *rows, sizes=(12, 30), repeats=2)
    assert list(curve) == [12, 30] and curve[30]["r2"][0] > curve[12]["r2"][0]
    crossed = cross_validate(Ridge, *rows, folds=4, repeats=2)
    assert {"r2", "kendall_tau", "spearman", "coverage_1std", "nll", "seconds"} <= set(crossed)
    assert crossed["r2"][1] > 0
    with pytest.raises(JnasError, match="must be <= 38 with 40 rows, got 40"):
        learning_curve(Ridge, *rows, sizes=(40,))
    with pytest.raises(JnasError, match="leave 10 of 10 rows, got 20"):
        cross_validate(Ridge, *table(10), folds=20)


def test_noise_ceiling_of_known_noise():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(5000, 1))
    found = noise_ceiling(truth + 0.5 * generator.normal(size=(5000, 3)))
    assert found.r2 == pytest.approx(1 / 1.25, abs=0.02) and found.kendall_tau < 0.9


def test_summarize_known_sequences():
    sequences = np.arange(12.0).reshape(2, 3, 2)
    early = np.array([[0.1, np.nan], [0.3, 0.4]])
    first, second = summarize(sequences, np.array([2, 3]), early)
    assert first.tolist() == [2, 3, 1, 2, 2, 3, 0, 1, 2, 0.1, 0.1, 1]
    assert second.tolist() == [10, 11, 8, 9, 10, 11, 6, 7, 3, 0.3, 0.4, 2]


def test_with_oracle_has_requested_r2():
    rows, target = 4000, np.random.default_rng(0).normal(0.5, 0.1, 4000)
    sequences, lengths = np.ones((rows, 3, 2), np.float32), np.full(rows, 2)
    table = Table(sequences, sequences, lengths, target, target, np.zeros((rows, 0)), "")
    shown = with_oracle(sequences, table, 0.8, seed=0)
    assert shown.shape == (rows, 3, 3) and (shown[:, :2, 2] == shown[:, :1, 2]).all() and not shown[:, 2, 2].any()
    assert np.corrcoef(shown[:, 0, 2], target)[0, 1] ** 2 == pytest.approx(0.8, abs=0.02)
    assert (with_oracle(sequences, table, 0.8, seed=1) != shown).any()
    with pytest.raises(JnasError, match=r"--oracle 1\.0 is no R²"):
        compare(table, {}, 100, 1, oracle=1.0)
