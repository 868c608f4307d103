"""Max and average pooling on `[N, H, W, C]`, as sums and maxima of strided slices.

XLA differentiates a `reduce_window` maximum into select-and-scatter, the slowest operation of most small CNNs. Here
the winning tap of each window is remembered, and the gradient is padded back to where it came from: no scatter.
A window of 4 by 4 is pooled along its columns first and then along its rows: 8 taps instead of 16.

What windows that overlap read is kept in memory (see `fusion`), or XLA would compute it anew for each tap; so are the
result and, between two passes, the gradient. The gradient of the input is not: who reads it more than once keeps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jnas.nn.ops._barriers import backward_barrier, forward_barrier, optimization_barrier
from jnas.nn.ops._windows import Pair, out_size, overlap_add, pad_maps, strided_slice

_SEPARABLE_FROM = 4
"""The window from which two passes are faster than one (benchmarks/RESULTS.md)."""


def _passes(x: jax.Array, kernel: int, stride: int, pad: int, out: Pair | None) -> list[tuple[Pair, Pair, Pair, Pair]]:
    """The windows, strides, paddings and outputs (rows, columns) that pool a square window one after another."""
    rows, columns = out or (out_size(side, kernel, stride, pad) for side in x.shape[1:3])
    if kernel < _SEPARABLE_FROM:
        return [((kernel, kernel), (stride, stride), (pad, pad), (rows, columns))]
    along_rows = (1, kernel), (1, stride), (0, pad), (x.shape[1], columns)
    return [along_rows, ((kernel, 1), (stride, 1), (pad, 0), (rows, columns))]


def _taps(kernel: Pair) -> list[Pair]:
    return [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]


def _pooled(one_pass: Callable, x: jax.Array, kernel: int, stride: int, pad: int, out: Pair | None) -> jax.Array:
    """The maps after all passes."""
    first, *others = _passes(x, kernel, stride, pad, out)
    x = one_pass(x, *first)
    for window in others:
        x = one_pass(backward_barrier(x), *window)
    return x


def _held(x: jax.Array, kernel: Pair, stride: Pair, pad: Pair, value: float = 0.0) -> jax.Array:
    """The maps with their border, in memory where windows overlap or there is one; what is read once need not be."""
    padded = pad_maps(x, pad, value)
    once = not any(pad) and all(size <= step for size, step in zip(kernel, stride, strict=True))
    return padded if once else forward_barrier(padded)


def max_pool(x: jax.Array, kernel: int, stride: int, pad: int, out: Pair | None = None) -> jax.Array:
    """The maximum of each window; the padding is minus infinity, NaN wins.

    Args:
      x: `[N, H, W, C]`.
      kernel, stride, pad: of the square window, in pixels, as in PyTorch's MaxPool2d.
      out: windows to compute, in rows and columns, from the first one on; all that fit where not given.

    Returns:
      `[N, (H + 2 pad - kernel) // stride + 1, (W + 2 pad - kernel) // stride + 1, C]`, or `[N, *out, C]`. Where
      values tie, the gradient goes to the first, in row order, as in PyTorch.
    """
    return _pooled(_maximum, x, kernel, stride, pad, out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _maximum(x: jax.Array, kernel: Pair, stride: Pair, pad: Pair, out: Pair) -> jax.Array:
    return _with_winner(x, kernel, stride, pad, out)[0]


def _with_winner(x, kernel, stride, pad, out):
    padded = _held(x, kernel, stride, pad, -jnp.inf)
    best = winner = None
    for number, tap in enumerate(_taps(kernel)):
        value = strided_slice(padded, tap, stride, out)
        if best is None:
            best, winner = value, jnp.zeros(value.shape, jnp.int8)
        else:
            winner = jnp.where(value > best, jnp.int8(number), winner)
            best = jnp.maximum(best, value)
    return optimization_barrier((best, winner))


def _maximum_forward(x, kernel, stride, pad, out):
    best, winner = _with_winner(x, kernel, stride, pad, out)
    return best, (winner, x.shape[1:3])


def _maximum_backward(kernel, stride, pad, out, residuals, gradient):
    winner, size = residuals
    gradient = optimization_barrier(gradient)
    shares = ((tap, jnp.where(winner == number, gradient, 0)) for number, tap in enumerate(_taps(kernel)))
    return (overlap_add(shares, stride, pad, size),)


_maximum.defvjp(_maximum_forward, _maximum_backward)


def avg_pool(
    x: jax.Array, kernel: int, stride: int, pad: int, count_include_pad: bool, out: Pair | None = None
) -> jax.Array:
    """The mean of each window.

    Args:
      x: `[N, H, W, C]`.
      kernel, stride, pad: of the square window, in pixels, as in PyTorch's AvgPool2d.
      count_include_pad: whether the divisor counts the padding's zeros.
      out: as in `max_pool`.

    Returns:
      `[N, (H + 2 pad - kernel) // stride + 1, (W + 2 pad - kernel) // stride + 1, C]`, or `[N, *out, C]`.
    """
    sides = x.shape[1:3]
    x = optimization_barrier(_pooled(_total, x, kernel, stride, pad, out))
    if count_include_pad or pad == 0:
        return x / kernel**2
    rows, columns = (_pixels(n, out, kernel, stride, pad) for n, out in zip(sides, x.shape[1:3], strict=True))
    return x / jnp.asarray(rows[:, None, None] * columns[:, None], x.dtype)


def _total(x: jax.Array, kernel: Pair, stride: Pair, pad: Pair, out: Pair) -> jax.Array:
    padded = _held(x, kernel, stride, pad)
    return sum(strided_slice(padded, tap, stride, out) for tap in _taps(kernel))


def _pixels(size: int, out: int, kernel: int, stride: int, pad: int) -> np.ndarray:
    """How many true pixels each window covers along one side: `[out]`."""
    first = np.arange(out) * stride - pad
    return np.minimum(first + kernel, size) - np.maximum(first, 0)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """The mean of each map: `[N, H, W, C]` to `[N, 1, 1, C]`."""
    return x.mean((1, 2), keepdims=True)
