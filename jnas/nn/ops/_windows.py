"""Sliding windows over maps `[N, H, W, C]`, as strided slices and their transpose."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Pair = tuple[int, int]
"""Rows and columns."""


def num_windows(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Returns how many windows fit along a side of `size` pixels with `padding` more at each end."""
    return (size + 2 * padding - kernel_size) // stride + 1


def pad_maps(x: Float[Array, "n h w c"], padding: int | Pair, value: float = 0.0) -> Float[Array, "n h2 w2 c"]:
    """Returns the maps with a border of `padding` pixels of `value` on each side."""
    borders = [(n, n, 0) for n in _pair(padding)]
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), *borders, (0, 0, 0)))


def strided_slice(
    x: Float[Array, "n h w c"], offset: Pair, stride: int | Pair, out_size: Pair
) -> Float[Array, "n h_out w_out c"]:
    """Returns the pixel at `offset` of each of `out_size` windows of the (padded) maps `x`."""
    strides = _pair(stride)
    ends = (first + (count - 1) * step + 1 for first, count, step in zip(offset, out_size, strides, strict=True))
    return jax.lax.slice(x, (0, *offset, 0), (x.shape[0], *ends, x.shape[3]), (1, *strides, 1))


def overlap_add(
    terms: Iterable[tuple[Pair, Float[Array, "n h_out w_out c"]]], stride: Pair, padding: Pair, size: Pair
) -> Float[Array, "n h w c"]:
    """Returns the transpose of `strided_slice`, summed over offsets: `size` rows and columns, without the padding.

    Each term, an offset within the window with its array, is padded, so nothing is scattered.
    """
    total = None
    for offsets, term in terms:
        borders = [
            (offset - border, side + border - offset - (count - 1) * step - 1, step - 1)
            for offset, border, side, count, step in zip(offsets, padding, size, term.shape[1:3], stride, strict=True)
        ]
        dilated = jax.lax.pad(term, jnp.zeros((), term.dtype), ((0, 0, 0), *borders, (0, 0, 0)))
        total = dilated if total is None else total + dilated
    assert total is not None, "a window has at least one pixel"
    return total


def _pair(n: int | Pair) -> Pair:
    return (n, n) if isinstance(n, int) else n
