"""The parts of the predictor: scores, transforms, the LSTM, the ridge regression of early epochs, folds."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jnas.predict import EnsembleConfig, Scores, calibration, score
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.ensemble import EnsembleParams, fit_ensemble
from jnas.predict._ensemble.network import BiLSTM
from jnas.predict._ensemble.scaling import TargetTransform
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

    @jax.jit
    def there_and_back(targets):
        transform = TargetTransform.fit(targets, jnp.ones(200), power=True)
        scaled = transform.forward(targets)
        return transform.power, scaled, transform.inverse(scaled), transform.inverse(jnp.array([-1e9, 1e9]))

    power, scaled, inverse, far = there_and_back(jnp.asarray(targets, jnp.float32))
    normal = (targets - targets.mean()) / targets.std()
    assert float(power) == pytest.approx(stats.yeojohnson_normmax(normal), abs=0.15)
    assert abs(stats.skew(scaled)) < 0.3 < abs(stats.skew(targets)) and scaled.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(inverse, targets, atol=2e-3)
    fitted = jax.jit(lambda: TargetTransform.fit(jnp.asarray(targets, jnp.float32), jnp.ones(200), power=True))()
    on_the_host = fitted.inverse(np.asarray(scaled))
    assert isinstance(on_the_host, np.ndarray) and on_the_host.dtype == np.float32
    np.testing.assert_allclose(on_the_host, inverse, rtol=1e-4, atol=1e-5)
    assert np.isfinite(far).all()


@pytest.mark.parametrize("epochs", [1, 4])
def test_early_curve_ridge_matches_normal_equations(epochs):
    generator = np.random.default_rng(0)
    early = generator.normal(size=(50, epochs)) * 3 + 1
    targets = early @ np.arange(1, epochs + 1) + 0.1 * generator.normal(size=50) + 5

    @jax.jit
    def fit_and_predict(early, targets):
        ridge = EarlyCurveRidge.fit(early, jnp.full(50, epochs), targets, jnp.ones(50))
        return [ridge.predict(early, jnp.full(50, count))[:2] for count in (epochs, 0)]

    (prediction, std), (without, without_std) = fit_and_predict(jnp.asarray(early), jnp.asarray(targets))
    x = (early - early.mean(0)) / early.std(0)
    centred = targets - targets.mean()
    expected = x @ np.linalg.solve(x.T @ x + 0.01 * 50 * np.eye(epochs), x.T @ centred) + targets.mean()
    np.testing.assert_allclose(prediction, expected, rtol=1e-3)
    assert float(std[0]) == pytest.approx((targets - expected).std(), rel=1e-2)
    np.testing.assert_allclose(without, targets.mean(), rtol=1e-5)
    np.testing.assert_allclose(without_std, targets.std(), rtol=1e-5)


def test_bilstm_matches_flax_both_ways():
    """Against Flax's own cell, run by hand over each sequence."""
    module = BiLSTM(3, 4, seed=jnp.array([1, 2], jnp.uint32))
    steps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3)), jnp.float32)
    lengths = [3, 2]
    mask = jnp.asarray(np.arange(3)[:, None] < np.array(lengths), jnp.float32)[..., None]

    def states_of(sequence, kernel, bias):
        cell = nnx.OptimizedLSTMCell(3, 4, rngs=nnx.Rngs(1))
        i, f, o, g = (slice(4 * k, 4 * k + 4) for k in range(4))
        order = [i, f, g, o]  # Flax's order of the gates
        cell.dense_i.kernel[...] = jnp.concatenate([kernel[:3, part] for part in order], 1)
        cell.dense_h.kernel[...] = jnp.concatenate([kernel[3:, part] for part in order], 1)
        cell.dense_h.bias[...] = jnp.concatenate([bias[part] for part in order])
        carry, states = (jnp.zeros(4), jnp.zeros(4)), []
        for step in sequence:
            carry, state = cell(carry, step)
            states.append(state)
        return jnp.stack(states)

    @jax.jit
    def both(steps, kernel, bias):
        forwards = [states_of(row[:length], kernel[0], bias[0]) for row, length in zip(steps, lengths, strict=True)]
        backwards = [
            states_of(row[:length][::-1], kernel[1], bias[1]) for row, length in zip(steps, lengths, strict=True)
        ]
        return module(steps.swapaxes(0, 1), mask), forwards, backwards

    means, *directions = both(steps, module.kernel[...], module.bias[...])
    for direction, sequences in enumerate(directions):
        for row, states in enumerate(map(np.asarray, sequences)):
            np.testing.assert_allclose(means[row, 4 * direction :][:4], states.mean(0), atol=1e-5)


@pytest.mark.parametrize("epochs", [0, 2])
def test_shapes_of_an_ensemble_are_those_of_a_fit(epochs):
    config = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=1)
    rows = jnp.zeros((10, 1, 3)), jnp.ones(10, jnp.int32), jnp.ones(10), jnp.ones(10), jnp.zeros((10, epochs))
    fitted, _ = jax.eval_shape(functools.partial(fit_ensemble, config=config), jax.random.key(0), *rows)
    found = EnsembleParams.abstract(3, epochs, config)
    assert jax.tree.structure(found) == jax.tree.structure(fitted)
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(found)] == [
        (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(fitted)
    ]


def test_assign_folds_leaves_out_each_row_equally_often():
    mask = jnp.asarray(np.arange(40) < 30, jnp.float32)
    assign = jax.jit(assign_folds, static_argnames="config")
    train_mask = np.asarray(assign(jnp.array([1, 2], jnp.uint32), mask, EnsembleConfig(members=6, folds=3)))
    assert not train_mask[:, 30:].any()
    assert (train_mask[:, :30].sum(0) == 4).all() and (train_mask.sum(1) == 20).all()
