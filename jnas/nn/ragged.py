"""Convolution and pooling whose window, stride, padding and map sizes are run-time data, under static maxima.

Maps are flattened, `[N, P, C]`: the lane's pixels in row order, then positions that it does not have, up to `P`. Those
hold anything finite, and nobody reads them. An index map, computed on the device from a few numbers, says which
position each tap of each window sees; its inverse says which window a position belongs to at each tap. So forward and
backward are gathers, sums and matrix products: no scatter, and with lanes no grouped convolution.

The backward pass of a convolution gathers its patches again rather than keep them: they are the largest thing by far.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnas.nn.fusion import materialise

_NOWHERE = jnp.iinfo(jnp.int32).max
"""An index past every end: a tap that sees nothing."""


class Windows(NamedTuple):
    """Where a lane's windows lie: int32 scalars, run-time data.

    Attributes:
      height, width: of the input map; 0 where the lane has no such layer.
      out_height, out_width: of the output map.
      size, stride, pad: of the square window, in pixels.
    """

    height: jax.Array
    width: jax.Array
    out_height: jax.Array
    out_width: jax.Array
    size: jax.Array
    stride: jax.Array
    pad: jax.Array


class Maxima(NamedTuple):
    """What is static: positions going in and out, and the side of the largest window."""

    positions: int
    out_positions: int
    size: int


def _split(position: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row and column of a position."""
    width = jnp.maximum(width, 1)  # 0 where a lane lacks the layer
    return position // width, position % width


def _taps(windows: Windows, maxima: Maxima) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Row and column of each tap, and whether the lane's window has it: `[T]` each."""
    rows, columns = jnp.divmod(jnp.arange(maxima.size**2), maxima.size)
    return rows, columns, (rows < windows.size) & (columns < windows.size)


def seen(windows: Windows, maxima: Maxima) -> jax.Array:
    """Which input position each tap of each window sees: `[P_out, T]` int32, past the end where none."""
    row, column = _split(jnp.arange(maxima.out_positions)[:, None], windows.out_width)
    tap_row, tap_column, has = _taps(windows, maxima)
    y = row * windows.stride + tap_row - windows.pad
    x = column * windows.stride + tap_column - windows.pad
    inside = (y >= 0) & (y < windows.height) & (x >= 0) & (x < windows.width)
    return jnp.where(has & inside & (row < windows.out_height), y * windows.width + x, _NOWHERE)


def windows_at(windows: Windows, maxima: Maxima) -> jax.Array:
    """Which window sees each input position with each tap: `[P, T]` int32, past the end where none does."""
    row, column = _split(jnp.arange(maxima.positions)[:, None], windows.width)
    tap_row, tap_column, has = _taps(windows, maxima)
    y, x = row + windows.pad - tap_row, column + windows.pad - tap_column
    stride = jnp.maximum(windows.stride, 1)
    meets = (y >= 0) & (x >= 0) & (y % stride == 0) & (x % stride == 0)
    y, x = y // stride, x // stride
    inside = (y < windows.out_height) & (x < windows.out_width) & (row < windows.height)
    return jnp.where(has & meets & inside, y * windows.out_width + x, _NOWHERE)


def _held(index: jax.Array) -> jax.Array:
    """The index map in memory: fused into a gather, its divisions would be done again for each channel."""
    return jax.lax.optimization_barrier(index)


def _gather(x: jax.Array, index: jax.Array, fill: float = 0.0) -> jax.Array:
    """Rows of maps `[N, P, C]` by index `[...]`: `[N, ..., C]`, `fill` where the index is past the end."""
    return jnp.asarray(x).at[:, index].get(mode="fill", fill_value=fill)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """A matrix product that is summed in float32, also of bfloat16."""
    return jnp.matmul(a, b, preferred_element_type=jnp.float32).astype(a.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv(x: jax.Array, kernel: jax.Array, windows: Windows, maxima: Maxima) -> jax.Array:
    """Cross-correlation with a square window.

    Args:
      x: `[N, P, C_in]`.
      kernel: `[k, k, C_in, C_out]`, `k` the largest side; the lane's own taps are the first rows and columns, and what
        lies beyond them neither counts nor gets a gradient.
      windows, maxima: the lane's, and the static ones.

    Returns:
      `[N, P_out, C_out]`; zero at positions that the lane does not have.
    """
    patches = _patches(x, windows, maxima)
    y = _product(patches.reshape(-1, patches.shape[-1]), kernel.reshape(-1, kernel.shape[-1]))
    return y.reshape(*patches.shape[:2], -1)


def _patches(x: jax.Array, windows: Windows, maxima: Maxima) -> jax.Array:
    """What each window sees: `[N, P_out, k k C]`."""
    return _gather(x, _held(seen(windows, maxima))).reshape(len(x), maxima.out_positions, -1)


def _conv_forward(x, kernel, windows, maxima):
    return conv(x, kernel, windows, maxima), (x, kernel, windows)


def _conv_backward(maxima, residuals, gradient):
    x, kernel, windows = residuals
    count, channels, taps = len(x), x.shape[-1], maxima.size**2
    gradient = gradient.reshape(-1, gradient.shape[-1])
    patches = _patches(x, windows, maxima).reshape(-1, taps * channels)
    kernel_gradient = _product(patches.T, gradient).reshape(kernel.shape)
    shares = materialise(_product(gradient, kernel.reshape(-1, kernel.shape[-1]).T)).reshape(count, -1, channels)
    at = windows_at(windows, maxima)
    own = _held(jnp.where(at < maxima.out_positions, at * taps + jnp.arange(taps), _NOWHERE))
    return sum(_gather(shares, own[:, tap]) for tap in range(taps)), kernel_gradient, None


conv.defvjp(_conv_forward, _conv_backward)


class Pooling(NamedTuple):
    """What a lane's pooling does: bool scalars, run-time data.

    Attributes:
      maximum: the maximum of each window, or else the mean.
      count_pad: whether the mean's divisor counts the padding's zeros.
    """

    maximum: jax.Array
    count_pad: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def pool(x: jax.Array, windows: Windows, pooling: Pooling, maxima: Maxima) -> jax.Array:
    """The maximum or mean of each window.

    Args:
      x: `[N, P, C]`.
      windows, pooling, maxima: the lane's, and the static ones. A window of 1 by 1 with stride 1 changes nothing.

    Returns:
      `[N, P_out, C]`; zero at positions that the lane does not have. Where values tie, the gradient goes to the first.
    """
    return _pool_forward(x, windows, pooling, maxima)[0]


def _pool_forward(x, windows, pooling, maxima):
    x = materialise(x)
    index = _held(seen(windows, maxima))
    best = winner = total = None
    # Tap by tap: XLA fuses all of them into one pass, which a reduction over gathered windows takes several times as
    # long for on a CPU.
    for tap in range(maxima.size**2):
        value = _gather(x, index[:, tap])
        candidate = jnp.where(index[:, tap, None] < maxima.positions, value, -jnp.inf)
        if best is None:
            best, winner, total = candidate, jnp.zeros(value.shape, jnp.int8), value
        else:
            winner = jnp.where(candidate > best, jnp.int8(tap), winner)
            best, total = jnp.maximum(best, candidate), total + value
    best = jnp.where((index < maxima.positions).any(1)[:, None], best, 0)
    share = _share(index, windows, pooling, maxima).astype(x.dtype)
    y, winner = materialise((jnp.where(pooling.maximum, best, total * share[:, None]), winner))
    return y, (winner, windows, pooling)


def _share(index: jax.Array, windows: Windows, pooling: Pooling, maxima: Maxima) -> jax.Array:
    """One over the number of pixels in each window's mean: `[P_out]`."""
    pixels = (index < maxima.positions).sum(1)
    return 1 / jnp.maximum(jnp.where(pooling.count_pad, windows.size**2, pixels), 1)


def _pool_backward(maxima, residuals, gradient):
    winner, windows, pooling = residuals
    share = _share(seen(windows, maxima), windows, pooling, maxima).astype(gradient.dtype)
    at = _held(windows_at(windows, maxima))
    # The mean's gradient is shared out before the gather, the maximum's goes to the winning tap only.
    gradient = materialise(jnp.where(pooling.maximum, gradient, gradient * share[:, None]))
    total = 0
    for tap in range(maxima.size**2):
        won = _gather(winner, at[:, tap], -1) == tap
        total += jnp.where(won | ~pooling.maximum, _gather(gradient, at[:, tap]), 0)
    return materialise(total), None, None


pool.defvjp(_pool_forward, _pool_backward)


def present(height: jax.Array, width: jax.Array, positions: int) -> jax.Array:
    """Which positions a lane's map has: `[P, 1]` bool."""
    return (jnp.arange(positions) < height * width)[:, None]
