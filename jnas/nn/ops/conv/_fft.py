"""Convolution as products of spectra (Mathieu, Henaff and LeCun 2014, arXiv:1312.5851), for large windows on a CPU.

A window of `k` by `k` costs `k ** 2` multiplications for each output pixel and pair of channels; in the Fourier domain
it is about two, whatever the window. A discrete Fourier transform of a map this small is best done as a matrix product
along each side, so everything here is one: the transforms, and one product of channels for each frequency. Frequencies
come first and images last, so that no operand is ever reordered between them.

A convolution of stride `s` is one of stride 1 whose channels are the `s ** 2` phases of its input (`Phases`).

Arrays are called by their axes: `f` the rows' frequencies (half of them: the input is real), `g` the columns', `2` the
real and imaginary part, `c` and `o` channels, `n` images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.nn.ops._barriers import optimization_barrier, row_major
from jnas.nn.ops._windows import Pair
from jnas.nn.ops.conv._shape import Geometry

_DEARER = 3
"""How many times as long the arithmetic of transforms takes as that of large matrix products, as measured."""
_PAYS = 1.1
"""How much less work, so weighted, there must be (benchmarks/RESULTS.md)."""
_PARALLEL = 2**23
"""Multiplications from which, about, YNNPACK shares each of a batch of products among threads; else Eigen shares it."""


class Phases(NamedTuple):
    """A convolution without stride that does the work of a strided one.

    Attributes:
      size: the sides of the transforms. What a window sees beyond them wraps around to where the padding's zeros are.
      taps: the side of the window.
      stride: of the original; its `stride ** 2` phases are channels.
      border: padding that is written out, in pixels of the original.
      offset: padding that only shifts the transform's origin.
    """

    size: Pair
    taps: int
    stride: int
    border: int
    offset: int


def phases(geometry: Geometry) -> Phases:
    """How to compute a convolution."""
    stride, pad = geometry.stride, geometry.pad
    size = tuple(-(-(n + pad) // stride) for n in (geometry.height, geometry.width))
    return Phases(size, geometry.phase_taps, stride, *((0, pad) if stride == 1 else (pad, 0)))


def suits(geometry: Geometry) -> bool:
    """Whether the spectra promise to be faster than the windows, for the three passes of a training step together."""
    (rows, columns), _, stride, *_ = phases(geometry)
    half, channels, outs = rows // 2 + 1, geometry.channels * stride**2, geometry.out_channels
    product = 4 * half * columns * channels * outs
    into = 2 * half * columns * channels * (rows + 2 * columns)
    back = 2 * half * geometry.out[1] * outs * (geometry.out[0] + 2 * columns)
    direct = math.prod(geometry.out) * geometry.size**2 * geometry.channels * outs
    return direct > _PAYS * (product + _DEARER * (into + back))


def forward(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution: `[N, H, W, C]` and `[k, k, C, O]` to `[N, H_out, W_out, O]`."""
    how = phases(geometry)
    spectrum = _product(kernel, _input_spectrum(x, how), how, conjugate=True)
    return _to_images(_inverse(spectrum, how.size, geometry.out)).astype(x.dtype)


def input_gradient(gradient: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient of the input from that of the output."""
    how = phases(geometry)
    spectrum = _product(kernel, _output_spectrum(gradient, how), how, conjugate=False)
    height, width, channels, stride = geometry.height, geometry.width, geometry.channels, geometry.stride
    if stride == 1:
        return _to_images(_inverse(spectrum, how.size, (height, width), how.offset)).astype(gradient.dtype)
    rows, columns = how.size
    maps = optimization_barrier(_inverse(spectrum, how.size, how.size)).reshape(
        rows, columns, stride, stride, channels, -1
    )
    maps = maps.transpose(5, 0, 2, 1, 3, 4).reshape(-1, rows * stride, columns * stride, channels)
    first = how.border
    return row_major(maps[:, first : first + height, first : first + width]).astype(gradient.dtype)


def kernel_gradient(x: jax.Array, gradient: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient of the kernel from that of the output."""
    how = phases(geometry)
    taps, stride, outs = how.taps, geometry.stride, geometry.out_channels
    product = _input_spectrum(x, how) @ _output_spectrum(gradient, how).swapaxes(-1, -2)  # [f, g, 2c, 2o]
    (real, cross), (other, imaginary) = (jnp.split(half, 2, -1) for half in jnp.split(product, 2, -2))
    spectrum = optimization_barrier(jnp.concatenate([real + imaginary, other - cross], 2))
    kernel = _inverse(spectrum, how.size, (taps, taps))
    kernel = kernel.reshape(taps, taps, stride, stride, geometry.channels, outs).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(taps * stride, taps * stride, geometry.channels, outs)
    return kernel[: geometry.size, : geometry.size].astype(x.dtype)


def _input_spectrum(x: jax.Array, how: Phases) -> jax.Array:
    """`[N, H, W, C]` to `[f, g, 2 s s c, n]`."""
    count, *sides, channels = x.shape
    (rows, columns), stride = how.size, how.stride
    if stride == 1:
        maps = x.transpose(1, 2, 3, 0)
    else:
        after = (n * stride - side - how.border for n, side in zip(how.size, sides, strict=True))
        maps = jnp.pad(x, ((0, 0), *((how.border, n) for n in after), (0, 0)))
        maps = maps.reshape(count, rows, stride, columns, stride, channels).transpose(1, 3, 2, 4, 5, 0)
        maps = maps.reshape(rows, columns, stride**2 * channels, count)
    return _transform(optimization_barrier(maps.astype(jnp.float32)), how.size, how.offset)


def _output_spectrum(gradient: jax.Array, how: Phases) -> jax.Array:
    """`[N, H_out, W_out, O]` to `[f, g, 2 o, n]`."""
    return _transform(optimization_barrier(gradient.astype(jnp.float32).transpose(1, 2, 3, 0)), how.size)


def _product(kernel: jax.Array, spectrum: jax.Array, how: Phases, conjugate: bool) -> jax.Array:
    """The kernel's spectrum, or its conjugate, times one of maps: `[f, g, 2 c, n]` to `[f, g, 2 o, n]`, or back."""
    half, columns, _, count = spectrum.shape
    if 4 * how.stride**2 * kernel.shape[2] * kernel.shape[3] * count < _PARALLEL:
        # Each other's transposes: the factor that comes transposed is what Eigen takes, and YNNPACK does not.
        matrices = _kernel_spectrum(kernel, how, not conjugate).reshape(half * columns, spectrum.shape[2], -1)
        product = jnp.einsum("fio,fin->fon", matrices, spectrum.reshape(half * columns, -1, count))
        return product.reshape(half, columns, -1, count)
    return _kernel_spectrum(kernel, how, conjugate) @ spectrum


def _kernel_spectrum(kernel: jax.Array, how: Phases, conjugate: bool) -> jax.Array:
    """`[k, k, C, O]` to real matrices that multiply by complex ones: `[f, g, 2 o, 2 s s c]` for the convolution
    (conjugate), and `[f, g, 2 s s c, 2 o]` for the gradient of its input."""
    taps, stride = how.taps, how.stride
    fill = taps * stride - len(kernel)
    kernel = jnp.pad(kernel.astype(jnp.float32), ((0, fill), (0, fill), (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, stride, taps, stride, *kernel.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(taps, taps, -1, kernel.shape[-1])
    if conjugate:
        kernel = kernel.swapaxes(-1, -2)
    spectrum = _transform(kernel, how.size)
    real, imaginary = jnp.split(spectrum, 2, axis=2)
    if conjugate:
        imaginary = -imaginary
    rows = [jnp.concatenate([real, -imaginary], -1), jnp.concatenate([imaginary, real], -1)]
    return optimization_barrier(jnp.concatenate(rows, -2))


def _to_images(maps: jax.Array) -> jax.Array:
    """`[H, W, C, N]` to `[N, H, W, C]`, and so in memory: XLA is slow at sums over maps in another order."""
    return row_major(optimization_barrier(maps).transpose(3, 0, 1, 2))


# The transforms. A constant of one matrix for each frequency would be spread over all of them by XLA's simplifier, and
# every product's operands be reordered: `_each` keeps the copies.


def _transform(maps: jax.Array, size: Pair, offset: int = 0) -> jax.Array:
    """Real maps `[H, W, c, n]`, their first pixel at `offset`, to their half spectrum `[f, g, 2 c, n]`."""
    height, width, channels, count = maps.shape
    half = size[0] // 2 + 1
    rows = _angles(size[0], half, height, offset)
    first = np.stack([np.cos(rows), -np.sin(rows)], 1).reshape(2 * half, height)
    columns = _angles(size[1], size[1], width, offset)
    cos, sin = np.cos(columns), np.sin(columns)
    second = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1).reshape(2 * size[1], 2 * width)
    maps = jnp.asarray(first, jnp.float32) @ maps.reshape(height, -1)
    maps = _each(second, half) @ optimization_barrier(maps).reshape(half, 2 * width, channels * count)
    return optimization_barrier(maps).reshape(half, size[1], 2 * channels, count)


def _inverse(spectrum: jax.Array, size: Pair, out: Pair, offset: int = 0) -> jax.Array:
    """The pixels from `offset` on of the real maps with a half spectrum `[f, g, 2 c, n]`: `[*out, c, n]`."""
    half, _, channels, count = spectrum.shape
    columns = _angles(size[1], size[1], out[1], offset).T
    cos, sin = np.cos(columns), np.sin(columns)
    second = np.stack([np.stack([cos, -sin], 2), np.stack([sin, cos], 2)]).reshape(2 * out[1], 2 * size[1])
    # Each frequency of the half stands for its mirror image too, but for the first and, of an even size, the last.
    itself = np.isin(2 * np.arange(half), (0, size[0]))
    weight = np.where(itself, 1, 2) / math.prod(size)
    rows = _angles(size[0], half, out[0], offset).T
    first = np.stack([weight * np.cos(rows), -weight * np.sin(rows)], 2).reshape(out[0], 2 * half)
    maps = _each(second, half) @ optimization_barrier(spectrum).reshape(half, 2 * size[1], -1)
    maps = jnp.asarray(first, jnp.float32) @ optimization_barrier(maps).reshape(2 * half, -1)
    return maps.reshape(*out, channels // 2, count)


def _angles(size: int, frequencies: int, pixels: int, offset: int) -> np.ndarray:
    """`[frequencies, pixels]` in radians, reduced before they are scaled, so that they are exact."""
    turns = np.outer(np.arange(frequencies), np.arange(pixels) + offset) % size
    return 2 * np.pi * turns / size


def _each(matrix: np.ndarray, count: int) -> jax.Array:
    return optimization_barrier(jnp.broadcast_to(jnp.asarray(matrix, jnp.float32), (count, *matrix.shape)))
