"""Convolution as one matrix product of flattened maps.

Where the kernel covers most of the map, a convolution is nearly a fully connected layer, and its matrix has few zeros.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops.conv._geometry import Geometry, Kernel, Maps, OutMaps


def forward(x: Maps, kernel: Kernel, geometry: Geometry) -> OutMaps:
    matrix = optimization_barrier(_dense_matrix(kernel, geometry))
    return (x.reshape(len(x), -1) @ matrix).reshape(len(x), *geometry.out_size, -1)


def input_gradient(gradient: OutMaps, kernel: Kernel, geometry: Geometry) -> Maps:
    matrix = optimization_barrier(_dense_matrix(kernel, geometry))
    product = gradient.reshape(len(gradient), -1) @ matrix.T
    return product.reshape(len(gradient), geometry.height, geometry.width, -1)


def kernel_gradient(x: Maps, gradient: OutMaps, geometry: Geometry) -> Kernel:
    matrix_gradient = x.reshape(len(x), -1).T @ gradient.reshape(len(x), -1)
    kernel = jax.ShapeDtypeStruct(geometry.kernel_shape, x.dtype)
    return jax.linear_transpose(lambda kernel: _dense_matrix(kernel, geometry), kernel)(matrix_gradient)[0]


def _dense_matrix(kernel: Kernel, geometry: Geometry) -> Float[Array, "hwc hwo"]:
    """Returns the matrix of the convolution: a row for each input pixel and channel, a column for each output."""
    rows, columns = (
        jnp.asarray(_incidence_tensor(side, windows, geometry), kernel.dtype)
        for side, windows in zip((geometry.height, geometry.width), geometry.out_size, strict=True)
    )
    matrix = jnp.einsum("hok,wpl,klcd->hwcopd", rows, columns, kernel)
    return matrix.reshape(geometry.height * geometry.width * geometry.in_channels, -1)


def _incidence_tensor(side: int, windows: int, geometry: Geometry) -> np.ndarray:
    """Returns `[side, windows, kernel_size]`: 1 where a window reads an input pixel at a kernel offset, 0 elsewhere."""
    pixel = np.arange(side)[:, None, None] + geometry.padding
    first = np.arange(windows)[:, None] * geometry.stride
    return (pixel - first == np.arange(geometry.kernel_size)).astype(np.float32)
