"""Convolution: each algorithm equals PyTorch, output and both gradients, and the choice of one is what was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from check_all import Case, check_all
from conftest import exhaustive
from hypothesis import given, settings
from hypothesis import strategies as st

from jnas.nn.ops import conv2d
from jnas.nn.ops.conv import _im2col
from jnas.nn.ops.conv._conv2d import ALGORITHMS
from jnas.nn.ops.conv._dispatch import choose_algorithm, choose_vmapped_algorithm
from jnas.nn.ops.conv._geometry import Geometry
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train import Recipe, Trainer

PASSES = ("forward", "input_gradient", "kernel_gradient")


def random_arrays(side, channels, out_channels, size, seed=0, count=2):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, side, side + 1, channels)).astype(np.float32)
    kernel = generator.normal(size=(size, size, channels, out_channels)).astype(np.float32) / size
    return jnp.asarray(x), jnp.asarray(kernel)


def by_torch(x, kernel, stride, padding):
    """Output, and the gradients of half its squared sum."""
    torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
    torch.set_num_threads(1)  # the tests of one run share the cores already
    tx = torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tk = torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1).copy(), requires_grad=True)
    y = torch.nn.functional.conv2d(tx, tk, stride=stride, padding=padding)
    y.backward(y.detach())
    y, gx = (t.detach().numpy().transpose(0, 2, 3, 1) for t in (y, tx.grad))
    return y, gx, tk.grad.numpy().transpose(2, 3, 1, 0)


def conv_case(side, channels, out_channels, size, stride, padding, count=2):
    """`conv2d` and its gradients beside PyTorch's."""
    x, kernel = random_arrays(side, channels, out_channels, size, count=count)

    def run(x, kernel):
        y, back = jax.vjp(lambda x, kernel: conv2d(x, kernel, stride, padding), x, kernel)
        return y, *back(y)

    return Case(run, (x, kernel), by_torch(x, kernel, stride, padding))


@pytest.mark.parametrize("stride", [1, 2, *exhaustive(3, 4)])
def test_conv2d_every_window_equals_torch(stride):
    # A small map, which the larger windows cover, and one that is larger than all.
    windows = [(side, size, pad) for side in (3, 12) for size in range(1, 8) for pad in sorted({0, size // 2})]
    cases = {
        f"side {side}, kernel {size}, padding {pad}": conv_case(side, 4, 3, size, stride, pad)
        for side, size, pad in windows
        if side + 2 * pad >= size
    }
    check_all(cases)


shapes = st.tuples(*(st.integers(low, high) for low, high in ((1, 17), (1, 6), (1, 6), (1, 7), (1, 4))), st.booleans())


@settings(max_examples=max(1, settings().max_examples // 12))
@given(st.lists(shapes, min_size=12, max_size=12, unique=True))
def test_conv2d_any_shape_equals_torch(shapes):
    cases = {}
    for side, channels, out_channels, size, stride, padding in shapes:
        pad = size // 2 if padding else 0
        if side + 2 * pad >= size:
            name = f"{side}x{channels} -> {out_channels}, kernel {size}, stride {stride}, padding {pad}"
            cases[name] = conv_case(side, channels, out_channels, size, stride, pad)
    check_all(cases)


def algorithm_cases(algorithm, side, size, stride, pad):
    """Each pass that an algorithm computes, beside PyTorch's."""
    x, kernel = random_arrays(side, 3, 5, size)
    y, gx, gk = by_torch(x, kernel, stride, pad)
    geometry = Geometry(*x.shape[1:], 5, size, stride, pad)
    operands = {"forward": (x, kernel, y), "input_gradient": (y, kernel, gx), "kernel_gradient": (x, y, gk)}
    return {
        f"{conv_pass}, {geometry}": Case(
            lambda a, b, f=ALGORITHMS[algorithm, conv_pass], g=geometry: (f(a, b, g),),
            (jnp.asarray(one), jnp.asarray(other)),
            (expected,),
        )
        for conv_pass, (one, other, expected) in operands.items()
        if (algorithm, conv_pass) in ALGORITHMS
    }


@pytest.mark.parametrize("algorithm", sorted({algorithm for algorithm, _ in ALGORITHMS}))
def test_algorithm_on_shapes_chosen_for_others_equals_torch(algorithm):
    shapes = [(6, 3, 2, 1), (5, 4, 1, 2), (9, 5, 3, 0), (4, 7, 2, 3)]
    cases = [algorithm_cases(algorithm, *shape) for shape in shapes]
    check_all({name: case for some in cases for name, case in some.items()})


maps_and_windows = st.tuples(*(st.integers(low, high) for low, high in ((1, 12), (1, 7), (1, 4), (0, 3))))


@settings(max_examples=max(1, settings().max_examples // 12))
@given(st.lists(maps_and_windows, min_size=8, max_size=8, unique=True))
def test_fft_any_shape_equals_torch(shapes):
    cases = {}
    for side, size, stride, pad in shapes:
        if side + 2 * pad >= size and pad <= size // 2:
            cases |= algorithm_cases("fft", side, size, stride, pad)
    check_all(cases)


def test_conv2d_on_gpu_is_matrix_products(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # what a GPU would compute, on the CPU
    monkeypatch.setattr(_im2col, "_MIN_ROWS_PER_GROUP", 16)
    cases = {
        f"side {side}, {channels} channels, kernel {size}": conv_case(side, channels, 8, size, stride, pad, count=6)
        for side, size, stride, pad in [(12, 3, 1, 1), (9, 4, 2, 2), (16, 5, 3, 0), (4, 7, 2, 3)]
        for channels in (3, 8)
    }
    check_all(cases)
    for case in cases.values():
        assert "convolution" not in jax.jit(case.function).lower(*case.arguments).as_text()


def test_num_groups_occupies_a_gpu():
    # Images, rows of windows, elements of the kernel, output channels.
    assert _im2col._num_groups(256, 256 * 32 * 32, 3 * 3 * 4, 32) == 256
    assert _im2col._num_groups(256, 256 * 32 * 32, 7 * 7 * 64, 128) == 2
    assert _im2col._num_groups(256, 256 * 2 * 2, 192, 64) == 2
    assert _im2col._num_groups(250, 250 * 64, 9 * 16, 16) == 25
    assert _im2col._num_groups(2, 8, 9 * 16, 16) == 1


def test_conv2d_vmapped_equals_each_lane():
    cases = {}
    for side, size in [(8, 3), (3, 5)]:

        def gradients(x, kernel, pad=size // 2):
            return jax.grad(lambda x, kernel: (conv2d(x, kernel, 1, pad) ** 2).sum(), (0, 1))(x, kernel)

        def difference(x, kernel, gradients=gradients):
            together, shared = jax.vmap(gradients)(x, kernel), jax.vmap(gradients, (None, 0))(x[0], kernel)
            lanes = [gradients(x[lane], kernel[lane]) for lane in range(3)]
            others = [gradients(x[0], kernel[lane]) for lane in range(3)]
            alone = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *each) for each in (lanes, others)]
            return [
                (one - other) / jnp.abs(other).max()
                for one, other in zip((*together, *shared), (*alone[0], *alone[1]), strict=True)
            ]

        pairs = [random_arrays(side, 3, 4, size, seed) for seed in range(3)]
        x, kernel = (jnp.stack(arrays) for arrays in zip(*pairs, strict=True))
        cases[f"side {side}, kernel {size}"] = Case(
            difference, (x, kernel), [np.zeros_like(a) for a in (x, kernel) * 2]
        )
    check_all(cases)


def test_training_step_has_no_scatter_and_lanes_no_grouped_convolution(images):
    first = [lt.Conv2d(8, 3), lt.ReLU(), lt.MaxPool2d(3, 2, True), lt.BatchNorm2d()]
    second = [lt.Conv2d(16, 5, 2), lt.MaxPool2d(4, 1, True), lt.AvgPool2d(4, 2, True), lt.Conv2d(8, 2)]
    template = Template([*first, *second, lt.Flatten(), lt.Linear(3)], (3, 12, 12))
    recipe = Recipe(batch_size=8, val_fraction=0.25)
    for lanes in (1, 2):
        trainer = Trainer(template, recipe, images, num_lanes=lanes)
        text = trainer.programs.train.as_text()
        assert "select-and-scatter" not in text
        assert "feature_group_count" not in text and "batch_group_count" not in text


@pytest.fixture
def images():
    import jnas

    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (32, 12, 12, 3)).astype(np.uint8)
    return jnas.load_data({"x_train": images, "y_train": np.arange(32) % 3}).split(0.25)


@pytest.mark.parametrize(
    ("geometry", "forward", "input_gradient", "kernel_gradient"),
    [
        ((32, 32, 3, 64, 3, 1, 1), "direct_padded", "direct", "im2col_planar"),
        ((32, 32, 3, 64, 5, 1, 0), "direct", "direct", "direct"),
        ((16, 16, 64, 64, 3, 1, 1), "direct", "direct", "direct"),
        ((16, 16, 96, 128, 5, 4, 0), "direct", "im2col", "direct"),
        ((31, 31, 192, 8, 7, 2, 0), "direct", "direct", "direct"),  # its windows take too much memory
        ((33, 33, 32, 32, 6, 1, 3), "fft", "fft", "fft"),
        ((15, 15, 128, 192, 6, 2, 3), "fft", "fft", "fft"),
        ((32, 32, 3, 128, 7, 1, 3), "direct_padded", "direct", "direct"),
        ((3, 3, 16, 16, 3, 1, 0), "dense_matrix", "dense_matrix", "dense_matrix"),
        ((4, 4, 16, 16, 3, 1, 0), "direct", "dense_matrix", "direct"),
        ((12, 12, 16, 8, 7, 1, 0), "direct", "im2col", "direct"),
        ((16, 16, 64, 64, 2, 1, 0), "im2col", "im2col", "im2col"),
    ],
)
def test_choose_algorithm_on_a_cpu(geometry, forward, input_gradient, kernel_gradient):
    chosen = [choose_algorithm(Geometry(*geometry), conv_pass, "cpu") for conv_pass in PASSES]
    assert chosen == [forward, input_gradient, kernel_gradient]


@settings(max_examples=4 * settings().max_examples)
@given(*(st.integers(1, high) for high in (40, 40, 192, 192, 7, 4)), st.booleans())
def test_choose_algorithm_is_implemented(height, width, in_channels, out_channels, size, stride, padding):
    geometry = Geometry(height, width, in_channels, out_channels, size, stride, size // 2 if padding else 0)
    vmapped = choose_vmapped_algorithm(geometry)
    assert vmapped in ("im2col", "dense_matrix")
    for conv_pass in PASSES:
        assert (choose_algorithm(geometry, conv_pass, "cpu"), conv_pass) in ALGORITHMS
        assert choose_algorithm(geometry, conv_pass, "cuda") == vmapped
