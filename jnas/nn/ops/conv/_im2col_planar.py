"""Kernel gradient by im2col with a row for each kernel offset and channel, for images.

Maps of few channels have pixels too short to be copied one by one. Here whole rows of a channel are copied.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import pad_maps
from jnas.nn.ops.conv._geometry import Geometry


def kernel_gradient(
    x: Float[Array, "n h w c"], gradient: Float[Array, "n h_out w_out o"], geometry: Geometry
) -> Float[Array, "k k c o"]:
    """Returns the gradient of the kernel, given that of the output."""
    size, stride, (rows, columns) = geometry.kernel_size, geometry.stride, geometry.out_size
    planes = optimization_barrier(pad_maps(x, geometry.padding).transpose(3, 0, 1, 2))
    for axis, count in ((-1, columns), (-2, rows)):
        slices = [jax.lax.slice_in_dim(planes, i, i + (count - 1) * stride + 1, stride, axis) for i in range(size)]
        planes = optimization_barrier(jnp.stack(slices))  # [k, c, n, h, w_out], then [k, k, c, n, h_out, w_out]
    product = planes.reshape(size**2 * x.shape[3], -1) @ gradient.reshape(-1, gradient.shape[3])
    return product.reshape(size, size, x.shape[3], -1)
