"""The choice of an algorithm for a convolution, without computing anything.

On a GPU all convolutions are matrix products: cuDNN is fast only once its many algorithms were tried, which takes ten
times as long as compiling all the rest. On a CPU the choice follows measurements by `benchmarks/operations.py`; what
was tried and given up is in `docs/decisions`.
"""

import math
from typing import Literal

from jnas.nn.ops.conv import _fft
from jnas.nn.ops.conv._geometry import Geometry

Pass = Literal["forward", "input_gradient", "kernel_gradient"]
Algorithm = Literal["direct", "direct_padded", "dense_matrix", "im2col", "im2col_planar", "fft"]

# Measured on two cores of an AMD EPYC (AVX-512) with jaxlib 0.10.2 at batch 256, unless a comment says otherwise.
_MAX_DENSE_ELEMENTS = 4_000_000
"""Elements of the largest matrix that stands for a whole convolution: 16 MB."""
_MAX_IM2COL_KERNEL = 2
"""Kernel size in pixels up to which im2col is faster than XLA's own convolution in all passes."""
_MAX_IM2COL_ELEMENTS = 1 << 20
"""Elements an image up to which the input gradient of a strided convolution may write windows to memory: 1 GiB a batch
of 256. XLA's own takes 1.5 to 6 times as long, but less memory."""
_MAX_PADDED_CHANNELS = 16
"""Input channels up to which a convolution is faster if its padding is written to memory first."""
_MAX_PLANAR_CHANNELS, _MAX_PLANAR_KERNEL = 4, 4
"""Input channels (those of images) and kernel size in pixels up to which planar im2col is the fastest kernel gradient:
12.7 instead of 22.2 ms on one core for 32x32x3 -> 64, 3x3."""


def choose_algorithm(geometry: Geometry, conv_pass: Pass, platform: str) -> Algorithm:
    """Returns the algorithm that computes one pass of a convolution on a platform of `jax.default_backend()`."""
    size, channels = geometry.kernel_size, geometry.in_channels
    if platform != "cpu" or size <= _MAX_IM2COL_KERNEL or _fits_dense_matrix(geometry, max_work=1):
        return choose_vmapped_algorithm(geometry)
    if _fft.is_profitable(geometry):
        return "fft"
    if conv_pass == "forward":
        return "direct_padded" if channels <= _MAX_PADDED_CHANNELS and geometry.padding else "direct"
    if conv_pass == "kernel_gradient":
        return "im2col_planar" if channels <= _MAX_PLANAR_CHANNELS and size <= _MAX_PLANAR_KERNEL else "direct"
    if _fits_dense_matrix(geometry, max_work=2):
        return "dense_matrix"
    # XLA swaps the operands of a convolution whose kernel is larger than its map, which then takes many times as long.
    small_map = min(geometry.out_size) <= size + 1
    im2col_elements = math.prod(geometry.out_size) * size**2 * channels
    strided = geometry.stride > 1 and im2col_elements <= _MAX_IM2COL_ELEMENTS
    return "im2col" if small_map or strided else "direct"


def choose_vmapped_algorithm(geometry: Geometry) -> Algorithm:
    """Returns the algorithm that computes a convolution whose kernels are vmapped, on every platform.

    XLA would make it a grouped convolution, whose forward pass is slow and whose gradients are slower
    (jax#26568, jax#13800). These algorithms become batched matrix products.
    """
    return "dense_matrix" if _fits_dense_matrix(geometry, max_work=1) else "im2col"


def _fits_dense_matrix(geometry: Geometry, max_work: int) -> bool:
    """Returns whether the dense matrix is small and takes at most `max_work` times the windows' multiplications."""
    pixels, out_pixels = geometry.height * geometry.width, math.prod(geometry.out_size)
    elements = pixels * geometry.in_channels * out_pixels * geometry.out_channels
    return elements <= _MAX_DENSE_ELEMENTS and pixels <= max_work * geometry.kernel_size**2
