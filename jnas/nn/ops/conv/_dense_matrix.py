"""Convolution as one matrix product of flattened maps.

Where the kernel covers most of the map, a convolution is nearly a fully connected layer, and its matrix has few zeros.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import num_windows
from jnas.nn.ops.conv._geometry import Geometry


def forward(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c o"], geometry: Geometry
) -> Float[Array, "n h_out w_out o"]:
    """Returns the convolution."""
    matrix = optimization_barrier(_dense_matrix(kernel, geometry))
    return (x.reshape(len(x), -1) @ matrix).reshape(len(x), *geometry.out_size, -1)


def input_gradient(
    gradient: Float[Array, "n h_out w_out o"], kernel: Float[Array, "k k c o"], geometry: Geometry
) -> Float[Array, "n h w c"]:
    """Returns the gradient of the input, given that of the output."""
    matrix = optimization_barrier(_dense_matrix(kernel, geometry))
    product = gradient.reshape(len(gradient), -1) @ matrix.T
    return product.reshape(len(gradient), geometry.height, geometry.width, -1)


def kernel_gradient(
    x: Float[Array, "n h w c"], gradient: Float[Array, "n h_out w_out o"], geometry: Geometry
) -> Float[Array, "k k c o"]:
    """Returns the gradient of the kernel, given that of the output."""
    size = geometry.kernel_size
    shape = (size, size, geometry.in_channels, geometry.out_channels)
    matrix_gradient = x.reshape(len(x), -1).T @ gradient.reshape(len(x), -1)
    transpose = jax.linear_transpose(lambda k: _dense_matrix(k, geometry), jax.ShapeDtypeStruct(shape, x.dtype))
    return transpose(matrix_gradient)[0]


def _dense_matrix(kernel: Array, geometry: Geometry) -> Float[Array, "hwc hwo"]:
    """Returns the matrix of the convolution: a row for each input pixel and channel, a column for each output."""
    rows, columns = (
        jnp.asarray(_incidence_tensor(side, geometry), kernel.dtype) for side in (geometry.height, geometry.width)
    )
    matrix = jnp.einsum("hok,wpl,klcd->hwcopd", rows, columns, kernel)
    return matrix.reshape(geometry.height * geometry.width * geometry.in_channels, -1)


def _incidence_tensor(side: int, geometry: Geometry) -> np.ndarray:
    """Returns `[side, out, kernel_size]`: 1 where a window reads an input pixel at a kernel offset, 0 elsewhere."""
    pixel = np.arange(side)[:, None, None] + geometry.padding
    window = np.arange(num_windows(side, geometry.kernel_size, geometry.stride, geometry.padding))[:, None]
    return (pixel - window * geometry.stride == np.arange(geometry.kernel_size)).astype(np.float32)
