"""Convolution by patches (im2col): what each window sees is a row of a matrix, and the convolution one matrix product.

Patches are laid out tap by tap; gradients are summed along one side of the maps after the other, in `2 k` passes
instead of `k ** 2`. Lanes with kernels of their own take this way, as batched matrix products.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import pad_maps, strided_slice
from jnas.nn.ops.conv._shape import Geometry

_TILE = 64
"""Rows and columns of a matrix product that one multiprocessor of a GPU takes."""
_TILES = 256
"""Tiles that occupy a large GPU."""
_LEAST = 512
"""Rows of patches that are worth a tile of their own."""


def forward(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution: `[N, H, W, C]` and `[k, k, C, O]` to `[N, H_out, W_out, O]`."""
    y = _patches(x, geometry) @ kernel.reshape(-1, kernel.shape[3])
    return y.reshape(len(x), *geometry.out, -1)


def input_gradient(gradient: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient of the input from that of the output."""
    count, *out, out_channels = gradient.shape
    channels, size = kernel.shape[2], geometry.size
    shares = gradient.reshape(-1, out_channels) @ kernel.reshape(-1, out_channels).T
    shares = optimization_barrier(shares).reshape(count, *out, size, size * channels)
    rows = optimization_barrier(_fold(shares, 1, geometry, geometry.height))
    rows = rows.reshape(count, geometry.height, out[1], size, channels)
    return _fold(rows, 2, geometry, geometry.width)


def kernel_gradient(x: jax.Array, gradient: jax.Array, geometry: Geometry) -> jax.Array:
    """The gradient of the kernel from that of the output."""
    rows, columns = _patches(x, geometry), gradient.reshape(-1, gradient.shape[3])
    groups = _groups(len(x), len(rows), rows.shape[1], columns.shape[1])
    if groups == 1:
        product = rows.T @ columns
    else:
        rows, columns = (array.reshape(groups, -1, array.shape[1]) for array in (rows, columns))
        product = optimization_barrier(jnp.einsum("gnk,gno->gko", rows, columns)).sum(0)
    return product.reshape(geometry.size, geometry.size, x.shape[3], -1)


def _groups(images: int, rows: int, taps: int, outs: int) -> int:
    """Groups of images whose kernel gradients are computed one beside the other, and summed afterwards.

    The product is small and its sums long, so a GPU would compute it on a few of its multiprocessors.
    """
    if jax.default_backend() == "cpu":
        return 1
    wanted = min(_TILES // (math.ceil(taps / _TILE) * math.ceil(outs / _TILE)), rows // _LEAST)
    return max((n for n in range(1, images + 1) if images % n == 0 and n <= wanted), default=1)


def kernel_gradient_by_taps(x: jax.Array, gradient: jax.Array, geometry: Geometry) -> jax.Array:
    """The same, with a row of the matrix for each tap and channel: for maps of few channels, whose pixels are too
    short to be copied one by one."""
    size, stride = geometry.size, geometry.stride
    planes = optimization_barrier(pad_maps(x, geometry.pad).transpose(3, 0, 1, 2))
    for axis, count in ((-1, geometry.out[1]), (-2, geometry.out[0])):
        cuts = [jax.lax.slice_in_dim(planes, i, i + (count - 1) * stride + 1, stride, axis) for i in range(size)]
        planes = optimization_barrier(jnp.stack(cuts))  # [k, C, N, H, W_out], then [k, k, C, N, H_out, W_out]
    product = planes.reshape(size**2 * x.shape[3], -1) @ gradient.reshape(-1, gradient.shape[3])
    return product.reshape(size, size, x.shape[3], -1)


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
    """What each window sees, as a row: `[N H_out W_out, k k C]`."""
    padded = pad_maps(x, geometry.pad)
    taps = [(i, j) for i in range(geometry.size) for j in range(geometry.size)]
    cuts = [strided_slice(padded, tap, geometry.stride, geometry.out) for tap in taps]
    return optimization_barrier(jnp.concatenate(cuts, -1)).reshape(-1, geometry.size**2 * x.shape[3])


def _fold(shares: jax.Array, axis: int, geometry: Geometry, side: int) -> jax.Array:
    """Sums what windows along a side give to the same pixel.

    Tap `stride * a + r` of window `q` lies on pixel `stride * (q + a) + r` of the padded map: so a sum over `a` is one
    over few shifted arrays, and `r` counts the pixels within a stride.

    Args:
      shares: `[..., windows, (others,) k, C]` with the windows at `axis`, and the taps last but one.
      side: of the map.

    Returns:
      The same with `side` pixels at `axis`, and without taps.
    """
    size, stride, pad = geometry.size, geometry.stride, geometry.pad
    steps = geometry.phase_taps
    zero = jnp.zeros((), shares.dtype)
    total = None
    for step in range(steps):
        taps = jax.lax.slice_in_dim(shares, step * stride, min(step * stride + stride, size), axis=-2)
        borders = [(0, 0, 0)] * shares.ndim
        borders[axis] = (step, steps - 1 - step, 0)
        borders[-2] = (0, stride - taps.shape[-2], 0)
        shifted = jax.lax.pad(taps, zero, borders)
        total = shifted if total is None else total + shifted
    pixels = jnp.moveaxis(total, -2, axis + 1)
    pixels = pixels.reshape(*pixels.shape[:axis], -1, *pixels.shape[axis + 2 :])
    borders = [(0, 0, 0)] * pixels.ndim
    borders[axis] = (-pad, side + pad - pixels.shape[axis], 0)
    return jax.lax.pad(pixels, zero, borders)
