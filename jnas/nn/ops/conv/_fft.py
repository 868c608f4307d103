"""Convolution as products of Fourier spectra (Mathieu, Henaff and LeCun 2014, arXiv:1312.5851), on a CPU.

A `k` x `k` kernel costs `k ** 2` multiplications for each output pixel and pair of channels; its spectrum costs about
two, whatever `k` is. A discrete Fourier transform of a small map is fastest as one matrix product along each side. So
everything here is a matrix product: the transforms, and one product over channels for each frequency.

A convolution of stride `s` becomes one of stride 1: the `s ** 2` phases of the map, pixels that are `s` apart, become
channels (see `PolyphaseGrid`).

Axes of arrays are named by letters: `f` frequencies of rows (half of them, because maps are real), `g` frequencies of
columns, `2` real and imaginary part, `c` and `o` channels, `n` images. Frequencies come first and images last, so that
no operand is transposed between the products.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import Pair
from jnas.nn.ops.conv._geometry import Geometry, Kernel, Maps, OutMaps

# Measured on two cores of an AMD EPYC (AVX-512) with jaxlib 0.10.2 at batch 256; see docs/decisions/020.
_MIN_KERNEL = 4
"""Kernel size in pixels from which spectra are used: with 3x3 kernels steps are 4 % slower."""
_TRANSFORM_COST = 3
"""Time of a multiplication in a transform, relative to one in a large matrix product."""
_MIN_SPEEDUP = 1.1
"""Predicted speedup from which spectra are used."""
_MAX_UNSHARED_PRODUCT = 2**23
"""Multiplications up to which YNNPACK computes each product of a batch on one thread, so that Eigen is faster."""


class PolyphaseGrid(NamedTuple):
    """The convolution of stride 1 that does the work of a strided one."""

    size: Pair
    """Of the transforms. Windows that reach beyond them wrap around to the zeros of the padding."""
    kernel_size: int
    stride: int
    """Of the original convolution, whose `stride ** 2` phases are channels."""
    border: int
    """Padding that is written to memory, in pixels of the original map."""
    offset: int
    """Padding that shifts the origin of the transform instead."""

    @classmethod
    def of(cls, geometry: Geometry) -> "PolyphaseGrid":
        stride, padding = geometry.stride, geometry.padding
        rows, columns = (-(-(n + padding) // stride) for n in (geometry.height, geometry.width))
        border, offset = (0, padding) if stride == 1 else (padding, 0)
        return cls((rows, columns), -(-geometry.kernel_size // stride), stride, border, offset)


def is_profitable(geometry: Geometry) -> bool:
    """Returns whether spectra are faster than windows, for the three passes of a training step together."""
    (rows, columns), _, stride, *_ = PolyphaseGrid.of(geometry)
    (out_rows, out_columns), out_channels = geometry.out_size, geometry.out_channels
    frequencies, channels = (rows // 2 + 1) * columns, geometry.in_channels * stride**2
    products = 4 * frequencies * channels * out_channels
    transform = 2 * frequencies * channels * (rows + 2 * columns)
    inverse = 2 * (rows // 2 + 1) * out_columns * out_channels * (out_rows + 2 * columns)
    windows = out_rows * out_columns * geometry.kernel_size**2 * geometry.in_channels * out_channels
    speedup = windows / (products + _TRANSFORM_COST * (transform + inverse))
    return geometry.kernel_size >= _MIN_KERNEL and speedup > _MIN_SPEEDUP


def forward(x: Maps, kernel: Kernel, geometry: Geometry) -> OutMaps:
    grid = PolyphaseGrid.of(geometry)
    spectrum = _multiply(kernel, _input_spectrum(x, grid), grid, conjugate=True)
    return _to_images(_inverse(spectrum, grid.size, geometry.out_size)).astype(x.dtype)


def input_gradient(gradient: OutMaps, kernel: Kernel, geometry: Geometry) -> Maps:
    grid = PolyphaseGrid.of(geometry)
    spectrum = _multiply(kernel, _output_spectrum(gradient, grid), grid, conjugate=False)
    height, width, stride, start = geometry.height, geometry.width, geometry.stride, grid.border
    if stride == 1:
        return _to_images(_inverse(spectrum, grid.size, (height, width), grid.offset)).astype(gradient.dtype)
    rows, columns = grid.size
    maps = optimization_barrier(_inverse(spectrum, grid.size, grid.size))
    maps = maps.reshape(rows, columns, stride, stride, geometry.in_channels, -1).transpose(5, 0, 2, 1, 3, 4)
    maps = maps.reshape(-1, rows * stride, columns * stride, geometry.in_channels)
    return _row_major(maps[:, start : start + height, start : start + width]).astype(gradient.dtype)


def kernel_gradient(x: Maps, gradient: OutMaps, geometry: Geometry) -> Kernel:
    grid = PolyphaseGrid.of(geometry)
    size, stride, channels, out_channels = grid.kernel_size, grid.stride, geometry.in_channels, geometry.out_channels
    product = _input_spectrum(x, grid) @ _output_spectrum(gradient, grid).swapaxes(-1, -2)  # [f, g, 2c, 2o]
    (real, cross), (other, imaginary) = (jnp.split(half, 2, -1) for half in jnp.split(product, 2, -2))
    spectrum = optimization_barrier(jnp.concatenate([real + imaginary, other - cross], 2))
    kernel = _inverse(spectrum, grid.size, (size, size))
    kernel = kernel.reshape(size, size, stride, stride, channels, out_channels).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(size * stride, size * stride, channels, out_channels)
    return kernel[: geometry.kernel_size, : geometry.kernel_size].astype(x.dtype)


def _input_spectrum(x: Array, grid: PolyphaseGrid) -> Float[Array, "f g c2 n"]:
    """Returns the spectrum of input maps `[n, h, w, c]`."""
    count, height, width, channels = x.shape
    (rows, columns), stride = grid.size, grid.stride
    if stride == 1:
        maps = x.transpose(1, 2, 3, 0)
    else:
        ends = rows * stride - height - grid.border, columns * stride - width - grid.border
        maps = jnp.pad(x, ((0, 0), (grid.border, ends[0]), (grid.border, ends[1]), (0, 0)))
        maps = maps.reshape(count, rows, stride, columns, stride, channels).transpose(1, 3, 2, 4, 5, 0)
        maps = maps.reshape(rows, columns, stride**2 * channels, count)
    return _transform(optimization_barrier(maps.astype(jnp.float32)), grid.size, grid.offset)


def _output_spectrum(gradient: Array, grid: PolyphaseGrid) -> Float[Array, "f g o2 n"]:
    """Returns the spectrum of output maps `[n, h_out, w_out, o]`."""
    return _transform(optimization_barrier(gradient.astype(jnp.float32).transpose(1, 2, 3, 0)), grid.size)


def _multiply(kernel: Array, spectrum: Array, grid: PolyphaseGrid, conjugate: bool) -> Float[Array, "f g o2 n"]:
    """Returns the product of maps' spectrum and the kernel's, or of its conjugate."""
    half, columns, _, count = spectrum.shape
    if 4 * grid.stride**2 * kernel.shape[2] * kernel.shape[3] * count < _MAX_UNSHARED_PRODUCT:
        # The matrices are each other's transposes. XLA gives a product whose first factor is transposed to Eigen.
        matrices = _kernel_spectrum(kernel, grid, not conjugate).reshape(half * columns, spectrum.shape[2], -1)
        product = jnp.einsum("fio,fin->fon", matrices, spectrum.reshape(half * columns, -1, count))
        return product.reshape(half, columns, -1, count)
    return _kernel_spectrum(kernel, grid, conjugate) @ spectrum


def _kernel_spectrum(kernel: Array, grid: PolyphaseGrid, conjugate: bool) -> Float[Array, "f g a b"]:
    """Returns real matrices that multiply by the complex spectrum of a kernel `[k, k, c, o]`.

    They are `[f, g, 2o, 2ssc]` for the convolution (conjugate), and `[f, g, 2ssc, 2o]` for the gradient of its input.
    """
    size, stride = grid.kernel_size, grid.stride
    fill = size * stride - len(kernel)
    kernel = jnp.pad(kernel.astype(jnp.float32), ((0, fill), (0, fill), (0, 0), (0, 0)))
    kernel = kernel.reshape(size, stride, size, stride, *kernel.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(size, size, -1, kernel.shape[-1])
    if conjugate:
        kernel = kernel.swapaxes(-1, -2)
    real, imaginary = jnp.split(_transform(kernel, grid.size), 2, axis=2)
    if conjugate:
        imaginary = -imaginary
    rows = [jnp.concatenate([real, -imaginary], -1), jnp.concatenate([imaginary, real], -1)]
    return optimization_barrier(jnp.concatenate(rows, -2))


def _row_major(x: Array) -> Array:
    """Stores `x` with its last axis contiguous: XLA gives consumers of a transposed array another layout, in which
    reductions are many times slower. It has no gradient.
    """
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


def _to_images(maps: Array) -> Float[Array, "n h w c"]:
    """Returns maps `[h, w, c, n]` transposed, and stored so: XLA's reductions over another layout are slow."""
    return _row_major(optimization_barrier(maps).transpose(3, 0, 1, 2))


def _transform(maps: Array, size: Pair, offset: int = 0) -> Float[Array, "f g c2 n"]:
    """Returns the half spectrum of real maps `[h, w, c, n]`, whose first pixel is at `offset` of `size` pixels."""
    height, width, channels, count = maps.shape
    half = size[0] // 2 + 1
    rows = _angles(size[0], half, height, offset)
    row_matrix = np.stack([np.cos(rows), -np.sin(rows)], 1).reshape(2 * half, height)
    columns = _angles(size[1], size[1], width, offset)
    cos, sin = np.cos(columns), np.sin(columns)
    column_matrix = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1).reshape(2 * size[1], 2 * width)
    maps = jnp.asarray(row_matrix, jnp.float32) @ maps.reshape(height, -1)
    maps = _repeat(column_matrix, half) @ optimization_barrier(maps).reshape(half, 2 * width, channels * count)
    return optimization_barrier(maps).reshape(half, size[1], 2 * channels, count)


def _inverse(spectrum: Array, size: Pair, out_size: Pair, offset: int = 0) -> Float[Array, "h w c n"]:
    """Returns `out_size` pixels, from `offset` on, of the real maps with the half spectrum `[f, g, 2c, n]`."""
    half, _, channels, count = spectrum.shape
    columns = _angles(size[1], size[1], out_size[1], offset).T
    cos, sin = np.cos(columns), np.sin(columns)
    column_matrix = np.stack([np.stack([cos, -sin], 2), np.stack([sin, cos], 2)])
    column_matrix = column_matrix.reshape(2 * out_size[1], 2 * size[1])
    # A frequency of the half spectrum stands for its mirror image too, except the first and, of an even size, the last.
    is_own_mirror = np.isin(2 * np.arange(half), (0, size[0]))
    weight = np.where(is_own_mirror, 1, 2) / math.prod(size)
    rows = _angles(size[0], half, out_size[0], offset).T
    row_matrix = np.stack([weight * np.cos(rows), -weight * np.sin(rows)], 2).reshape(out_size[0], 2 * half)
    maps = _repeat(column_matrix, half) @ optimization_barrier(spectrum).reshape(half, 2 * size[1], -1)
    maps = jnp.asarray(row_matrix, jnp.float32) @ optimization_barrier(maps).reshape(2 * half, -1)
    return maps.reshape(*out_size, channels // 2, count)


def _angles(size: int, frequencies: int, pixels: int, offset: int) -> np.ndarray:
    """Returns `[frequencies, pixels]` angles in radians, reduced before they are scaled, so that they are exact."""
    turns = np.outer(np.arange(frequencies), np.arange(pixels) + offset) % size
    return 2 * np.pi * turns / size


def _repeat(matrix: np.ndarray, count: int) -> Float[Array, "count i j"]:
    """Returns `count` copies of a matrix: XLA would merge one of them with the batch and transpose operands for it."""
    return optimization_barrier(jnp.broadcast_to(jnp.asarray(matrix, jnp.float32), (count, *matrix.shape)))
