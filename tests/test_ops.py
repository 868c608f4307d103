"""Operations: gradients against autodiff, NaN, barriers, and what XLA must not be given."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from check_all import FAST_COMPILE, Case, check_all
from conftest import exhaustive
from flax import nnx

from jnas._runtime.compile_options import compiler_options, supported_options
from jnas.nn.ops import backward_barrier, batch_norm, forward_barrier, linear, max_pool, optimization_barrier
from jnas.space import Space, Template
from jnas.space import _layers as lt


def normals(*shapes):
    generator = np.random.default_rng(0)
    return tuple(jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in shapes)


def test_max_pool_nan_wins():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    pooled = jax.jit(lambda x: max_pool(x, 2, 2, 0))(x)[0, ..., 0]
    assert np.isnan(pooled).tolist() == [[True, False], [False, False]]


def plain_batch_norm(x, scale, bias):
    return (x - x.mean((0, 1, 2))) * jax.lax.rsqrt(x.var((0, 1, 2)) + 1e-5) * scale + bias


def difference_of_gradients(ours, plain):
    def difference(*arguments):
        pairs = zip(*(jax.grad(f, tuple(range(len(arguments))))(*arguments) for f in (ours, plain)), strict=True)
        return [one - other for one, other in pairs]

    return difference


def test_gradients_equal_autodiff():
    x, weight, scale, bias = normals((5, 3, 4, 6), (5, 3, 4, 6), (6,), (6,))
    difference = difference_of_gradients(
        lambda *args: (batch_norm(*args)[0] * weight).sum(),
        lambda *args: (plain_batch_norm(*args) * weight).sum(),
    )
    cases = {"batch_norm": Case(difference, (x, scale, bias), [np.zeros_like(a) for a in (x, scale, bias)])}
    for outputs in (3, 100):
        arrays = normals((2, 5, 7), (2, 7, outputs))
        difference = jax.vmap(
            difference_of_gradients(*(lambda x, k, f=f: (f(x, k) ** 2).sum() / 100 for f in (linear, jnp.matmul)))
        )
        cases[f"linear, {outputs} outputs"] = Case(difference, arrays, [np.zeros_like(a) for a in arrays])
    check_all(cases)


def test_module_vmapped_equals_each_lane():
    layers = [lt.Conv2d(8, 3, 2), lt.MaxPool2d(3, 2, True), lt.BatchNorm2d(), lt.AvgPool2d(2, 1), lt.Flatten()]
    template = Template([*layers, lt.Linear(3)], (3, 12, 12))
    graph, _ = nnx.split(template.build(nnx.Rngs(0)))
    states = [nnx.state(template.build(nnx.Rngs(seed))) for seed in range(3)]
    (x,) = normals((4, 12, 12, 3))

    def gradient(state):
        def loss(params):
            return (nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))(x) ** 2).sum()

        params, rest = nnx.split_state(state, nnx.Param, ...)
        return jax.grad(loss)(params)

    def difference(states):
        alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(gradient, states))
        together = jax.vmap(gradient)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))
        pairs = zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True)
        return (jnp.stack([(jnp.abs(one - other) / (1 + jnp.abs(other))).max() for one, other in pairs]).max(),)

    check_all({"all layers with a gradient of their own": Case(difference, (states,), (0,))}, tolerance=1e-4)


# Barriers.


def computations(function, *arguments):
    """The text of each computation, such as a fusion, of the optimised program."""
    return jax.jit(function).lower(*arguments).compile(compiler_options("train")).as_text().split("\n}\n")


def fuses(function, *operations):
    """Whether one computation has all the operations."""
    texts = computations(function, jax.ShapeDtypeStruct((64, 64), jnp.float32))
    return any(all(f" {operation}(" in text for operation in operations) for text in texts)


def sum_of_slices(x):
    return sum(x[i : i + 60] * (i + 1) for i in range(4))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="what XLA:CPU does with barriers")
def test_barriers_stop_fusion():
    def forward(barrier):
        return lambda x: sum_of_slices(barrier(jnp.tanh(x)))

    def backward(barrier):
        return jax.grad(lambda x: (sum_of_slices(barrier(jnp.tanh(x))) ** 2).sum())

    for barrier in (lambda x: x, backward_barrier):
        assert fuses(forward(barrier), "tanh", "slice"), "XLA fuses what has no barrier, or barriers are not needed"
    for barrier in (lambda x: x, forward_barrier):
        assert fuses(backward(barrier), "pad", "subtract"), "and so in the backward pass"
    for barrier in (forward_barrier, optimization_barrier):
        assert not fuses(forward(barrier), "tanh", "slice")
    for barrier in (backward_barrier, optimization_barrier):
        assert not fuses(backward(barrier), "pad", "subtract")


# YNNPACK crashes in reductions of arrays with seven axes or more in jaxlib 0.10.2 and 0.11.0 (jax#39257, jax#40412).

MAX_RANK = 6


def reduction_ranks(text):
    """How many axes the operands of each reduction in a program have."""
    shapes = dict(re.findall(r"%([\w.-]+) = \w+\[([\d,]*)\]", text))
    shapes |= dict(re.findall(r"([\w.-]+): \w+\[([\d,]*)\]", text))  # parameters
    operands = re.findall(r" reduce\(%([\w.-]+)", text)
    return [len(shapes[name].split(",")) if shapes[name] else 0 for name in operands]


def test_reduction_ranks_reads_a_program():
    text = jax.jit(lambda x: x.sum((0, 2))).lower(jnp.zeros((2, 3, 4, 5))).compile().as_text()
    assert reduction_ranks(text) == [4]


def step(template, lanes):
    """The gradient of a loss, with statistics of the batch, of some lanes with weights of their own."""
    graph, state = nnx.split(template.build(nnx.Rngs(0)))

    def gradient(state, x):
        params, rest = nnx.split_state(state, nnx.Param, ...)

        def loss(params):
            module = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))
            return jax.nn.log_softmax(module(x)).mean(), nnx.state(module)

        return jax.grad(loss, has_aux=True)(params)

    x = jnp.zeros((lanes, 8, *template.in_shape[1:], template.in_shape[0]))
    if lanes == 1:
        return gradient, (state, x[0])
    return jax.vmap(gradient), (jax.tree.map(lambda leaf: jnp.stack([leaf] * lanes), state), x)


def varied_templates(count):
    """Templates with every algorithm of a convolution and all layers, and random ones."""
    layers = [
        *(lt.Conv2d(16, 6, 1, True), lt.PReLU(True), lt.BatchNorm2d(), lt.Conv2d(32, 4, 1, True), lt.MaxPool2d(4, 2)),
        *(lt.Conv2d(8, 3, 2), lt.AvgPool2d(4, 1, True), lt.Conv2d(8, 7, 2, True), lt.Dropout2d(0.5), lt.Conv2d(8, 2)),
        *(lt.GlobalAvgPool2d(), lt.Flatten(), lt.Linear(32), lt.Dropout(0.5), lt.Linear(10)),
    ]
    space = Space((3, 16, 16), conv_num=4)
    return [Template(layers, (3, 32, 32)), *(space.random(seed) for seed in range(count))]


@pytest.mark.parametrize("count", [1, pytest.param(40, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("lanes", [3, *exhaustive(1)])
def test_programs_have_no_reduction_of_seven_axes(lanes, count):
    options = compiler_options("train") | supported_options(FAST_COMPILE)
    ranks = []
    for template in varied_templates(count):
        function, arguments = step(template, lanes)
        ranks += reduction_ranks(jax.jit(function).lower(*arguments).compile(options).as_text())
    assert max(ranks) <= MAX_RANK and len(ranks) > 10
