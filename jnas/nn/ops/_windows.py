"""Sliding windows over `[N, H, W, C]` as strided slices, and back."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

Pair = tuple[int, int]


def pair(n: int | Pair) -> Pair:
    """A number for both sides, or one for each."""
    return (n, n) if isinstance(n, int) else n


def out_size(size: int, kernel: int, stride: int, pad: int) -> int:
    """How many windows fit along a side."""
    return (size + 2 * pad - kernel) // stride + 1


def pad_maps(x: jax.Array, pad: int | Pair, value: float = 0.0) -> jax.Array:
    """The maps with a border of `pad` pixels (rows, columns) of `value`."""
    zero = (0, 0, 0)
    rows, columns = ((n, n, 0) for n in pair(pad))
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), (zero, rows, columns, zero))


def strided_slice(padded: jax.Array, tap: Pair, stride: int | Pair, out: Pair) -> jax.Array:
    """What one tap of each window sees in the padded maps: `[N, *out, C]`."""
    strides = pair(stride)
    ends = (first + (count - 1) * step + 1 for first, count, step in zip(tap, out, strides, strict=True))
    return jax.lax.slice(padded, (0, *tap, 0), (padded.shape[0], *ends, padded.shape[3]), (1, *strides, 1))


def overlap_add(shares: Iterable[tuple[Pair, jax.Array]], stride: int | Pair, pad: int | Pair, size: Pair) -> jax.Array:
    """The transpose of `strided_slice`, summed over taps: no scatter, each share is padded back to its place.

    Args:
      shares: each tap with its `[N, H_out, W_out, C]`.
      stride, pad: of the windows.
      size: height and width of the maps, `pad` left out.

    Returns:
      `[N, *size, C]`.
    """
    total = None
    for tap, share in shares:
        borders = [
            (offset - border, side + border - offset - (count - 1) * step - 1, step - 1)
            for offset, border, side, count, step in zip(
                tap, pair(pad), size, share.shape[1:3], pair(stride), strict=True
            )
        ]
        back = jax.lax.pad(share, jnp.zeros((), share.dtype), ((0, 0, 0), *borders, (0, 0, 0)))
        total = back if total is None else total + back
    return total
