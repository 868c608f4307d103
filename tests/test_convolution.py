"""Convolution: every way to compute it equals PyTorch's, output and both gradients, and lanes never become groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jnas._runtime.compile_options import compiler_options
from jnas.nn.ops.conv import _conv2d as convolution
from jnas.nn.ops.conv import _fft as spectral
from jnas.nn.ops.conv import _im2col as patches
from jnas.nn.ops.conv._conv2d import conv2d
from jnas.nn.ops.conv._shape import Geometry
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train import Recipe, Trainer

torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def arrays(side, channels, out_channels, size, seed=0, count=2):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, side, side + 1, channels)).astype(np.float32)
    kernel = generator.normal(size=(size, size, channels, out_channels)).astype(np.float32) / size
    return x, kernel


def by_torch(x, kernel, stride, pad):
    """Output, and the gradients of half its squared sum."""
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tk = torch.tensor(kernel.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    y = torch.nn.functional.conv2d(tx, tk, stride=stride, padding=pad)
    y.backward(y.detach())
    y, gx = (t.detach().numpy().transpose(0, 2, 3, 1) for t in (y, tx.grad))
    return y, gx, tk.grad.numpy().transpose(2, 3, 1, 0)


def ours(x, kernel, stride, pad):
    def run(x, kernel):
        y, back = jax.vjp(lambda x, kernel: conv2d(x, kernel, stride, pad), x, kernel)
        return y, *back(y)

    # As a trainer compiles it: its options choose another library for convolutions and products.
    return jax.jit(run).lower(x, kernel).compile(compiler_options("train"))(x, kernel)


def assert_close(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(np.asarray(one) / scale, other / scale, **TOLERANCE)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", range(1, 8))
def test_every_window_stride_and_padding(size, stride):
    # A small map, which the larger windows cover, and one that is larger than all.
    for side in (3, 12):
        for pad in {0, size // 2}:
            if side + 2 * pad >= size:
                x, kernel = arrays(side, 4, 3, size)
                assert_close(ours(x, kernel, stride, pad), by_torch(x, kernel, stride, pad))


@settings(max_examples=25)
@given(
    *(st.integers(low, high) for low, high in ((1, 17), (1, 6), (1, 6), (1, 7), (1, 4))),
    st.booleans(),
)
def test_any_shape(side, channels, out_channels, size, stride, padding):
    pad = size // 2 if padding else 0
    if side + 2 * pad < size:
        return
    x, kernel = arrays(side, channels, out_channels, size)
    assert_close(ours(x, kernel, stride, pad), by_torch(x, kernel, stride, pad))


WAYS = {
    "window": convolution._WINDOW,
    "patches": convolution._PATCHES,
    "dense": convolution._DENSE,
    "spectral": convolution._SPECTRAL,
    "phases": {"input": convolution._phases_input},
    "taps": {"kernel": patches.kernel_gradient_by_taps},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("side", "size", "stride", "pad"), [(6, 3, 2, 1), (5, 4, 1, 2), (9, 5, 3, 0), (4, 7, 2, 3)])
def test_each_way_on_shapes_that_the_rule_gives_to_others(way, side, size, stride, pad):
    x, kernel = arrays(side, 3, 5, size)
    y, gx, gk = by_torch(x, kernel, stride, pad)
    geometry = Geometry(*x.shape[1:], 5, size, stride, pad)
    operands = {"forward": (x, kernel, y), "input": (jnp.asarray(y), kernel, gx), "kernel": (x, jnp.asarray(y), gk)}
    for name, operation in WAYS[way].items():
        one, other, expected = operands[name]
        assert_close([operation(one, other, geometry)], [expected])


@pytest.fixture
def gpu_rule(monkeypatch):
    """What a GPU would compute, on the CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    convolution._operation.cache_clear()
    yield
    convolution._operation.cache_clear()


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize(("side", "size", "stride", "pad"), [(12, 3, 1, 1), (9, 4, 2, 2), (16, 5, 3, 0), (4, 7, 2, 3)])
def test_on_a_gpu_no_convolution_is_left(gpu_rule, monkeypatch, side, size, stride, pad, channels):
    monkeypatch.setattr(patches, "_LEAST", 16)
    x, kernel = arrays(side, channels, 8, size, count=6)

    def run(x, kernel):
        y, back = jax.vjp(lambda x, kernel: conv2d(x, kernel, stride, pad), x, kernel)
        return y, *back(y)

    assert_close(jax.jit(run)(x, kernel), by_torch(x, kernel, stride, pad))
    assert "convolution" not in jax.jit(run).lower(x, kernel).as_text()


def test_kernel_gradients_occupy_a_gpu(gpu_rule):
    # Rows of patches, taps and channels of the kernel.
    assert patches._groups(256, 256 * 32 * 32, 3 * 3 * 4, 32) == 256
    assert patches._groups(256, 256 * 32 * 32, 7 * 7 * 64, 128) == 2
    assert patches._groups(256, 256 * 2 * 2, 192, 64) == 2
    assert patches._groups(250, 250 * 64, 9 * 16, 16) == 25
    assert patches._groups(2, 8, 9 * 16, 16) == 1


@pytest.mark.parametrize(
    ("side", "size", "pad", "count"),
    [(6, 3, 1, 2), (7, 3, 1, 4), (5, 4, 2, 2), (5, 4, 0, 3), (7, 4, 2, 3), (9, 6, 3, 2), (4, 7, 3, 2), (7, 7, 0, 2)],
)
def test_neighbours_of_a_row(side, size, pad, count):
    x, kernel = arrays(side, 3, 5, size)
    geometry = Geometry(*x.shape[1:], 5, size, 1, pad)
    assert convolution._neighbours(geometry) == count
    y, *_ = by_torch(x, kernel, 1, pad)
    assert_close([convolution._neighbours_forward(x, kernel, geometry)], [y])


@pytest.mark.parametrize(("side", "size"), [(8, 3), (3, 5)])
def test_lanes_are_what_each_is_alone(side, size):
    pairs = [arrays(side, 3, 4, size, seed) for seed in range(3)]
    x, kernel = (jnp.stack(found) for found in zip(*pairs, strict=True))

    def gradients(x, kernel):
        return jax.grad(lambda x, kernel: (conv2d(x, kernel, 1, size // 2) ** 2).sum(), (0, 1))(x, kernel)

    together = jax.vmap(gradients)(x, kernel)
    shared = jax.vmap(gradients, (None, 0))(x[0], kernel)
    for lane in range(3):
        assert_close([array[lane] for array in together], [np.asarray(g) for g in gradients(x[lane], kernel[lane])])
        assert_close([array[lane] for array in shared], [np.asarray(g) for g in gradients(x[0], kernel[lane])])


def test_a_training_step_has_no_scatter_and_lanes_no_grouped_convolution(arrays_of_images):
    first = [lt.Conv2d(8, 3), lt.ReLU(), lt.MaxPool2d(3, 2, True), lt.BatchNorm2d()]
    second = [lt.Conv2d(16, 5, 2), lt.MaxPool2d(4, 1, True), lt.AvgPool2d(4, 2, True), lt.Conv2d(8, 2)]
    template = Template([*first, *second, lt.Flatten(), lt.Linear(3)], (3, 12, 12))
    recipe = Recipe(batch_size=8, validation=0.25)
    for lanes in (1, 2):
        trainer = Trainer(template, recipe, arrays_of_images, lanes=lanes)
        trainer.compile()
        text = trainer._train.as_text()
        assert "select-and-scatter" not in text
        assert "feature_group_count" not in text and "batch_group_count" not in text


@pytest.fixture
def arrays_of_images():
    import jnas

    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (32, 12, 12, 3)).astype(np.uint8)
    return jnas.load_data({"x_train": images, "y_train": np.arange(32) % 3}).split(0.25)


@settings(max_examples=25)
@given(*(st.integers(low, high) for low, high in ((1, 12), (1, 7), (1, 4), (0, 3))))
def test_spectra_of_any_shape(side, size, stride, pad):
    if side + 2 * pad < size or pad > size // 2:
        return
    x, kernel = arrays(side, 3, 2, size)
    y, gx, gk = by_torch(x, kernel, stride, pad)
    geometry = Geometry(*x.shape[1:], 2, size, stride, pad)
    results = [
        spectral.forward(x, kernel, geometry),
        spectral.input_gradient(y, kernel, geometry),
        spectral.kernel_gradient(x, y, geometry),
    ]
    assert_close(results, (y, gx, gk))


def test_spectra_are_taken_where_windows_are_large_and_channels_many():
    def taken(*sizes):
        return convolution._rule("forward", Geometry(*sizes)) is spectral.forward

    assert taken(33, 33, 32, 32, 6, 1, 3) and taken(15, 15, 128, 192, 6, 2, 3)
    assert not taken(32, 32, 3, 128, 7, 1, 3) and not taken(16, 16, 96, 128, 5, 4, 0)
