"""Outputs, gradients and batch statistics equal PyTorch's, for every layer type and for random templates."""

import itertools

import jax
import numpy as np
import pytest
from check_all import Case, check_all
from flax import nnx

from jnas.nn import _modules as modules
from jnas.space import Space, Template
from jnas.space import _layers as lt

torch = pytest.importorskip("torch", reason="parity with PyTorch is checked where torch is installed")
from torch_peer import copy_weights, torch_network  # noqa: E402

torch.set_num_threads(1)  # the tests of one run share the cores already


def to_torch(x):
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


def to_numpy(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


def copied(state):
    return jax.tree.map(lambda leaf: leaf, state)


def random_template(seed):
    """Without dropout, whose draws differ between the libraries; its own test is in test_nn."""
    template = Space(in_shape=(3, 16, 16), conv_num=4).random(seed)
    return Template([layer for layer in template.layers if not isinstance(layer, lt.Dropout)], template.in_shape)


def template_case(seed):
    """Logits of two passes in training and of one in evaluation, and running statistics, beside PyTorch's."""
    template = random_template(seed)
    module, network = template.build(nnx.Rngs(seed)), torch_network(template)
    copy_weights(template, module, network)
    graph, state = nnx.split(module)
    x = np.random.default_rng(seed).normal(size=(4, 16, 16, 3)).astype(np.float32)

    def run(state, x):
        module = nnx.merge(graph, copied(state))
        training = [module(x), module(x)]  # twice, so that the running statistics have moved from their start
        norms = [layer for layer in module.layers if isinstance(layer, modules.BatchNorm2d)]
        statistics = [array[...] for norm in norms for array in (norm.mean, norm.var)]
        module.eval()
        return [*training, *statistics, module(x)]

    training = [network(to_torch(x)).detach().numpy() for _ in range(2)]
    norms = [layer for layer in network if isinstance(layer, torch.nn.BatchNorm2d)]
    statistics = [array.numpy().copy() for norm in norms for array in (norm.running_mean, norm.running_var)]
    network.eval()
    return Case(run, (state, x), [*training, *statistics, network(to_torch(x)).detach().numpy()])


@pytest.mark.parametrize(
    "first", [pytest.param(seed, marks=[pytest.mark.exhaustive] if seed >= 4 else []) for seed in range(0, 52, 4)]
)
def test_random_templates_equal_torch(first):
    check_all({f"seed {seed}": template_case(seed) for seed in range(first, first + 4)})


LAYERS = {
    "Conv2d": [lt.Conv2d(8, k, s, p) for k, s, p in itertools.product(range(1, 8), range(1, 5), (True, False))],
    "MaxPool2d": [lt.MaxPool2d(k, s, p) for k, s, p in itertools.product((2, 3, 4), (1, 2, 3), (True, False))],
    "AvgPool2d": [
        lt.AvgPool2d(k, s, p, c) for k, s, p, c in itertools.product((2, 3, 4), (1, 2), (True, False), (True, False))
    ],
    "others": [lt.GlobalAvgPool2d(), lt.BatchNorm2d(), lt.ReLU(), lt.LeakyReLU(0.1), lt.PReLU(True), lt.PReLU(False)],
}


def layer_case(layer):
    """A layer's output, and the gradient of its input, beside PyTorch's."""
    template = Template([layer, lt.Flatten(), lt.Linear(3)], (4, 9, 8))
    whole, peer = template.build(nnx.Rngs(0)), torch_network(template)
    copy_weights(template, whole, peer)
    # Rounded to halves, so that maxima tie and the tie-break is compared too.
    x = (np.round(np.random.default_rng(1).normal(size=(3, 9, 8, 4)) * 2) / 2).astype(np.float32)
    tx = to_torch(x).requires_grad_()
    output = peer[0](tx)
    weight = np.random.default_rng(0).normal(size=np.array(output.shape)[[0, 2, 3, 1]]).astype(np.float32)
    output.backward(to_torch(weight))
    graph, state = nnx.split(whole.layers[0])

    def with_gradient(state, x, weight):
        output, back = jax.vjp(lambda x: nnx.merge(graph, copied(state))(x), x)
        return output, *back(weight)

    return Case(with_gradient, (state, x, weight), (to_numpy(output), to_numpy(tx.grad)))


@pytest.mark.parametrize("layer_type", LAYERS)
def test_layer_and_its_gradient_equal_torch(layer_type):
    check_all({str(layer): layer_case(layer) for layer in LAYERS[layer_type]})
