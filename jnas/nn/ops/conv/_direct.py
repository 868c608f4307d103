"""Convolution by XLA's own operation, and its transposes."""

import jax

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import pad_maps
from jnas.nn.ops.conv._geometry import Geometry, Kernel, Maps, OutMaps


def forward(x: Maps, kernel: Kernel, geometry: Geometry) -> OutMaps:
    strides, border = (geometry.stride, geometry.stride), (geometry.padding, geometry.padding)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, [border, border], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def forward_padded(x: Maps, kernel: Kernel, geometry: Geometry) -> OutMaps:
    x, geometry = _write_padding(x, geometry)
    return forward(x, kernel, geometry)


def input_gradient(gradient: OutMaps, kernel: Kernel, geometry: Geometry) -> Maps:
    shape = (len(gradient), geometry.height, geometry.width, geometry.in_channels)
    x = jax.ShapeDtypeStruct(shape, gradient.dtype)
    return jax.linear_transpose(lambda x: forward(x, kernel, geometry), x)(gradient)[0]


def kernel_gradient(x: Maps, gradient: OutMaps, geometry: Geometry) -> Kernel:
    if max(geometry.out_size) > geometry.height:
        # The output map is the kernel of this convolution. Where it is larger than the input map, XLA swaps them, which
        # takes many times as long.
        x, geometry = _write_padding(x, geometry)
    kernel = jax.ShapeDtypeStruct(geometry.kernel_shape, x.dtype)
    return jax.linear_transpose(lambda kernel: forward(x, kernel, geometry), kernel)(gradient)[0]


def _write_padding(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    x = optimization_barrier(pad_maps(x, geometry.padding))
    return x, geometry._replace(height=x.shape[1], width=x.shape[2], padding=0)
