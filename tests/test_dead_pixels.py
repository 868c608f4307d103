"""Dead-pixel elimination leaves out only what no layer reads, and changes neither outputs nor gradients."""

import functools
import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from check_all import Case, check_all
from flax import nnx

from jnas.nn import _build
from jnas.nn._dead_pixels import OutputRegion, required_regions
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


def regions_of(template):
    return required_regions(template.layers, template.in_shape, template.shapes)


def read_pixels(template):
    """The rows and columns of each layer's output that are read, found one by one."""
    inputs = (template.in_shape, *template.shapes)
    required = [[set(range(side)) for side in shape[1:]] for shape in inputs]
    for index, layer in reversed(list(enumerate(template.layers))):
        if isinstance(layer, lt.WindowedLayer):
            offsets = range(layer.kernel_size)
            required[index] = [
                {row * layer.stride - layer.pad + offset for row in rows for offset in offsets} & whole
                for rows, whole in zip(required[index + 1], required[index], strict=True)
            ]
        elif isinstance(layer, lt.Activation | lt.Dropout2d):
            required[index] = required[index + 1]
    return required[1:]


def difference_case(template, seed=0):
    """The largest difference that elimination makes to logits and gradients, relative to them and the largest logit."""

    def split(build_network):
        return nnx.split(build_network(template, nnx.Rngs(seed)), nnx.Param, ...)

    cropped, params, rest = split(_build.build)
    with mock.patch.object(_build, "required_regions", lambda layers, *_: [None] * len(layers)):
        whole, *_ = split(_build.build)
    x = np.random.default_rng(seed).normal(size=(3, *template.in_shape[1:], 3)).astype(np.float32)

    def trained(graph, params, rest, x):
        def loss(params):
            logits = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))(x)
            return (logits * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)).sum(), logits

        gradients, logits = jax.grad(loss, has_aux=True)(params)
        return [logits, *jax.tree.leaves(gradients)]

    def difference(params, rest, x):
        some, every = trained(cropped, params, rest, x), trained(whole, params, rest, x)
        # The gradient of a bias before a batch norm is zero, but for rounding.
        scale = jnp.maximum(1, jnp.abs(every[0]).max())
        pairs = zip(some, every, strict=True)
        return (jnp.stack([(jnp.abs(one - other) / (scale + jnp.abs(other))).max() for one, other in pairs]).max(),)

    return Case(difference, (params, rest, x), (0,))


def check_same_training(templates):
    assert all(any(regions_of(template)) for template in templates)
    check_all({repr(template): difference_case(template) for template in templates}, tolerance=1e-4)


@pytest.mark.parametrize("shape", [SHAPES[0], pytest.param(SHAPES[1], marks=pytest.mark.exhaustive)], ids=str)
def test_training_of_chains_is_the_same(shape):
    check_same_training([Template([*layers, *ENDS], shape) for layers in CHAINS.values()])


@pytest.mark.parametrize("count", [2, pytest.param(12, marks=pytest.mark.exhaustive)])
def test_training_of_random_templates_is_the_same(count):
    space = Space((3, 20, 20), 3, conv_num=5, lin_num=1)
    templates = (space.random(seed) for seed in itertools.count())
    check_same_training(list(itertools.islice((t for t in templates if any(regions_of(t))), count)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_required_regions_cover_every_read_pixel(shape):
    space = Space(shape, 3, conv_num=8, lin_num=1)
    templates = [*(Template([*layers, *ENDS], shape) for layers in CHAINS.values()), *map(space.random, range(300))]
    left_out = 0
    for template in templates:
        step = 1
        for layer, region, read, whole in zip(
            *(template.layers, regions_of(template), read_pixels(template), template.shapes), strict=True
        ):
            if not isinstance(layer, lt.WindowedLayer):
                step = step if isinstance(layer, lt.Activation | lt.Dropout2d) else 1
                continue
            region = region or OutputRegion(layer.stride, whole[1:])
            step = step * region.stride // layer.stride
            for rows, count, side in zip(read, region.size, whole[1:], strict=True):
                computed = set(range(0, count * step, step))
                assert rows <= computed <= set(range(side))
                left_out += side - count
    assert left_out > 300


def test_required_regions_of_known_templates():
    template = Template([CONV(8, 3, 1), lt.ReLU(), AVG(3, 2), CONV(8, 1, 4), *ENDS], (3, 32, 32))
    assert template.shapes[0] == (8, 30, 30) and template.shapes[2] == (8, 14, 14)
    # Of 14 x 14 means the last convolution reads 4 x 4, which are those of every fourth window.
    expected = [OutputRegion(1, (27, 27)), None, OutputRegion(8, (4, 4)), OutputRegion(1, (4, 4)), None, None]
    assert regions_of(template) == expected
    assert not any(regions_of(Template([CONV(8, 3, 1), AVG(3, 1), *ENDS], (3, 32, 32))))
    normed = Template([CONV(8, 3, 1), lt.BatchNorm2d(), AVG(3, 2), CONV(8, 1, 4), *ENDS], (3, 32, 32))
    assert regions_of(normed)[0] is None and regions_of(normed)[2] == OutputRegion(8, (4, 4))


def test_required_regions_crop_padded_convolutions_only_where_it_pays():
    padded = regions_of(Template([PADDED(8, 3, 1), MAX(2, 2), *ENDS], (3, 21, 21)))
    assert padded[0] is None, "20 of 21 rows"
    assert regions_of(Template([CONV(8, 3, 1), MAX(2, 2), *ENDS], (3, 21, 21)))[0].size == (18, 18), "of 19"
