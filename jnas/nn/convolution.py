"""Convolution on `[N, H, W, C]` with a gradient of its own.

On a CPU, XLA computes the gradient of the kernel as a convolution whose window is a whole feature map, and for some
shapes that is the slowest thing in the step. As one small matrix product for each tap of the window it takes about as
long as the forward pass (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad), (pad, pad)], dimension_numbers=_DIMENSIONS
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_by_taps(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    return _convolve(x, kernel, stride, pad)


def _forward(x, kernel, stride, pad):
    return _convolve(x, kernel, stride, pad), (x, kernel)


def _backward(stride, pad, residuals, gradient):
    x, kernel = residuals
    _, transpose = jax.vjp(lambda x: _convolve(x, kernel, stride, pad), x)
    return transpose(gradient)[0], _kernel_gradient(x, gradient, kernel.shape[0], stride, pad)


_convolve_by_taps.defvjp(_forward, _backward)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, size: int, stride: int, pad: int) -> jax.Array:
    """The gradient of the kernel, `[size, size, C_in, C_out]`, tap by tap."""
    count, height, width, out_channels = gradient.shape
    channels = x.shape[3]
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = gradient.reshape(-1, out_channels)

    def tap(i: int, j: int) -> jax.Array:
        last = (count, i + (height - 1) * stride + 1, j + (width - 1) * stride + 1, channels)
        seen = jax.lax.slice(padded, (0, i, j, 0), last, (1, stride, stride, 1))
        return seen.reshape(-1, channels).T @ rows

    taps = [tap(i, j) for i in range(size) for j in range(size)]
    return jnp.stack(taps).reshape(size, size, channels, out_channels)


def conv2d(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
    """Cross-correlation with a square window, as PyTorch's Conv2d without its bias.

    Args:
      x: `[N, H, W, C_in]`.
      kernel: `[k, k, C_in, C_out]`.
      stride, pad: in pixels.

    Returns:
      `[N, (H + 2 pad - k) // stride + 1, (W + 2 pad - k) // stride + 1, C_out]`.
    """
    by_taps = jax.default_backend() == "cpu"
    return (_convolve_by_taps if by_taps else _convolve)(x, kernel, stride, pad)
