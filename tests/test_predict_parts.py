"""The parts of the predictor: scores, transforms, the LSTM, the ridge regression of early epochs, folds."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jnas.predict import EnsembleConfig, Scores, calibration, score
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.network import BiLSTM
from jnas.predict._ensemble.target_transform import TargetTransform
from jnas.predict._ensemble.training import assign_folds


def test_score_of_known_cases():
    assert score([1, 2, 3], [1, 2, 3]) == Scores(1.0, 1.0, 1.0, 3)
    assert score([1, 2, 3], [3, 2, 1])[1:3] == (-1.0, -1.0)
    assert score([1, 2, 3], [2, 2, 2]).r2 == 0 and math.isnan(score([1, 2, 3], [2, 2, 2]).kendall_tau)
    assert all(math.isnan(value) for value in score([1, 1], [1, 2])[:3])


def test_calibration_of_normal_errors():
    generator = np.random.default_rng(0)
    std = generator.uniform(0.5, 2, 20_000)
    found = calibration(generator.normal(size=20_000) * std, np.zeros(20_000), std)
    assert found.coverage_1std == pytest.approx(0.683, abs=0.02) and found.coverage_2std == pytest.approx(
        0.954, abs=0.01
    )
    expected = np.log(std).mean() + 0.5 * math.log(2 * math.pi * math.e)
    assert found.nll == pytest.approx(expected, abs=0.02) and found.error_correlation > 0.3
    too_sure = calibration(generator.normal(size=1000), np.zeros(1000), np.full(1000, 0.2))
    assert too_sure.coverage_2std < 0.5 and too_sure.nll > found.nll and math.isnan(too_sure.error_correlation)


def test_target_transform_matches_scipy_and_inverts():
    targets = -np.random.default_rng(0).exponential(size=200)  # a long tail of bad ones
    transform = TargetTransform.fit(jnp.asarray(targets, jnp.float32), jnp.ones(200), power=True)
    normal = (targets - targets.mean()) / targets.std()
    assert float(transform.power) == pytest.approx(stats.yeojohnson_normmax(normal), abs=0.15)
    scaled = np.asarray(transform.forward(jnp.asarray(targets, jnp.float32)))
    assert abs(stats.skew(scaled)) < 0.3 < abs(stats.skew(targets)) and scaled.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(transform.inverse(scaled), targets, atol=2e-3)
    assert np.isfinite(transform.inverse(jnp.array([-1e9, 1e9]))).all()


@pytest.mark.parametrize("epochs", [1, 4])
def test_early_curve_ridge_matches_normal_equations(epochs):
    generator = np.random.default_rng(0)
    early = generator.normal(size=(50, epochs)) * 3 + 1
    targets = early @ np.arange(1, epochs + 1) + 0.1 * generator.normal(size=50) + 5
    mask, num_observed = jnp.ones(50), jnp.full(50, epochs)
    ridge = EarlyCurveRidge.fit(jnp.asarray(early), num_observed, jnp.asarray(targets), mask)
    prediction, std, _ = ridge.predict(jnp.asarray(early), num_observed)
    x = (early - early.mean(0)) / early.std(0)
    centred = targets - targets.mean()
    expected = x @ np.linalg.solve(x.T @ x + 0.01 * 50 * np.eye(epochs), x.T @ centred) + targets.mean()
    np.testing.assert_allclose(prediction, expected, rtol=1e-3)
    assert float(std[0]) == pytest.approx((targets - expected).std(), rel=1e-2)
    prediction, std, _ = ridge.predict(jnp.asarray(early), jnp.zeros(50, int))
    np.testing.assert_allclose(prediction, targets.mean(), rtol=1e-5)
    np.testing.assert_allclose(std, targets.std(), rtol=1e-5)


def test_bilstm_matches_flax_both_ways():
    """Against Flax's own cell, run by hand over each sequence."""
    generator = np.random.default_rng(0)
    module = BiLSTM(3, 4, seed=jnp.array([1, 2], jnp.uint32))
    steps = jnp.asarray(generator.normal(size=(2, 5, 3)), jnp.float32)
    lengths = [5, 3]
    mask = jnp.asarray(np.arange(5)[:, None] < np.array(lengths), jnp.float32)[..., None]
    pools = module(steps.swapaxes(0, 1), mask)
    for row, length in enumerate(lengths):
        for direction in (0, 1):
            cell = nnx.OptimizedLSTMCell(3, 4, rngs=nnx.Rngs(1))
            kernel = module.kernel[...][direction]
            i, f, o, g = (slice(4 * k, 4 * k + 4) for k in range(4))
            order = [i, f, g, o]  # Flax's order of the gates
            cell.dense_i.kernel[...] = jnp.concatenate([kernel[:3, part] for part in order], 1)
            cell.dense_h.kernel[...] = jnp.concatenate([kernel[3:, part] for part in order], 1)
            cell.dense_h.bias[...] = jnp.concatenate([module.bias[...][direction][part] for part in order])
            carry, states = (jnp.zeros(4), jnp.zeros(4)), []
            sequence = steps[row, :length]
            for step in sequence[::-1] if direction else sequence:
                carry, state = cell(carry, step)
                states.append(state)
            part = slice(4 * direction, 4 * direction + 4)
            states = np.array(states)
            for pool, expected in zip(pools, (states.mean(0), states.max(0), states[-1]), strict=True):
                np.testing.assert_allclose(pool[row, part], expected, atol=1e-5)


def test_assign_folds_leaves_out_each_row_equally_often():
    mask = jnp.asarray(np.arange(40) < 30, jnp.float32)
    train_mask = np.asarray(assign_folds(jnp.array([1, 2], jnp.uint32), mask, EnsembleConfig(members=6, folds=3)))
    assert not train_mask[:, 30:].any()
    assert (train_mask[:, :30].sum(0) == 4).all() and (train_mask.sum(1) == 20).all()
