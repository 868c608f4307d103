"""Features of layers: what follows from a chain of layers together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnas.space import FEATURE_NAMES, Template, featurize
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

featurized = jax.jit(featurize, static_argnums=(1, 2))


def features_of(*layers):
    """The features of a template as `{name: [T]}`."""
    template = Template((*layers, Linear(10)))
    found = np.asarray(featurized(genome.to_genome(template, 12)[None], (3, 32, 32), 10))[0, : len(layers)]
    return dict(zip(FEATURE_NAMES, found[:, 32:].T, strict=True))


def test_features_of_a_known_chain():
    found = features_of(
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


def test_features_coverage_and_signal_share():
    gaps = features_of(Conv2d(8, 1, 4, False), ReLU(), BatchNorm2d(), GlobalAvgPool2d(), Flatten())
    assert gaps["coverage"][0] == pytest.approx(1 / 16)  # one pixel in sixteen is read
    # Batch norm brings the second moment back to one and keeps the signal's share; averaging lowers it.
    assert gaps["second moment"][2] == 0 > gaps["second moment"][1]
    assert gaps["signal share"][2] == pytest.approx(gaps["signal share"][1], abs=1e-6)
    assert gaps["signal share"][3] < gaps["signal share"][2]
    whole = features_of(Conv2d(8, 3, 1, True), AvgPool2d(2, 2, False, True), Flatten())
    assert whole["coverage"][0] == whole["coverage"][1] == 1


def test_features_window_share_and_kept_inputs():
    found = features_of(
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


def test_features_second_moment_matches_initialised_network():
    images = jax.random.normal(jax.random.key(0), (6, 32, 32, 3))
    layers = (Conv2d(64, 3, 1, True), ReLU(), Conv2d(64, 3, 1, True), ReLU(), Flatten(), Linear(256))
    for depth in (1, 3, 6):
        told = 2.0 ** (10 * features_of(*layers)["second moment"][depth - 1])
        # The layer in question as the last one: its outputs are then the logits.
        before = layers[: depth - 1] if depth == 6 else (*layers[: depth - 1], Flatten())
        outputs = Template((*before, Linear(10))).build(rngs=nnx.Rngs(0))(images)
        last = 2.0 ** (10 * features_of(*before, Linear(32))["second moment"][-1])
        assert float(jnp.square(outputs).mean()) == pytest.approx(last, rel=0.5) and told < 1
    # The last window is of 7 on a map of 2, so most of it sees nothing.
    small = (Conv2d(64, 7, 4, False), Conv2d(64, 4, 3, False), Conv2d(64, 7, 1, True), Flatten())
    outputs = Template((*small, Linear(10))).build(rngs=nnx.Rngs(0))(images)
    told = 2.0 ** (10 * features_of(*small, Linear(32))["second moment"][-1])
    assert float(jnp.square(outputs).mean()) == pytest.approx(told, rel=0.5)
