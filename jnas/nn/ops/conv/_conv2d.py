"""Convolution on `[N, H, W, C]`: ways to compute it, chosen for each shape and device.

*window*: XLA's own convolution. *neighbours*: the same, of some pixels of a row at once. *patches*: the windows laid
out as rows of a matrix (im2col), then one matrix product. *dense*: where the window covers the whole map, a convolution
is nearly a fully connected layer, and one matrix product of flattened maps does less work than its windows would.
*phases*: the gradient of a strided convolution's input, as one convolution without stride. *spectral*: products of
Fourier spectra, whose arithmetic hardly depends on the window.

The rule (`_rule`) follows what was measured (benchmarks/RESULTS.md). On a GPU all convolutions are matrix products:
cuDNN is fast only after its many algorithms were tried, which takes ten times as long as compiling all the rest. Lanes
with kernels of their own never become a grouped convolution, which is slow forward and worse backward everywhere
(jax#26568, jax#13800): `custom_vmap` makes them patches or dense, so batched matrix products.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from jnas.nn.ops._barriers import optimization_barrier
from jnas.nn.ops._windows import Pair, out_size, pad_maps
from jnas.nn.ops.conv import _fft as spectral
from jnas.nn.ops.conv import _im2col as patches
from jnas.nn.ops.conv._shape import Geometry

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_FEW = 16
"""Channels up to which writing the padding out pays in the forward pass."""
_IMAGE = 4
"""Channels of images, at most."""
_MOVED = 28
"""Multiplications in whose time a number of a gradient's patches or phases is written, and read again."""
_ALIGNED = 4
"""Channels of which a GPU's tensor cores want a multiple."""


def conv2d(x: jax.Array, kernel: jax.Array, stride: int, pad: int, out: Pair | None = None) -> jax.Array:
    """Cross-correlation with a square window, as PyTorch's Conv2d without its bias.

    Args:
      x: `[N, H, W, C_in]`.
      kernel: `[k, k, C_in, C_out]`.
      stride, pad: in pixels.
      out: windows to compute, in rows and columns, from the first one on; all that fit where not given.

    Returns:
      `[N, (H + 2 pad - k) // stride + 1, (W + 2 pad - k) // stride + 1, C_out]`, or `[N, *out, C_out]`.
    """
    if out not in (None, tuple(out_size(side, kernel.shape[0], stride, pad) for side in x.shape[1:3])):
        ends = ((count - 1) * stride + kernel.shape[0] - pad for count in out)
        borders = [(pad, end - side, 0) for end, side in zip(ends, x.shape[1:3], strict=True)]
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *borders, (0, 0, 0)))
        x, pad = optimization_barrier(x) if pad else x, 0
    missing = -x.shape[3] % _ALIGNED
    if missing and jax.default_backend() != "cpu":
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return _conv2d(x, kernel, Geometry(*x.shape[1:], kernel.shape[3], kernel.shape[0], stride, pad))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv2d(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return _operation("forward", geometry)(x, kernel)


def _forward(x, kernel, geometry):
    return _conv2d(x, kernel, geometry), (x, kernel)


def _backward(geometry, residuals, gradient):
    x, kernel = residuals
    return (
        _operation("input", geometry)(gradient, kernel),
        _operation("kernel", geometry)(x, gradient),
    )


_conv2d.defvjp(_forward, _backward)


@functools.cache
def _operation(name: str, geometry: Geometry):
    """The forward pass or one of the two gradients, with a rule for lanes."""
    matrix = (_DENSE if geometry.suits_dense(most=1) else _PATCHES)[name]
    alone = _rule(name, geometry)

    @custom_vmap
    def operation(*arrays):
        return alone(*arrays, geometry)

    @operation.def_vmap
    def over_lanes(axis_size, in_batched, *arrays):
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(lambda *lane: matrix(*lane, geometry), axes)(*arrays), True

    return operation


# By XLA's convolution.


def _convolve(x: jax.Array, kernel: jax.Array, strides: Pair, pad) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, pad, dimension_numbers=_DIMENSIONS)


def _window_forward(x, kernel, geometry):
    return _convolve(x, kernel, (geometry.stride,) * 2, [(geometry.pad, geometry.pad)] * 2)


def _padded_forward(x, kernel, geometry):
    x, geometry = _padded(x, geometry)
    return _window_forward(x, kernel, geometry)


def _window_input(gradient, kernel, geometry):
    shape = (len(gradient), geometry.height, geometry.width, kernel.shape[2])
    transpose = jax.linear_transpose(
        lambda x: _window_forward(x, kernel, geometry), jax.ShapeDtypeStruct(shape, gradient.dtype)
    )
    return transpose(gradient)[0]


def _window_kernel(x, gradient, geometry):
    shape = (geometry.size, geometry.size, x.shape[3], gradient.shape[3])
    if max(geometry.out) > geometry.height:
        # Here the output map is the window, and XLA would swap operands: see `_rule`.
        x, geometry = _padded(x, geometry)
    transpose = jax.linear_transpose(
        lambda kernel: _window_forward(x, kernel, geometry), jax.ShapeDtypeStruct(shape, x.dtype)
    )
    return transpose(gradient)[0]


def _neighbours_forward(x, kernel, geometry):
    """A convolution of stride 1 that computes some neighbours of a row at once.

    Their windows lie in one that is a little wider, and they are one pixel of so many times the channels: more
    arithmetic, but in longer pieces.
    """
    size, pad, count = geometry.size, geometry.pad, _neighbours(geometry)
    channels, out_channels = kernel.shape[2:]
    groups = -(-geometry.out[1] // count)
    right = groups * count + size - 1 - geometry.width - pad
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (pad, pad, 0), (pad, right, 0), (0, 0, 0)))
    kernel = [jnp.pad(kernel, ((0, 0), (first, count - 1 - first), (0, 0), (0, 0))) for first in range(count)]
    kernel = jnp.stack(kernel, 3).reshape(size, size + count - 1, channels, count * out_channels)
    y = _convolve(optimization_barrier(x), optimization_barrier(kernel), (1, count), [(0, 0)] * 2)
    return y.reshape(len(x), geometry.out[0], groups * count, out_channels)[:, :, : geometry.out[1]]


def _neighbours(geometry: Geometry) -> int:
    """Pixels of a row to compute at once, as measured: two, or more where they fit the row."""
    if geometry.out[1] % 6 == 3:
        return 3
    return 4 if geometry.out[1] % 4 == 0 and geometry.size <= 5 and geometry.out_channels <= 32 else 2


def _padded(x, geometry):
    """The maps with their padding written out."""
    x = optimization_barrier(pad_maps(x, geometry.pad))
    return x, geometry._replace(height=x.shape[1], width=x.shape[2], pad=0)


def _phases_input(gradient, kernel, geometry):
    """The gradient of the input of a strided convolution, without stride.

    Input pixel `stride * q + r` of the padded map meets only the taps `stride * a + r` of the window: so each phase
    `r` is a convolution of stride 1, and all phases are the channels of a single one.
    """
    size, stride, pad = geometry.size, geometry.stride, geometry.pad
    counts, taps = _phase_counts(geometry), geometry.phase_taps
    channels, out_channels = kernel.shape[2:]
    fill = taps * stride - size
    kernel = jnp.pad(kernel, ((0, fill), (0, fill), (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, stride, taps, stride, channels, out_channels)[::-1, :, ::-1]
    kernel = kernel.transpose(0, 2, 5, 1, 3, 4).reshape(taps, taps, out_channels, stride**2 * channels)
    first = pad // stride
    borders = [
        (taps - 1 - first, count + first - out, 0) for count, out in zip(counts, gradient.shape[1:3], strict=True)
    ]
    zero = jnp.zeros((), gradient.dtype)
    gradient = jax.lax.pad(gradient, zero, ((0, 0, 0), *borders, (0, 0, 0)))
    maps = optimization_barrier(
        _convolve(optimization_barrier(gradient), optimization_barrier(kernel), (1, 1), [(0, 0)] * 2)
    )
    maps = maps.reshape(-1, *counts, stride, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    maps = maps.reshape(-1, counts[0] * stride, counts[1] * stride, channels)
    offset = pad - first * stride
    return maps[:, offset : offset + geometry.height, offset : offset + geometry.width]


def _phase_counts(geometry: Geometry) -> list[int]:
    """Rows and columns of each phase: from the `q` of the map's first pixel to that of its last."""
    stride, pad = geometry.stride, geometry.pad
    return [(n + pad - 1) // stride + 1 - pad // stride for n in (geometry.height, geometry.width)]


# As a fully connected layer.


def _meets(side: int, geometry: Geometry) -> np.ndarray:
    """`[side, out, k]` float32: one where an input pixel, an output pixel and a tap meet."""
    pixel = np.arange(side)[:, None, None] + geometry.pad
    out = np.arange(out_size(side, geometry.size, geometry.stride, geometry.pad))[:, None]
    return (pixel - out * geometry.stride == np.arange(geometry.size)).astype(np.float32)


def _matrix(kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution as one matrix, `[H W C, H_out W_out C_out]`."""
    rows, columns = (jnp.asarray(_meets(side, geometry), kernel.dtype) for side in (geometry.height, geometry.width))
    matrix = jnp.einsum("hok,wpl,klcd->hwcopd", rows, columns, kernel)
    return matrix.reshape(geometry.height * geometry.width * kernel.shape[2], -1)


def _dense_forward(x, kernel, geometry):
    return (x.reshape(len(x), -1) @ optimization_barrier(_matrix(kernel, geometry))).reshape(len(x), *geometry.out, -1)


def _dense_input(gradient, kernel, geometry):
    product = gradient.reshape(len(gradient), -1) @ optimization_barrier(_matrix(kernel, geometry)).T
    return product.reshape(len(gradient), geometry.height, geometry.width, -1)


def _dense_kernel(x, gradient, geometry):
    shape = (geometry.size, geometry.size, x.shape[3], gradient.shape[3])
    product = x.reshape(len(x), -1).T @ gradient.reshape(len(x), -1)
    transpose = jax.linear_transpose(lambda k: _matrix(k, geometry), jax.ShapeDtypeStruct(shape, x.dtype))
    return transpose(product)[0]


_WINDOW = {"forward": _window_forward, "input": _window_input, "kernel": _window_kernel}
_PATCHES = {"forward": patches.forward, "input": patches.input_gradient, "kernel": patches.kernel_gradient}
_DENSE = {"forward": _dense_forward, "input": _dense_input, "kernel": _dense_kernel}
_SPECTRAL = {"forward": spectral.forward, "input": spectral.input_gradient, "kernel": spectral.kernel_gradient}


def _rule(name: str, geometry: Geometry):
    """The way to compute a convolution that is not one of several lanes, on the default device."""
    if geometry.suits_dense(most=1):
        return _DENSE[name]
    if jax.default_backend() != "cpu":
        return _PATCHES[name]
    if spectral.suits(geometry):
        return _SPECTRAL[name]
    if geometry.size <= 2:
        return _PATCHES[name]
    return {"forward": _rule_forward, "input": _rule_input, "kernel": _rule_kernel}[name](geometry)


def _rule_forward(geometry: Geometry):
    if geometry.channels <= _IMAGE and geometry.stride == 1:
        return _neighbours_forward
    return _padded_forward if geometry.channels <= _FEW and geometry.pad else _window_forward


def _rule_input(geometry: Geometry):
    if geometry.suits_dense(most=2):
        return _dense_input
    if geometry.stride == 1:
        # XLA would swap the operands of a convolution whose window is larger than its map, at a ruinous price.
        return patches.input_gradient if min(geometry.out) <= geometry.size + 1 else _window_input
    windows, pixels = math.prod(geometry.out), math.prod(_phase_counts(geometry)) * geometry.stride**2
    by_patches = windows * geometry.size**2 * (geometry.out_channels + _MOVED)
    by_phases = pixels * (geometry.phase_taps**2 * geometry.out_channels + _MOVED)
    return patches.input_gradient if by_patches < by_phases else _phases_input


def _rule_kernel(geometry: Geometry):
    by_taps = geometry.channels <= _IMAGE and geometry.size <= 4
    return patches.kernel_gradient_by_taps if by_taps else _window_kernel
