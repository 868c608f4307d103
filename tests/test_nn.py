"""What the parity with PyTorch does not cover: initial weights, dropout, vmap."""

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest
from flax import nnx

from jnas.nn import _modules as modules
from jnas.nn import build as build_module
from jnas.space import Space, Template
from jnas.space import _layers as lt


def test_initial_weights_are_uniform_in_pytorchs_bounds():
    conv = modules.Conv2d(16, 64, 3, 1, 1, None, rngs=nnx.Rngs(0))
    bound = (16 * 9) ** -0.5
    for weights in (conv.kernel[...], conv.bias[...]):
        assert abs(weights).max() <= bound
    assert float(conv.kernel[...].std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not (conv.kernel[...] == modules.Conv2d(16, 64, 3, 1, 1, None, rngs=nnx.Rngs(1)).kernel[...]).any()


def test_a_module_of_new_shapes_is_built_without_the_compiler():
    """Else thousands of small programs would be compiled in a search, and stay."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, _, **__: compiled.append(name) if name.endswith("backend_compile_duration") else None
    )

    def build(width):
        layers = [lt.Conv2d(width, 7, 4), lt.BatchNorm2d(), lt.PReLU(), lt.Flatten(), lt.Linear(width + 5)]
        build_module(Template(layers, (5, 28, 28)), nnx.Rngs(jax.random.key(0)))

    build(8)  # random keys, the same for all
    before = len(compiled)
    build(192)
    assert len(compiled) == before
    jax.jit(lambda x: x + 17)(1.0)
    assert len(compiled) > before  # so they are counted


def test_initial_weights_are_the_same_under_jit_and_vmap():
    template = Space(in_shape=(3, 8, 8), classes=4).random(1)

    def params(seed):
        return nnx.state(template.build(nnx.Rngs(jax.random.key(seed))), nnx.Param)

    eager = [params(seed) for seed in (0, 1)]
    jitted = jax.jit(params)(1)
    mapped = jax.vmap(params)(jnp.arange(2))
    for first, second, compiled, both in zip(*map(jax.tree.leaves, (*eager, jitted, mapped)), strict=True):
        assert (compiled == second).all() and (both[0] == first).all() and (both[1] == second).all()


@pytest.mark.parametrize(("layer", "axes"), [(lt.Dropout(0.3), ()), (lt.Dropout2d(0.3), (1, 2))])
def test_dropout_zeroes_its_share_and_keeps_the_mean(layer, axes):
    template = Template([layer, lt.Flatten(), lt.Linear(2)], (50, 6, 6))
    module = template.build(nnx.Rngs(0)).layers[0]
    x = jnp.ones((40, 6, 6, 50))
    first, second = module(x), module(x)
    dropped = first == 0
    assert float(dropped.mean()) == pytest.approx(0.3, abs=0.03)
    assert float(first.mean()) == pytest.approx(1.0, abs=0.05)
    assert not (first == second).all()
    if axes:  # whole channels
        assert (dropped.all(axes) == dropped.any(axes)).all()
    module.eval()
    assert (module(x) == x).all()
