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

from jnas.nn.ops._barriers import materialise
from jnas.nn.ops._windows import Pair

_NOWHERE = jnp.iinfo(jnp.int32).max
"""An index past every end: a tap that sees nothing."""


class Span(NamedTuple):
    """Windows along one side of a map: their size, stride and padding in pixels, int32 scalars, run-time data."""

    size: jax.Array | int
    stride: jax.Array | int
    pad: jax.Array | int


_ALONE = Span(1, 1, 0)
"""Each pixel is a window of its own."""


class Windows(NamedTuple):
    """Where a lane's windows lie: int32 scalars, run-time data.

    Attributes:
      height, width: of the input map; 0 where the lane has no such layer.
      out_height, out_width: of the output map.
      rows, columns: the windows along either side.
    """

    height: jax.Array
    width: jax.Array
    out_height: jax.Array
    out_width: jax.Array
    rows: Span
    columns: Span

    @classmethod
    def square(cls, height, width, out_height, out_width, size, stride, pad) -> Windows:
        """With the same size, stride and padding along both sides."""
        return cls(height, width, out_height, out_width, Span(size, stride, pad), Span(size, stride, pad))


class Maxima(NamedTuple):
    """What is static: positions going in and out, and the largest window's height and width."""

    positions: int
    out_positions: int
    sides: Pair

    @classmethod
    def square(cls, positions: int, out_positions: int, size: int) -> Maxima:
        """With windows of at most `size` by `size`."""
        return cls(positions, out_positions, (size, size))

    @property
    def taps(self) -> int:
        """Pixels of the largest window."""
        return self.sides[0] * self.sides[1]


def _split(position: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row and column of a position."""
    return _divided(position, jnp.maximum(width, 1))  # 0 where a lane lacks the layer


def _divided(number: jax.Array, by: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Quotient and remainder; those of a negative number are of no use.

    `divmod` rounds negative numbers down, for which XLA computes signs, many times over once it has fused them.
    """
    number, by = jnp.broadcast_arrays(number, by)
    quotient = jax.lax.div(number, by.astype(number.dtype))
    return quotient, number - quotient * by


def _taps(windows: Windows, maxima: Maxima) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Row and column of each tap, and whether the lane's window has it: `[T]` each."""
    rows, columns = jnp.divmod(jnp.arange(maxima.taps), maxima.sides[1])
    return rows, columns, (rows < windows.rows.size) & (columns < windows.columns.size)


def seen(windows: Windows, maxima: Maxima) -> jax.Array:
    """Which input position each tap of each window sees: `[P_out, T]` int32, past the end where none."""
    row, column = _split(jnp.arange(maxima.out_positions)[:, None], windows.out_width)
    tap_row, tap_column, has = _taps(windows, maxima)
    y = row * windows.rows.stride + tap_row - windows.rows.pad
    x = column * windows.columns.stride + tap_column - windows.columns.pad
    inside = (y >= 0) & (y < windows.height) & (x >= 0) & (x < windows.width)
    return jnp.where(has & inside & (row < windows.out_height), y * windows.width + x, _NOWHERE)


def windows_at(windows: Windows, maxima: Maxima) -> jax.Array:
    """Which window sees each input position with each tap: `[P, T]` int32, past the end where none does."""
    row, column = _split(jnp.arange(maxima.positions)[:, None], windows.width)
    tap_row, tap_column, has = _taps(windows, maxima)
    y, x = row + windows.rows.pad - tap_row, column + windows.columns.pad - tap_column
    down, across = (jnp.maximum(span.stride, 1) for span in (windows.rows, windows.columns))
    seen_there = (y >= 0) & (x >= 0)
    (y, y_left), (x, x_left) = _divided(y, down), _divided(x, across)
    meets = seen_there & (y_left == 0) & (x_left == 0)
    inside = (y < windows.out_height) & (x < windows.out_width) & (row < windows.height)
    return jnp.where(has & meets & inside, y * windows.out_width + x, _NOWHERE)


def _held(index: jax.Array) -> jax.Array:
    """The index map in memory: fused into a gather, its divisions would be done again for each channel."""
    return jax.lax.optimization_barrier(index)


def _gather(x: jax.Array, index: jax.Array, fill: float = 0.0) -> jax.Array:
    """Rows of maps `[N, P, C]` by index `[...]`: `[N, ..., C]`, `fill` where the index is past the end."""
    x, last = jnp.asarray(x), x.shape[1] - 1
    got = x.at[:, jnp.minimum(index, last)].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return jnp.where((index <= last)[..., None], got, jnp.asarray(fill, x.dtype))


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
    count, channels, taps = len(x), x.shape[-1], maxima.taps
    gradient = gradient.reshape(-1, gradient.shape[-1])
    patches = _patches(x, windows, maxima).reshape(-1, taps * channels)
    kernel_gradient = _product(patches.T, gradient).reshape(kernel.shape)
    shares = materialise(_product(gradient, kernel.reshape(-1, kernel.shape[-1]).T)).reshape(count, -1, channels)
    at = windows_at(windows, maxima)
    own = _held(jnp.where(at < maxima.out_positions, at * taps + jnp.arange(taps), _NOWHERE))
    # A loop, as up to 49 gathers would take long to compile; in float32, or bfloat16 would be rounded at each turn.
    nothing = jnp.zeros(x.shape, jnp.float32)
    total = jax.lax.fori_loop(0, taps, lambda tap, total: total + _gather(shares, own[:, tap]), nothing)
    return total.astype(x.dtype), kernel_gradient, None


conv.defvjp(_conv_forward, _conv_backward)


class Pooling(NamedTuple):
    """What a lane's pooling does: bool scalars, run-time data.

    Attributes:
      maximum: the maximum of each window, or else the mean.
      count_pad: whether the mean's divisor counts the padding's zeros.
    """

    maximum: jax.Array
    count_pad: jax.Array


def pool(x: jax.Array, windows: Windows, pooling: Pooling, maxima: Maxima) -> jax.Array:
    """The maximum or mean of each window.

    Args:
      x: `[N, P, C]`.
      windows, pooling, maxima: the lane's, and the static ones. A window of 1 by 1 with stride 1 changes nothing.

    Returns:
      `[N, P_out, C]`; zero at positions that the lane does not have. Where values tie, the gradient goes to the first.
    """
    for each in _passes(windows, maxima):
        x = _pass(x, each[0], pooling.maximum, each[1])
    share = jnp.where(pooling.maximum, 1, _share(windows, pooling, maxima))
    return x * share.astype(x.dtype)[:, None]


def _passes(windows: Windows, maxima: Maxima) -> list[tuple[Windows, Maxima]]:
    """Windows that pool one after another: along the rows first and then along the columns, 8 taps instead of 16."""
    if max(maxima.sides) <= 2:
        return [(windows, maxima)]
    # A side grows only where the other one does too, so what lies between the two is no larger than both ends.
    between = max(maxima.positions, maxima.out_positions)
    across = windows._replace(out_height=windows.height, rows=_ALONE)
    down = windows._replace(width=windows.out_width, columns=_ALONE)
    rows, columns = maxima.sides
    return [
        (across, Maxima(maxima.positions, between, (1, columns))),
        (down, Maxima(between, maxima.out_positions, (rows, 1))),
    ]


def _share(windows: Windows, pooling: Pooling, maxima: Maxima) -> jax.Array:
    """One over the number of pixels in each window's mean: `[P_out]`."""
    row, column = _split(jnp.arange(maxima.out_positions), windows.out_width)

    def pixels(place, span, side):
        first = place * span.stride - span.pad
        return jnp.minimum(first + span.size, side) - jnp.maximum(first, 0)

    inside = pixels(row, windows.rows, windows.height) * pixels(column, windows.columns, windows.width)
    count = jnp.where(pooling.count_pad, windows.rows.size * windows.columns.size, inside)
    return 1 / jnp.maximum(count, 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _pass(x: jax.Array, windows: Windows, maximum: jax.Array, maxima: Maxima) -> jax.Array:
    """The maximum or the sum of each window."""
    return _pass_forward(x, windows, maximum, maxima)[0]


def _pass_forward(x, windows, maximum, maxima):
    x = materialise(x)
    index = _held(seen(windows, maxima))
    best = winner = total = None
    # Tap by tap: XLA fuses all of them into one pass, which a reduction over gathered windows takes several times as
    # long for on a CPU.
    for tap in range(maxima.taps):
        value = _gather(x, index[:, tap])
        candidate = jnp.where(index[:, tap, None] < maxima.positions, value, -jnp.inf)
        if best is None:
            best, winner, total = candidate, jnp.zeros(value.shape, jnp.int8), value
        else:
            winner = jnp.where(candidate > best, jnp.int8(tap), winner)
            best, total = jnp.maximum(best, candidate), total + value
    best = jnp.where((index < maxima.positions).any(1)[:, None], best, 0)
    y, winner = materialise((jnp.where(maximum, best, total), winner))
    return y, (winner, windows, maximum)


def _pass_backward(maxima, residuals, gradient):
    winner, windows, maximum = residuals
    at = _held(windows_at(windows, maxima))
    gradient = materialise(gradient)
    total = 0
    for tap in range(maxima.taps):
        # The sum's gradient goes to all taps, the maximum's to the winning one only.
        won = _gather(winner, at[:, tap], -1) == tap
        total += jnp.where(won | ~maximum, _gather(gradient, at[:, tap]), 0)
    return materialise(total), None, None


_pass.defvjp(_pass_forward, _pass_backward)


def present(height: jax.Array, width: jax.Array, positions: int) -> jax.Array:
    """Which positions a lane's map has: `[P, 1]` bool."""
    return (jnp.arange(positions) < height * width)[:, None]
