"""Max and average pooling on maps `[N, H, W, C]`, as maxima and sums of strided slices.

XLA differentiates a `reduce_window` maximum into select-and-scatter, which is 3 to 60 times slower than these
operations. Here max pooling stores which pixel of each window is the largest, and its gradient pads the gradients of
each pixel of the windows back into the map. Windows of 4x4 are pooled along rows first and along columns second, which
takes 8 slices instead of 16.

Barriers keep XLA from recomputing what overlapping windows read, the result, and the gradient between two passes. The
gradient of the input has none: whoever reads it more than once puts one.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from jnas.nn.ops._barriers import backward_barrier, forward_barrier, optimization_barrier
from jnas.nn.ops._windows import Pair, num_windows, overlap_add, pad_maps, strided_slice

_MIN_SEPARABLE_KERNEL = 4
"""Kernel size (pixels) from which two passes are faster than one: 23.9 + 23.1 instead of 41.0 + 42.2 ms forward and
backward for 31x31x128, 4x4 / 1, but 24.0 + 10.6 instead of 11.2 + 11.6 for 32x32x128, 3x3 / 2 (two EPYC cores, jaxlib
0.10.2, batch 256)."""


class _Windows(NamedTuple):
    """The windows of one pass: rows and columns of each."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    out_size: Pair

    @property
    def offsets(self) -> list[Pair]:
        """The pixels of a window, in row order."""
        return [(i, j) for i in range(self.kernel_size[0]) for j in range(self.kernel_size[1])]


def max_pool(
    x: Float[Array, "n h w c"], kernel_size: int, stride: int, padding: int, out_size: Pair | None = None
) -> Float[Array, "n h_out w_out c"]:
    """Returns the maximum of each window, as PyTorch's MaxPool2d: padding is minus infinity, and NaN wins.

    Where values tie, the gradient goes to the first one in row order, as in PyTorch. The first `out_size` rows and
    columns of windows are computed; by default all that fit: `(h + 2 * padding - kernel_size) // stride + 1`, and
    likewise for columns.
    """
    return _pool(_max_windows, x, _passes(x, kernel_size, stride, padding, out_size))


def avg_pool(
    x: Float[Array, "n h w c"],
    kernel_size: int,
    stride: int,
    padding: int,
    count_include_pad: bool,
    out_size: Pair | None = None,
) -> Float[Array, "n h_out w_out c"]:
    """Returns the mean of each of `out_size` windows, as PyTorch's AvgPool2d and `max_pool` compute them."""
    sides = x.shape[1:3]
    x = optimization_barrier(_pool(_sum_windows, x, _passes(x, kernel_size, stride, padding, out_size)))
    if count_include_pad or padding == 0:
        return x / kernel_size**2
    rows, columns = (
        _count_pixels(side, count, kernel_size, stride, padding)
        for side, count in zip(sides, x.shape[1:3], strict=True)
    )
    return x / jnp.asarray(rows[:, None, None] * columns[:, None], x.dtype)


def _passes(x: Array, kernel_size: int, stride: int, padding: int, out_size: Pair | None) -> list[_Windows]:
    """Returns the windows that pool a square window one after the other."""
    rows, columns = out_size or (num_windows(side, kernel_size, stride, padding) for side in x.shape[1:3])
    if kernel_size < _MIN_SEPARABLE_KERNEL:
        return [_Windows((kernel_size, kernel_size), (stride, stride), (padding, padding), (rows, columns))]
    return [
        _Windows((1, kernel_size), (1, stride), (0, padding), (x.shape[1], columns)),
        _Windows((kernel_size, 1), (stride, 1), (padding, 0), (rows, columns)),
    ]


def _pool(pool: Callable[..., Any], x: Array, passes: list[_Windows]) -> Array:
    x = pool(x, passes[0])
    for windows in passes[1:]:
        x = pool(backward_barrier(x), windows)
    return x


def _pad(x: Array, windows: _Windows, value: float) -> Array:
    padded = pad_maps(x, windows.padding, value)
    disjoint = all(size <= step for size, step in zip(windows.kernel_size, windows.stride, strict=True))
    return padded if disjoint and not any(windows.padding) else forward_barrier(padded)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_windows(x: Array, windows: _Windows) -> Array:
    return _max_and_argmax(x, windows)[0]


def _max_and_argmax(x: Array, windows: _Windows) -> tuple[Array, Int8[Array, "n h_out w_out c"]]:
    padded = _pad(x, windows, -math.inf)
    largest = strided_slice(padded, (0, 0), windows.stride, windows.out_size)
    argmax = jnp.zeros(largest.shape, jnp.int8)
    for index, offset in enumerate(windows.offsets[1:], 1):
        value = strided_slice(padded, offset, windows.stride, windows.out_size)
        argmax = jnp.where(value > largest, jnp.int8(index), argmax)
        largest = jnp.maximum(largest, value)
    return optimization_barrier((largest, argmax))


def _max_forward(x: Array, windows: _Windows) -> tuple[Array, tuple[Array, Pair]]:
    largest, argmax = _max_and_argmax(x, windows)
    return largest, (argmax, (x.shape[1], x.shape[2]))


def _max_backward(windows: _Windows, residuals: tuple[Array, Pair], gradient: Array) -> tuple[Array]:
    argmax, size = residuals
    gradient = optimization_barrier(gradient)
    terms = ((offset, jnp.where(argmax == index, gradient, 0)) for index, offset in enumerate(windows.offsets))
    return (overlap_add(terms, windows.stride, windows.padding, size),)


_max_windows.defvjp(_max_forward, _max_backward)


def _sum_windows(x: Array, windows: _Windows) -> Array:
    padded = _pad(x, windows, 0.0)
    first, *others = (strided_slice(padded, offset, windows.stride, windows.out_size) for offset in windows.offsets)
    return sum(others, start=first)


def _count_pixels(size: int, count: int, kernel_size: int, stride: int, padding: int) -> np.ndarray:
    """Returns how many pixels of the map, without padding, each of `count` windows covers along a side."""
    first = np.arange(count) * stride - padding
    return np.minimum(first + kernel_size, size) - np.maximum(first, 0)
