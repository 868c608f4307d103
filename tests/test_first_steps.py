"""Whitened first kernels, identity filters and orthogonal steps: what a recipe may change in how training begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from optax.contrib import MuonDimensionNumbers, scale_by_muon

import jnas
from jnas.data._whitening import patch_whitening
from jnas.space import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU
from jnas.train import Recipe, Trial
from jnas.train._initial_params import initial_params
from jnas.train._optimizer import _orthogonalise, init_opt_state, update
from jnas.train._trainer import Trainer
from jnas.train._whitening import apply

LAYERS = (Conv2d(16, 3), ReLU(), Conv2d(8, 3), BatchNorm2d(), ReLU(), MaxPool2d(2, 2), Flatten(), Linear(3))
RATES = jnp.float32(0.1), jnp.float32(0.0)
TEMPLATE = jnas.Template(LAYERS, (3, 8, 8))


def smooth_images(count=64, size=8):
    """Images like photographs: neighbouring pixels and colours are alike."""
    coarse = np.random.default_rng(0).integers(0, 255, (count, size // 4, size // 4, 1))
    noise = np.random.default_rng(1).integers(-20, 20, (count, size, size, 3))
    return np.clip(coarse.repeat(4, 1).repeat(4, 2) + noise, 0, 255).astype(np.uint8)


def params_of(template, seed=0):
    return nnx.split(template.build(nnx.Rngs(seed)), nnx.Param, ...)[1]


def kernels(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 4]


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_whitened_patches_have_unit_moments(kernel_size):
    images = smooth_images()
    whitening = patch_whitening(jnp.asarray(images), kernel_size)
    pixels = images.astype(np.float32) * (2 / 255) - 1
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (kernel_size, kernel_size), (1, 2))[:, ::2, ::2]
    patches = np.moveaxis(windows, 3, -1).reshape(-1, 3 * kernel_size**2) @ whitening
    moments = patches.T @ patches / len(patches)
    assert np.abs(moments - np.eye(len(moments))).max() < 0.2  # the smallest variances are lifted
    before = pixels.reshape(-1, 3)
    assert np.linalg.cond(before.T @ before) > 20 * np.linalg.cond(moments)


def test_whitening_of_images_smaller_than_the_kernel():
    assert np.isfinite(patch_whitening(jnp.asarray(smooth_images(size=4)[:, :2, :3]), 5)).all()


def test_steps_are_taken_in_whitened_coordinates():
    """kernel = whitening @ coordinates, so a gradient step is the whitening twice on the gradient."""
    recipe, params = Recipe(optimizer="sgd", whiten=True), params_of(TEMPLATE)
    whitening = patch_whitening(jnp.asarray(smooth_images()), 3)
    gradients = jax.tree.map(jnp.ones_like, params)
    after, _ = update(recipe, params, gradients, init_opt_state(recipe, params), *RATES, jnp.asarray(whitening))
    # Nesterov's first step is 1.9 times the rate.
    steps = [old - new for old, new in zip(kernels(params), kernels(after), strict=True)]
    ones = np.ones_like(steps[0])
    np.testing.assert_allclose(steps[0], 0.19 * apply(whitening, apply(whitening, ones)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(steps[1], 0.19, rtol=1e-5)


def test_dirac_filters_pass_their_channels_on():
    params = params_of(TEMPLATE)
    first, second = kernels(initial_params(Recipe(init="dirac"), params, None))
    np.testing.assert_array_equal(first, kernels(params)[0])
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 16)).astype(np.float32)
    y = jax.lax.conv_general_dilated(x, second, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(y, x[..., :8], atol=1e-6)


def test_muon_takes_orthogonal_steps_as_large_as_adams():
    recipe, params = Recipe(optimizer="muon"), params_of(TEMPLATE)
    gradients = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    after, _ = update(recipe, params, gradients, init_opt_state(recipe, params), *RATES)
    for old, new in zip(kernels(params), kernels(after), strict=True):
        step = (old - new).reshape(-1, old.shape[-1])
        values = np.linalg.svd(step, compute_uv=False) / (0.1 * 0.2 * max(step.shape) ** 0.5)
        assert values.min() > 0.5 and values.max() < 1.4
    biases = [leaf for leaf in jax.tree.leaves(jax.tree.map(jnp.subtract, params, after)) if leaf.ndim == 1]
    np.testing.assert_allclose(np.abs(np.concatenate(biases)), 0.1, rtol=1e-3)  # Adam's first step


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (1, 1, 8, 32), (7, 7, 16, 96)])
def test_muon_orthogonalises_as_optax_does(shape):
    dimensions = MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=(3,))
    peer = scale_by_muon(beta=0.0, weight_dimension_numbers=dimensions)
    gradient = jax.random.normal(jax.random.key(0), shape)
    expected, _ = peer.update(gradient, peer.init(gradient))
    ours = _orthogonalise(gradient)  # versions of optax differ in the scale, which is ours
    np.testing.assert_allclose(ours / jnp.linalg.norm(ours), expected / jnp.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_biases_of_batch_norm_have_a_rate_of_their_own(optimizer):
    gradients = jax.tree.map(jnp.ones_like, params := params_of(TEMPLATE))
    once, faster = (Recipe(optimizer=optimizer, norm_bias_rate=rate) for rate in (1, 8))
    steps = []
    for recipe in (once, faster):
        after, _ = update(recipe, params, gradients, init_opt_state(recipe, params), *RATES)
        steps.append(nnx.to_flat_state(jax.tree.map(jnp.subtract, params, after)))
    for (path, step), (_, longer) in zip(*steps, strict=True):
        factor = 8 if path[1:] == (3, "bias") else 1
        np.testing.assert_allclose(longer[...], factor * step[...], rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_trials_side_by_side_train_alike(arrays, optimizer):
    recipe = Recipe(epochs=2, batch_size=24, whiten=True, init="dirac", optimizer=optimizer)
    split = jnas.load_data(arrays).split(0.25)
    alone = Trainer(TEMPLATE, recipe, split).train([Trial(TEMPLATE, 1)])
    both = Trainer(TEMPLATE, recipe, split, num_lanes=2).train([Trial(TEMPLATE, 0), Trial(TEMPLATE, 1)])
    losses = [epoch.train_loss for epoch in alone.history[0]]
    assert losses[1] < losses[0]
    np.testing.assert_allclose([epoch.train_loss for epoch in both.history[1]], losses, rtol=0.02)
