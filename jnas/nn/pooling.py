"""Max and average pooling on `[N, H, W, C]`, as sums and maxima of strided slices.

XLA differentiates a `reduce_window` maximum into select-and-scatter, the slowest operation of most small CNNs. Here
the winning tap of each window is remembered, and the gradient is padded back to where it came from: no scatter.
What goes in and out is kept in memory (see `fusion`), or XLA would compute it anew for each tap.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jnas.nn.fusion import materialise


def _pad(x: jax.Array, pad: int, value: float) -> jax.Array:
    zero = (0, 0, 0)
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), (zero, (pad, pad, 0), (pad, pad, 0), zero))


def _out_size(size: int, kernel: int, stride: int, pad: int) -> int:
    return (size + 2 * pad - kernel) // stride + 1


def _taps(kernel: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(kernel) for j in range(kernel))


def _slice(x: jax.Array, tap: tuple[int, int], stride: int, size: tuple[int, int]) -> jax.Array:
    """What one tap of each window sees in the padded maps `x`: `[N, *size, C]`."""
    (i, j), (height, width) = tap, size
    limits = (x.shape[0], i + (height - 1) * stride + 1, j + (width - 1) * stride + 1, x.shape[3])
    return jax.lax.slice(x, (0, i, j, 0), limits, (1, stride, stride, 1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, kernel: int, stride: int, pad: int) -> jax.Array:
    """The maximum of each window; the padding is minus infinity, NaN wins.

    Args:
      x: `[N, H, W, C]`.
      kernel, stride, pad: of the square window, in pixels, as in PyTorch's MaxPool2d.

    Returns:
      `[N, (H + 2 pad - kernel) // stride + 1, (W + 2 pad - kernel) // stride + 1, C]`. Where values tie, the gradient
      goes to the first, in row order, as in PyTorch.
    """
    return _max_pool(x, kernel, stride, pad)[0]


def _max_pool(x, kernel, stride, pad):
    size = tuple(_out_size(n, kernel, stride, pad) for n in x.shape[1:3])
    padded = _pad(materialise(x), pad, -jnp.inf)
    best = winner = None
    for number, tap in enumerate(_taps(kernel)):
        value = _slice(padded, tap, stride, size)
        if best is None:
            best, winner = value, jnp.zeros(value.shape, jnp.int8)
        else:
            winner = jnp.where(value > best, jnp.int8(number), winner)
            best = jnp.maximum(best, value)
    return materialise((best, winner))


def _max_pool_forward(x, kernel, stride, pad):
    best, winner = _max_pool(x, kernel, stride, pad)
    return best, (winner, x.shape)


def _max_pool_backward(kernel, stride, pad, residuals, gradient):
    winner, (_, height, width, _) = residuals
    gradient = materialise(gradient)
    total = None
    for number, (i, j) in enumerate(_taps(kernel)):
        share = jnp.where(winner == number, gradient, 0)
        rows, columns = (
            (offset - pad, size + pad - offset - (out - 1) * stride - 1, stride - 1)
            for offset, size, out in ((i, height, gradient.shape[1]), (j, width, gradient.shape[2]))
        )
        back = jax.lax.pad(share, jnp.zeros((), share.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))
        total = back if total is None else total + back
    return (materialise(total),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def avg_pool(x: jax.Array, kernel: int, stride: int, pad: int, count_include_pad: bool) -> jax.Array:
    """The mean of each window.

    Args:
      x: `[N, H, W, C]`.
      kernel, stride, pad: of the square window, in pixels, as in PyTorch's AvgPool2d.
      count_include_pad: whether the divisor counts the padding's zeros.

    Returns:
      `[N, (H + 2 pad - kernel) // stride + 1, (W + 2 pad - kernel) // stride + 1, C]`.
    """
    size = tuple(_out_size(n, kernel, stride, pad) for n in x.shape[1:3])
    padded = _pad(materialise(x), pad, 0.0)
    total = materialise(sum(_slice(padded, tap, stride, size) for tap in _taps(kernel)))
    if count_include_pad or pad == 0:
        return total / kernel**2
    rows, columns = (_pixels(n, out, kernel, stride, pad) for n, out in zip(x.shape[1:3], size, strict=True))
    return total / jnp.asarray(rows[:, None, None] * columns[:, None], x.dtype)


def _pixels(size: int, out: int, kernel: int, stride: int, pad: int) -> np.ndarray:
    """How many true pixels each window covers along one side: `[out]`."""
    first = np.arange(out) * stride - pad
    return np.minimum(first + kernel, size) - np.maximum(first, 0)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """The mean of each map: `[N, H, W, C]` to `[N, 1, 1, C]`."""
    return x.mean((1, 2), keepdims=True)
