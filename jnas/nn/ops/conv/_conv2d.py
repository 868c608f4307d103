"""Convolution of maps with square kernels, as PyTorch's Conv2d."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import Pair, num_windows
from jnas.nn.ops.conv import _dense_matrix, _direct, _fft, _im2col
from jnas.nn.ops.conv._dispatch import Algorithm, Pass, choose_algorithm, choose_vmapped_algorithm
from jnas.nn.ops.conv._geometry import Geometry, Kernel, Maps, OutMaps

_GPU_CHANNEL_MULTIPLE = 4
"""Input channels are padded to a multiple of this for the tensor cores of a GPU (H100, jaxlib 0.11.2)."""

ConvFunction = Callable[[Array, Array, Geometry], Array]
ALGORITHMS: dict[tuple[Algorithm, Pass], ConvFunction] = {
    ("direct", "forward"): _direct.forward,
    ("direct", "input_gradient"): _direct.input_gradient,
    ("direct", "kernel_gradient"): _direct.kernel_gradient,
    ("direct_padded", "forward"): _direct.forward_padded,
    ("dense_matrix", "forward"): _dense_matrix.forward,
    ("dense_matrix", "input_gradient"): _dense_matrix.input_gradient,
    ("dense_matrix", "kernel_gradient"): _dense_matrix.kernel_gradient,
    ("fft", "forward"): _fft.forward,
    ("fft", "input_gradient"): _fft.input_gradient,
    ("fft", "kernel_gradient"): _fft.kernel_gradient,
    ("im2col", "forward"): _im2col.forward,
    ("im2col", "input_gradient"): _im2col.input_gradient,
    ("im2col", "kernel_gradient"): _im2col.kernel_gradient,
    ("im2col_planar", "kernel_gradient"): _im2col.kernel_gradient_planar,
}
"""What computes each pass: the output from `(x, kernel)`, the input's gradient from `(gradient, kernel)`, the kernel's
from `(x, gradient)`, where `gradient` is that of the output; each also takes the geometry."""


def conv2d(x: Maps, kernel: Kernel, stride: int, padding: int, out_size: Pair | None = None) -> OutMaps:
    """Returns the cross-correlation of maps and a kernel, as PyTorch's Conv2d without its bias.

    The first `out_size` rows and columns of windows are computed; by default all that fit:
    `(h + 2 * padding - k) // stride + 1`, and likewise for columns.
    """
    size, out_channels = kernel.shape[0], kernel.shape[3]
    if out_size and out_size != tuple(num_windows(side, size, stride, padding) for side in x.shape[1:3]):
        ends = ((count - 1) * stride + size - padding for count in out_size)
        borders = [(padding, end - side, 0) for end, side in zip(ends, x.shape[1:3], strict=True)]
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *borders, (0, 0, 0)))
        x, padding = optimization_barrier(x) if padding else x, 0
    missing = -x.shape[3] % _GPU_CHANNEL_MULTIPLE
    if missing and jax.default_backend() != "cpu":
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, missing), (0, 0)))
    _, height, width, in_channels = x.shape
    return _conv2d(x, kernel, Geometry(height, width, in_channels, out_channels, size, stride, padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv2d(x: Array, kernel: Array, geometry: Geometry) -> Array:
    return _operation("forward", geometry, jax.default_backend())(x, kernel)


def _forward(x: Array, kernel: Array, geometry: Geometry) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, geometry), (x, kernel)


def _backward(geometry: Geometry, residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    (x, kernel), platform = residuals, jax.default_backend()
    return (
        _operation("input_gradient", geometry, platform)(gradient, kernel),
        _operation("kernel_gradient", geometry, platform)(x, gradient),
    )


_conv2d.defvjp(_forward, _backward)


@functools.cache
def _operation(conv_pass: Pass, geometry: Geometry, platform: str) -> Callable[[Array, Array], Array]:
    """Returns the function that computes one pass, with an algorithm of its own under `vmap`."""
    single = ALGORITHMS[choose_algorithm(geometry, conv_pass, platform), conv_pass]
    vmapped = ALGORITHMS[choose_vmapped_algorithm(geometry), conv_pass]

    @custom_vmap
    def operation(one: Array, other: Array) -> Array:
        return single(one, other, geometry)

    @operation.def_vmap
    def over_lanes(axis_size: int, in_batched: list[bool], one: Array, other: Array) -> tuple[Array, bool]:
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(lambda one, other: vmapped(one, other, geometry), axes)(one, other), True

    return operation
