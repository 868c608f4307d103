"""What a layer leaves out is what nobody reads."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnas.nn import _build as network
from jnas.nn._build import build
from jnas.nn._dead_pixels import Reading, readings
from jnas.space import Space, Template
from jnas.space import _layers as lt

MAX, AVG = lt.MaxPool2d, lt.AvgPool2d
CONV = functools.partial(lt.Conv2d, padding=False)
PADDED = functools.partial(lt.Conv2d, padding=True)
ENDS = [lt.Flatten(), lt.Linear(3)]
CHAINS = {
    "margins": [CONV(8, 3, 1), MAX(2, 2), CONV(8, 5, 4)],
    "between": [CONV(8, 3, 1), lt.ReLU(), AVG(3, 2), CONV(8, 1, 4), AVG(2, 1)],
    "borders": [PADDED(8, 5, 2), lt.PReLU(), AVG(4, 2, True, count_include_pad=False), CONV(8, 3, 4)],
    "one pixel": [PADDED(8, 3, 1), lt.Dropout2d(0.5), MAX(4, 3, True), CONV(8, 1, 3), CONV(8, 1, 2)],
    "batch norm": [CONV(8, 2, 1), lt.BatchNorm2d(), AVG(2, 2), CONV(8, 1, 4), lt.BatchNorm2d(), MAX(2, 3, True)],
}
SHAPES = [(3, 21, 21), (3, 20, 25)]


def found(template):
    return readings(template.layers, template.in_shape, template.shapes)


def read(template):
    """The rows and columns of each layer's output that are read, one by one."""
    inputs = (template.in_shape, *template.shapes)
    wanted = [[set(range(side)) for side in shape[1:]] for shape in inputs]
    for number, layer in reversed(list(enumerate(template.layers))):
        if isinstance(layer, lt.Window):
            taps = range(layer.kernel_size)
            wanted[number] = [
                {row * layer.stride - layer.pad + tap for row in rows for tap in taps} & whole
                for rows, whole in zip(wanted[number + 1], wanted[number], strict=True)
            ]
        elif isinstance(layer, lt.Activation | lt.Dropout2d):
            wanted[number] = wanted[number + 1]
    return wanted[1:]


def trained(template, seed=0):
    """Logits and gradients of every parameter."""
    graph, params, rest = nnx.split(build(template, nnx.Rngs(seed)), nnx.Param, ...)
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(3, *template.in_shape[1:], 3)), jnp.float32)

    @jax.jit
    def run(params, rest):
        def loss(params):
            logits = nnx.merge(graph, params, rest, copy=True)(x)
            return (logits * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)).sum(), logits

        return jax.grad(loss, has_aux=True)(params)

    gradients, logits = run(params, rest)
    return [logits, *jax.tree.leaves(gradients)]


def random_templates():
    space = Space((3, 20, 20), 3, conv_num=5, lin_num=1)
    templates = (space.random(seed) for seed in itertools.count())
    cut = (t for t in templates if any(found(t)))
    return list(itertools.islice(cut, 8))


@pytest.mark.parametrize(
    "template",
    [*(Template([*layers, *ENDS], shape) for layers in CHAINS.values() for shape in SHAPES), *random_templates()],
    ids=repr,
)
def test_training_is_the_same(template, monkeypatch):
    assert any(found(template))
    less = trained(template)
    monkeypatch.setattr(network, "readings", lambda layers, *_: [None] * len(layers))
    for some, every in zip(less, trained(template), strict=True):
        # The gradient of a bias before a batch norm is zero, but for rounding.
        np.testing.assert_allclose(some, every, rtol=1e-4, atol=1e-4 * max(1, np.abs(less[0]).max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_all_that_is_read_is_computed(shape):
    space = Space(shape, 3, conv_num=8, lin_num=1)
    templates = [*(Template([*layers, *ENDS], shape) for layers in CHAINS.values()), *map(space.random, range(300))]
    left_out = 0
    for template in templates:
        step = 1
        for layer, reading, needed, whole in zip(
            *(template.layers, found(template), read(template), template.shapes), strict=True
        ):
            if not isinstance(layer, lt.Window):
                step = step if isinstance(layer, lt.Activation | lt.Dropout2d) else 1
                continue
            reading = reading or Reading(layer.stride, whole[1:])
            step = step * reading.stride // layer.stride
            for rows, count, side in zip(needed, reading.out, whole[1:], strict=True):
                computed = set(range(0, count * step, step))
                assert rows <= computed <= set(range(side))
                left_out += side - count
    assert left_out > 300


def test_how_much_is_left_out():
    template = Template([CONV(8, 3, 1), lt.ReLU(), AVG(3, 2), CONV(8, 1, 4), *ENDS], (3, 32, 32))
    assert template.shapes[0] == (8, 30, 30) and template.shapes[2] == (8, 14, 14)
    # Of 14 x 14 means the last convolution reads 4 x 4, which are those of every fourth window.
    expected = [Reading(1, (27, 27)), None, Reading(8, (4, 4)), Reading(1, (4, 4)), None, None]
    assert found(template) == expected
    assert not any(found(Template([CONV(8, 3, 1), AVG(3, 1), *ENDS], (3, 32, 32))))
    normed = Template([CONV(8, 3, 1), lt.BatchNorm2d(), AVG(3, 2), CONV(8, 1, 4), *ENDS], (3, 32, 32))
    assert found(normed)[0] is None and found(normed)[2] == Reading(8, (4, 4))


def test_a_border_is_not_written_for_little():
    padded = found(Template([PADDED(8, 3, 1), MAX(2, 2), *ENDS], (3, 21, 21)))
    assert padded[0] is None, "20 of 21 rows"
    assert found(Template([CONV(8, 3, 1), MAX(2, 2), *ENDS], (3, 21, 21)))[0].out == (18, 18), "of 19"
