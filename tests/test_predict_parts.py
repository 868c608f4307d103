"""What the predictor is made of: scores, scales, the recurrence, facts of layers, acquisition rules, pictures."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jnas._runtime.random import choices
from jnas._search.acquisition import ranked
from jnas._search.screening import bits_alone, facts_and_bits, screen, shortlist
from jnas.errors import JnasError
from jnas.predict import Scores, Settings, calibration, score
from jnas.predict import _ensemble as core
from jnas.predict import _target_transform as scaling
from jnas.predict._lstm import Recurrence
from jnas.space import FEATURE_GROUPS, FEATURE_NAMES, Space, Template, featurize
from jnas.space import _genome as genome
from jnas.space._layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
)


def test_scores_of_known_cases():
    assert score([1, 2, 3], [1, 2, 3]) == Scores(1.0, 1.0, 1.0, 3)
    assert score([1, 2, 3], [3, 2, 1])[1:3] == (-1.0, -1.0)
    assert score([1, 2, 3], [2, 2, 2]).r2 == 0 and math.isnan(score([1, 2, 3], [2, 2, 2]).kendall_tau)
    assert all(math.isnan(value) for value in score([1, 1], [1, 2])[:3])


def test_calibration_of_normal_errors():
    generator = np.random.default_rng(0)
    std = generator.uniform(0.5, 2, 20_000)
    found = calibration(generator.normal(size=20_000) * std, np.zeros(20_000), std)
    assert found.within_1_std == pytest.approx(0.683, abs=0.02) and found.within_2_std == pytest.approx(0.954, abs=0.01)
    expected = np.log(std).mean() + 0.5 * math.log(2 * math.pi * math.e)
    assert found.nll == pytest.approx(expected, abs=0.02) and found.error_correlation > 0.3
    too_sure = calibration(generator.normal(size=1000), np.zeros(1000), np.full(1000, 0.2))
    assert too_sure.within_2_std < 0.5 and too_sure.nll > found.nll and math.isnan(too_sure.error_correlation)


def test_the_power_transform_is_that_of_scipy_and_goes_back():
    targets = -np.random.default_rng(0).exponential(size=200)  # a long tail of bad ones
    scale = scaling.fit_scale(jnp.asarray(targets, jnp.float32), jnp.ones(200))
    normal = (targets - targets.mean()) / targets.std()
    assert float(scale.power) == pytest.approx(stats.yeojohnson_normmax(normal), abs=0.15)
    scaled = np.asarray(scaling.forth(scale, jnp.asarray(targets, jnp.float32)))
    assert abs(stats.skew(scaled)) < 0.3 < abs(stats.skew(targets)) and scaled.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(scaling.back(scale, scaled), targets, atol=2e-3)
    assert np.isfinite(scaling.back(scale, jnp.array([-1e9, 1e9]))).all()


@pytest.mark.parametrize("epochs", [1, 4])
def test_the_baseline_of_seen_epochs_is_ridge_regression(epochs):
    generator = np.random.default_rng(0)
    early = generator.normal(size=(50, epochs)) * 3 + 1
    targets = early @ np.arange(1, epochs + 1) + 0.1 * generator.normal(size=50) + 5
    mask, seen = jnp.ones(50), jnp.full(50, epochs)
    baseline = scaling.fit_baseline(jnp.asarray(early), seen, jnp.asarray(targets), mask)
    first, spread, _ = scaling.context(baseline, jnp.asarray(early), seen)
    x = (early - early.mean(0)) / early.std(0)
    centred = targets - targets.mean()
    expected = x @ np.linalg.solve(x.T @ x + 0.01 * 50 * np.eye(epochs), x.T @ centred) + targets.mean()
    np.testing.assert_allclose(first, expected, rtol=1e-3)
    assert float(spread[0]) == pytest.approx((targets - expected).std(), rel=1e-2)
    none, whole, _ = scaling.context(baseline, jnp.asarray(early), jnp.zeros(50, int))
    np.testing.assert_allclose(none, targets.mean(), rtol=1e-5)
    np.testing.assert_allclose(whole, targets.std(), rtol=1e-5)


def test_the_recurrence_is_an_lstm_both_ways():
    """Against Flax's own cell, run by hand over each sequence's steps."""
    generator = np.random.default_rng(0)
    module = Recurrence(3, 4, words=jnp.array([1, 2], jnp.uint32))
    steps = jnp.asarray(generator.normal(size=(2, 5, 3)), jnp.float32)
    lengths = [5, 3]
    there = jnp.asarray(np.arange(5)[:, None] < np.array(lengths), jnp.float32)[..., None]
    pools = module(steps.swapaxes(0, 1), there)
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


def facts_of(*layers):
    """The facts of a template as `{name: [T]}`."""
    template = Template((*layers, Linear(10)))
    found = np.asarray(featurize(genome.to_genomes([template], len(layers)), (3, 32, 32), 10))[0]
    return dict(zip(FEATURE_NAMES, found[:, 32:].T, strict=True))


def test_facts_of_a_known_chain():
    found = facts_of(
        Conv2d(16, 3, 2, True), ReLU(), MaxPool2d(2, 2, False), Conv2d(64, 5, 1, True), Flatten(), Linear(32)
    )
    np.testing.assert_allclose(2 ** (10 * found["channels"]), [16, 16, 16, 64, 4096, 32], rtol=1e-5)
    np.testing.assert_allclose(2 ** (5 * found["height"]), [16, 16, 8, 8, 1, 1], rtol=1e-5)
    macs = [27 * 16 * 256, 1, 1, 400 * 64 * 64, 1, 4096 * 32]
    np.testing.assert_allclose(2 ** (25 * found["macs"]), macs, rtol=1e-4)
    np.testing.assert_allclose(2 ** (20 * found["params"][3]), 401 * 64, rtol=1e-4)
    np.testing.assert_allclose(2 ** (25 * found["macs so far"][-1]), sum(macs) - 3, rtol=1e-4)
    # 3, then 3 + 1 * 2, then 5 + 4 * 4 pixels of the image; the linear layer sees all.
    np.testing.assert_allclose(2 ** (7 * found["receptive field"]), [3, 3, 5, 21, 21, 32], rtol=1e-4)
    np.testing.assert_allclose(found["share of image"], np.array([3, 3, 5, 21, 21, 32]) / 32, rtol=1e-5)
    np.testing.assert_allclose(2 ** (6 * found["stride so far"]), [2, 2, 4, 4, 4, 4], rtol=1e-5)
    np.testing.assert_allclose(found["share of map"], [3 / 32, 0, 2 / 16, 5 / 8, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(20 * found["position"], range(6), atol=1e-5)
    np.testing.assert_allclose(20 * found["layers to come"], range(5, -1, -1), atol=1e-5)


def test_coverage_and_signal():
    gaps = facts_of(Conv2d(8, 1, 4, False), ReLU(), BatchNorm2d(), GlobalAvgPool2d(), Flatten())
    assert gaps["coverage"][0] == pytest.approx(1 / 16)  # one pixel in sixteen is read
    # Batch norm brings the second moment back to one and keeps the signal's share; averaging lowers it.
    assert gaps["second moment"][2] == 0 > gaps["second moment"][1]
    assert gaps["signal share"][2] == pytest.approx(gaps["signal share"][1], abs=1e-6)
    assert gaps["signal share"][3] < gaps["signal share"][2]
    whole = facts_of(Conv2d(8, 3, 1, True), AvgPool2d(2, 2, False, True), Flatten())
    assert whole["coverage"][0] == whole["coverage"][1] == 1
    assert sum(FEATURE_GROUPS.values()) == len(FEATURE_NAMES)


def test_what_padding_and_dropout_leave():
    found = facts_of(
        *(Conv2d(8, 3, 1, True), Conv2d(8, 4, 4, False), Conv2d(8, 7, 4, True), MaxPool2d(2, 2, False)),
        *(Conv2d(8, 5, 1, True), Flatten(), Linear(64), Dropout(0.75), Linear(32)),
    )
    # On 32 pixels both ends look at 2 of 3; a window of 7 on 8 pixels is at -3 and at 1; one of 5 sees the only pixel.
    shares = [94 / 96, 1, (4 + 7) / 14, 1, 1 / 5, 1, 1, 1, 1]
    np.testing.assert_allclose(2 ** (5 * found["window on map"]), np.square(shares), rtol=1e-5)
    np.testing.assert_allclose(
        2 ** (5 * found["least window on map"]), np.minimum.accumulate(np.square(shares)), rtol=1e-5
    )
    np.testing.assert_allclose(2 ** (16 * found["kept"][5:]), [8, 64, 16, 32], rtol=1e-5)
    np.testing.assert_allclose(2 ** (16 * found["fewest kept"][5:]), [8, 8, 8, 8], rtol=1e-5)


def test_the_second_moment_is_that_of_a_network_at_initialisation():
    images = jax.random.normal(jax.random.key(0), (16, 32, 32, 3))
    layers = (Conv2d(64, 3, 1, True), ReLU(), Conv2d(64, 3, 1, True), ReLU(), Flatten(), Linear(256))
    for depth in (1, 3, 6):
        told = 2.0 ** (10 * facts_of(*layers)["second moment"][depth - 1])
        # The layer in question as the last one: its outputs are then the logits.
        before = layers[: depth - 1] if depth == 6 else (*layers[: depth - 1], Flatten())
        outputs = Template((*before, Linear(10))).build(rngs=nnx.Rngs(0))(images)
        last = 2.0 ** (10 * facts_of(*before, Linear(32))["second moment"][-1])
        assert float(jnp.square(outputs).mean()) == pytest.approx(last, rel=0.5) and told < 1
    # The last window is of 7 on a map of 2, so most of it sees nothing.
    small = (Conv2d(64, 7, 4, False), Conv2d(64, 4, 3, False), Conv2d(64, 7, 1, True), Flatten())
    outputs = Template((*small, Linear(10))).build(rngs=nnx.Rngs(0))(images)
    told = 2.0 ** (10 * facts_of(*small, Linear(32))["second moment"][-1])
    assert float(jnp.square(outputs).mean()) == pytest.approx(told, rel=0.5)


def test_draws_are_uniform_and_unlike():
    keys = jax.random.split(jax.random.key(0), 20_000)
    found = np.asarray(jax.vmap(lambda key: choices(key, jnp.array([3, 19, 7])))(keys))
    for column, count in enumerate((3, 19, 7)):
        assert stats.chisquare(np.bincount(found[:, column], minlength=count)).pvalue > 1e-4
    pairs = np.bincount(found[:, 0] * 7 + found[:, 2], minlength=21)
    assert stats.chisquare(pairs).pvalue > 1e-4
    next_key = found[:-1, 0] * 3 + found[1:, 0]
    assert stats.chisquare(np.bincount(next_key, minlength=9)).pvalue > 1e-4


class Adds:
    """A model whose mean is the sum of what it sees."""

    def predict(self, sequences, lengths):
        there = np.arange(sequences.shape[1]) < lengths[:, None]
        return (sequences.astype(float).sum(-1) * there).sum(1), lengths.astype(float)


@pytest.mark.parametrize("encoder", [bits_alone, facts_and_bits])
@pytest.mark.parametrize("count", [1, 5, 1500])
def test_screening_keeps_the_order_of_genomes(encoder, count):
    space = Space(conv_num=2, lin_num=2)
    genomes = space.sample(jax.random.key(0), count)
    seen = np.asarray(encoder(genomes, space))
    lengths = np.asarray(genome.lengths(genomes))
    mean, std = screen(space, genomes, Adds(), encoder)
    np.testing.assert_allclose(mean, Adds().predict(seen, lengths)[0], rtol=1e-4)
    np.testing.assert_array_equal(std, lengths)


def test_acquisition_rules():
    members = np.array([[0.9, 0.1, 0.5, 0.4], [0.1, 0.8, 0.5, 0.4]])
    std = np.array([0.4, 0.35, 0.0, 0.3])
    assert ranked("mean", members, std, 4).tolist() == [0, 2, 1, 3]
    assert ranked("ucb", members, std, 4).tolist() == [0, 1, 3, 2]
    drawn = np.stack([ranked("thompson", members, std, 4, seed) for seed in range(40)])
    assert set(drawn[:, 0]) == {0, 1}  # each member's favourite
    assert (np.sort(drawn, 1) == np.arange(4)).all()
    np.testing.assert_array_equal(ranked("thompson", members, std, 4, 3), drawn[3])
    with pytest.raises(JnasError, match="no acquisition rule 'best': choose one of mean, ucb, thompson"):
        ranked("best", members, std, 4)


class Layered(Adds):
    """Members that agree, so that the first ones already know the best."""

    def __init__(self, members=4):
        self.settings = Settings(members=members)

    def part(self, members):
        return Layered(members)

    def members(self, sequences, lengths):
        return np.tile(self.predict(sequences, lengths)[0], (self.settings.members, 1))


def test_the_shortlist_holds_the_best():
    space = Space(conv_num=2, lin_num=2)
    genomes = np.asarray(space.sample(jax.random.key(0), 600))
    value = screen(space, genomes, Adds(), facts_and_bits)[0]
    front = shortlist(space, genomes, Layered(), 50)
    assert len(front) == 120 and value[front[0]] == value.max() and value[front].min() >= np.sort(value)[-120] - 1e-4
    assert shortlist(space, genomes, Layered(), 700).tolist() == list(range(600))


def test_every_other_member_sees_the_features_beside_the_early_epochs():
    steps = jnp.array([[[1.0, -3.0], [2.0, -4.0], [9.0, 9.0]], [[5.0, 6.0], [0.0, 0.0], [0.0, 0.0]]])
    lengths, context = jnp.array([2, 1]), jnp.ones((2, 3))
    without, has = (
        core._with_shortcut(context, steps, lengths, member) for member in core._have_shortcut(Settings())[:2]
    )
    assert without[:, 3:].tolist() == [[0, 0], [0, 0]] and has[:, 3:].tolist() == [[2, -3], [5, 6]]
    assert core._with_shortcut(context[:, :1], steps, lengths, 1).shape == (2, 1)  # no epochs, no shortcut
