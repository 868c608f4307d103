"""Convolution by im2col: the pixels of each window are a row of a matrix, and the convolution is one matrix product.

The input gradient sums overlapping windows (col2im) along one side of the maps after the other, in `2 k` passes over
memory instead of `k ** 2`. Under `vmap` with a kernel for each lane everything becomes batched matrix products.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import pad_maps, strided_slice
from jnas.nn.ops.conv._geometry import Geometry, Kernel, Maps, OutMaps

# Measured on an NVIDIA H100 with jaxlib 0.11.2.
_TILE = 64
"""Rows and columns of a matrix product that one multiprocessor of a GPU computes."""
_MIN_TILES = 256
"""Tiles that occupy a large GPU."""
_MIN_ROWS_PER_GROUP = 512
"""Windows from which a group of images is worth a product of its own."""


def forward(x: Maps, kernel: Kernel, geometry: Geometry) -> OutMaps:
    y = _im2col(x, geometry) @ kernel.reshape(-1, geometry.out_channels)
    return y.reshape(len(x), *geometry.out_size, -1)


def input_gradient(gradient: OutMaps, kernel: Kernel, geometry: Geometry) -> Maps:
    count, *out_size, out_channels = gradient.shape
    channels, size = geometry.in_channels, geometry.kernel_size
    windows = gradient.reshape(-1, out_channels) @ kernel.reshape(-1, out_channels).T
    windows = optimization_barrier(windows).reshape(count, *out_size, size, size * channels)
    rows = optimization_barrier(_sum_overlaps(windows, 1, geometry, geometry.height))
    rows = rows.reshape(count, geometry.height, out_size[1], size, channels)
    return _sum_overlaps(rows, 2, geometry, geometry.width)


def kernel_gradient(x: Maps, gradient: OutMaps, geometry: Geometry) -> Kernel:
    rows, columns = _im2col(x, geometry), gradient.reshape(-1, geometry.out_channels)
    groups = 1 if jax.default_backend() == "cpu" else _num_groups(len(x), len(rows), rows.shape[1], columns.shape[1])
    if groups == 1:
        product = rows.T @ columns
    else:
        rows, columns = (array.reshape(groups, -1, array.shape[1]) for array in (rows, columns))
        product = optimization_barrier(jnp.einsum("gnk,gno->gko", rows, columns)).sum(0)
    return product.reshape(geometry.kernel_shape)


def kernel_gradient_planar(x: Maps, gradient: OutMaps, geometry: Geometry) -> Kernel:
    """For images, whose pixels are too short to be copied one by one: whole rows of a channel are copied."""
    size, stride, (rows, columns) = geometry.kernel_size, geometry.stride, geometry.out_size
    planes = optimization_barrier(pad_maps(x, geometry.padding).transpose(3, 0, 1, 2))
    for axis, count in ((-1, columns), (-2, rows)):
        slices = [jax.lax.slice_in_dim(planes, i, i + (count - 1) * stride + 1, stride, axis) for i in range(size)]
        planes = optimization_barrier(jnp.stack(slices))  # [k, c, n, h, w_out], then [k, k, c, n, h_out, w_out]
    product = planes.reshape(size**2 * x.shape[3], -1) @ gradient.reshape(-1, gradient.shape[3])
    return product.reshape(geometry.kernel_shape)


def _num_groups(images: int, rows: int, kernel_elements: int, out_channels: int) -> int:
    """Returns into how many groups of images (a divisor) a kernel gradient is split, whose products are summed.

    The product of `kernel_elements` (`k * k * c`) to `out_channels` is small and its sums over `rows` (windows of all
    images) are long, so a GPU would compute it on a few of its multiprocessors.
    """
    tiles = math.ceil(kernel_elements / _TILE) * math.ceil(out_channels / _TILE)
    most = min(_MIN_TILES // tiles, rows // _MIN_ROWS_PER_GROUP)
    return max((n for n in range(1, images + 1) if images % n == 0 and n <= most), default=1)


def _im2col(x: Maps, geometry: Geometry) -> Float[Array, "n_windows kkc"]:
    """Returns the pixels of each window as a row."""
    padded = pad_maps(x, geometry.padding)
    offsets = [(i, j) for i in range(geometry.kernel_size) for j in range(geometry.kernel_size)]
    slices = [strided_slice(padded, offset, geometry.stride, geometry.out_size) for offset in offsets]
    columns = optimization_barrier(jnp.concatenate(slices, -1))
    return columns.reshape(-1, geometry.kernel_size**2 * geometry.in_channels)


def _sum_overlaps(windows: Array, axis: int, geometry: Geometry, side: int) -> Array:
    """Returns the sum of what the windows along one side of the map hold for the same pixel.

    `windows` are `[..., windows, (...,) kernel_size, channels]` with the windows at `axis`: 1 for rows of the map, 2
    for columns. The result has `side` pixels at `axis`, and no axis of kernel offsets.

    Offset `stride * a + r` of window `q` is pixel `stride * (q + a) + r` of the padded map. So the sum over `a` adds a
    few shifted arrays, and `r` counts the pixels within a stride.
    """
    size, stride, padding = geometry.kernel_size, geometry.stride, geometry.padding
    strides = -(-size // stride)  # that a window covers, the last one perhaps in part
    zero = total = jnp.zeros((), windows.dtype)
    for a in range(strides):
        offsets = jax.lax.slice_in_dim(windows, a * stride, min(a * stride + stride, size), axis=-2)
        borders = [(0, 0, 0)] * windows.ndim
        borders[axis] = (a, strides - 1 - a, 0)
        borders[-2] = (0, stride - offsets.shape[-2], 0)
        shifted = jax.lax.pad(offsets, zero, borders)
        total = total + shifted if a else shifted
    pixels = jnp.moveaxis(total, -2, axis + 1)
    pixels = pixels.reshape(*pixels.shape[:axis], -1, *pixels.shape[axis + 2 :])
    borders = [(0, 0, 0)] * pixels.ndim
    borders[axis] = (-padding, side + padding - pixels.shape[axis], 0)
    return jax.lax.pad(pixels, zero, borders)
