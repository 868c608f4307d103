"""Outputs, gradients and batch statistics equal PyTorch's, for every layer type and for random templates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnas.nn import _modules as modules
from jnas.space import Space, Template
from jnas.space import _layers as lt

torch = pytest.importorskip("torch", reason="parity with PyTorch is checked where torch is installed")
from torch_peer import copy_weights, torch_network  # noqa: E402

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def nchw(x):
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


def without_dropout(template):
    """Dropout draws differ between the libraries; its own test is in test_modules."""
    return Template([layer for layer in template.layers if not isinstance(layer, lt.Dropout)], template.in_shape)


@nnx.jit
def run(module, x):
    return module(x)


@pytest.mark.parametrize("seed", range(50))
def test_random_template(seed):
    template = without_dropout(Space(in_shape=(3, 16, 16), conv_num=4).random(seed))
    module = template.build(nnx.Rngs(seed))
    network = torch_network(template)
    copy_weights(template, module, network)
    x = jax.random.normal(jax.random.key(seed), (4, 16, 16, 3))
    for _ in range(2):  # twice, so that the running statistics have moved from their start
        np.testing.assert_allclose(run(module, x), network(nchw(x)).detach(), **TOLERANCE)
    for mine, peer in zip(module.layers, network, strict=True):
        if isinstance(mine, modules.BatchNorm2d):
            np.testing.assert_allclose(mine.mean[...], peer.running_mean, **TOLERANCE)
            np.testing.assert_allclose(mine.var[...], peer.running_var, **TOLERANCE)
    module.eval()
    network.eval()
    np.testing.assert_allclose(run(module, x), network(nchw(x)).detach(), **TOLERANCE)


MAP_LAYERS = [
    *(lt.Conv2d(8, k, s, p) for k in range(1, 8) for s in range(1, 5) for p in (True, False)),
    *(lt.MaxPool2d(k, s, p) for k in (2, 3, 4) for s in (1, 2, 3) for p in (True, False)),
    *(lt.AvgPool2d(k, s, p, c) for k in (2, 3, 4) for s in (1, 2) for p in (True, False) for c in (True, False)),
    *(lt.GlobalAvgPool2d(), lt.BatchNorm2d(), lt.ReLU(), lt.LeakyReLU(0.1), lt.PReLU(True), lt.PReLU(False)),
]


@pytest.mark.parametrize("layer", MAP_LAYERS, ids=str)
def test_layer_and_its_gradient(layer):
    template = Template([layer, lt.Flatten(), lt.Linear(3)], (4, 9, 8))
    whole, peer = template.build(nnx.Rngs(0)), torch_network(template)
    copy_weights(template, whole, peer)
    module, network = whole.layers[0], peer[0]
    # Rounded to halves, so that maxima tie and the tie-break is compared too.
    x = jnp.round(jax.random.normal(jax.random.key(1), (3, 9, 8, 4)) * 2) / 2
    tx = nchw(x).requires_grad_()
    theirs = network(tx)
    weight = np.random.default_rng(0).normal(size=np.array(theirs.shape)[[0, 2, 3, 1]]).astype(np.float32)
    theirs.backward(nchw(weight))
    graph, state = nnx.split(module)

    @jax.jit
    def with_gradient(x):
        output, back = jax.vjp(lambda x: nnx.merge(graph, jax.tree.map(lambda leaf: leaf, state))(x), x)
        return output, back(weight)[0]

    ours, gradient = with_gradient(x)
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), **TOLERANCE)
    np.testing.assert_allclose(gradient, tx.grad.numpy().transpose(0, 2, 3, 1), **TOLERANCE)
