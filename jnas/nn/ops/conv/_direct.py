"""Convolution by XLA's own operation, and its transposes."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import pad_maps
from jnas.nn.ops.conv._geometry import Geometry


def forward(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c o"], geometry: Geometry
) -> Float[Array, "n h_out w_out o"]:
    """Returns the convolution."""
    strides, border = (geometry.stride, geometry.stride), (geometry.padding, geometry.padding)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, [border, border], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def forward_padded(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c o"], geometry: Geometry
) -> Float[Array, "n h_out w_out o"]:
    """Returns the convolution, whose padding is written to memory first."""
    x, geometry = _write_padding(x, geometry)
    return forward(x, kernel, geometry)


def input_gradient(
    gradient: Float[Array, "n h_out w_out o"], kernel: Float[Array, "k k c o"], geometry: Geometry
) -> Float[Array, "n h w c"]:
    """Returns the gradient of the input, given that of the output."""
    shape = (len(gradient), geometry.height, geometry.width, geometry.in_channels)
    transpose = jax.linear_transpose(
        lambda x: forward(x, kernel, geometry), jax.ShapeDtypeStruct(shape, gradient.dtype)
    )
    return transpose(gradient)[0]


def kernel_gradient(
    x: Float[Array, "n h w c"], gradient: Float[Array, "n h_out w_out o"], geometry: Geometry
) -> Float[Array, "k k c o"]:
    """Returns the gradient of the kernel, given that of the output."""
    size = geometry.kernel_size
    if max(geometry.out_size) > geometry.height:
        # The output map is the kernel of this convolution. Where it is larger than the input map, XLA swaps them, which
        # takes many times as long.
        x, geometry = _write_padding(x, geometry)
    shape = (size, size, geometry.in_channels, geometry.out_channels)
    transpose = jax.linear_transpose(lambda kernel: forward(x, kernel, geometry), jax.ShapeDtypeStruct(shape, x.dtype))
    return transpose(gradient)[0]


def _write_padding(x: Array, geometry: Geometry) -> tuple[Array, Geometry]:
    x = optimization_barrier(pad_maps(x, geometry.padding))
    return x, geometry._replace(height=x.shape[1], width=x.shape[2], padding=0)
