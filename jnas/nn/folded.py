"""Modules whose architecture is partly run-time data, so that different templates are lanes of one program.

Each holds `Gene`s, numbers that travel with the lane and are not trained, and weights in the shapes of the hull, the
template that all lanes fit in. What a lane does not have is zero: a smaller kernel is a larger one with a ring of
zeros, whose gradient a mask stops; fewer channels are more channels whose weights are zero in and out. Those need no
mask: a channel that is zero and that nobody listens to gets a zero gradient, so it stays zero.

A module is made from the hull's layer and the template's own module (`None` where the template has no such layer), and
gives the trained weights back by `unfold`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas.nn import _modules as modules
from jnas.nn.ops._barriers import materialise_gradient
from jnas.nn.ops._linear import linear
from jnas.nn.ops.conv._conv2d import conv2d


class Gene(nnx.Variable):
    """Run-time data of a lane's architecture; it is not trained."""


def gene(value: object, dtype: type = np.float32) -> Gene:
    """Run-time data, made without a compiled program."""
    return Gene(jax.device_put(np.asarray(value, dtype)))


def padded(array: jax.Array | None, shape: tuple[int, ...]) -> np.ndarray:
    """The array with zeros behind it, up to `shape`; nothing but zeros without one."""
    if array is None:
        return np.zeros(shape, np.float32)
    array = np.asarray(array)
    return np.pad(array, [(0, want - have) for have, want in zip(array.shape, shape, strict=True)])


def param(array: np.ndarray) -> nnx.Param:
    """Float32 weights, made without a compiled program."""
    return nnx.Param(jax.device_put(np.asarray(array, np.float32)))


def cropped(array: jax.Array, like: nnx.Variable) -> jax.Array:
    """The first corner of an array, in the shape of `like`."""
    return jax.device_put(np.asarray(array)[tuple(slice(n) for n in like.shape)])


class Conv2d(nnx.Module):
    """A convolution of up to `size` pixels and `out_channels` channels, on up to `channels`."""

    def __init__(self, channels: int, out_channels: int, size: int, stride: int, pad: int, own: modules.Conv2d):
        kernel = np.asarray(own.kernel[...])
        ring = (size - kernel.shape[0]) // 2
        kernel = np.pad(kernel, ((ring, ring), (ring, ring), (0, 0), (0, 0)))
        self.kernel = param(padded(kernel, (size, size, channels, out_channels)))
        self.bias = param(padded(own.bias[...], (out_channels,)))
        inside = np.abs(np.arange(size) * 2 - (size - 1)) <= size - 1 - 2 * ring
        self.taps = gene(inside[:, None] & inside)
        self.stride, self.pad = stride, pad

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        kernel = kernel * self.taps[...].astype(kernel.dtype)[:, :, None, None]
        return materialise_gradient(conv2d(x, kernel, self.stride, self.pad) + self.bias[...])

    def unfold(self, own: modules.Conv2d) -> None:
        """Writes the trained weights into the template's own module."""
        ring = (self.kernel.shape[0] - own.kernel.shape[0]) // 2
        inside = slice(ring, self.kernel.shape[0] - ring)
        own.kernel[...] = cropped(np.asarray(self.kernel[...])[inside, inside], own.kernel)
        own.bias[...] = cropped(self.bias[...], own.bias)


Maps = tuple[tuple[int, int], tuple[int, int]]
"""Positions and channels of a flattened map: the lane's, and those of the hull."""


class Linear(nnx.Module):
    """A fully connected layer of up to `out_features`, on up to `features`; `maps` where those are a flattened map."""

    def __init__(self, features: int, out_features: int, maps: Maps | None, own: modules.Linear | None):
        kernel, bias = (None, None) if own is None else (np.asarray(own.kernel[...]), own.bias[...])
        if maps and own is not None:
            mine, hulls = maps
            kernel = padded(kernel.reshape(*mine, -1), (*hulls, kernel.shape[1])).reshape(-1, kernel.shape[1])
        self.kernel = param(padded(kernel, (features, out_features)))
        self.bias = param(padded(bias, (out_features,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return linear(x, self.kernel[...]) + self.bias[...]

    def unfold(self, own: modules.Linear, maps: Maps | None = None) -> None:
        """Writes the trained weights into the template's own module."""
        kernel = np.asarray(self.kernel[...])
        if maps:
            (positions, channels), hull = maps
            kernel = kernel[: hull[0] * hull[1]].reshape(*hull, -1)[:positions, :channels]
            kernel = kernel.reshape(-1, kernel.shape[-1])
        own.kernel[...] = cropped(kernel, own.kernel)
        own.bias[...] = cropped(self.bias[...], own.bias)


@jax.custom_vjp
def _tied(slopes: jax.Array, shared: jax.Array) -> jax.Array:
    """The slopes; where `shared` is one, their gradients are summed, so that equal slopes stay equal."""
    return slopes


def _tied_backward(shared, gradient):
    total = jnp.broadcast_to(gradient.sum(), gradient.shape)
    return jnp.where(shared > 0, total, gradient), jnp.zeros_like(shared)


_tied.defvjp(lambda slopes, shared: (slopes, shared), _tied_backward)


class Activation(nnx.Module):
    """Any of ReLU, LeakyReLU and PReLU: `x` where positive, a slope times `x` elsewhere. Or none, which is slope 1."""

    def __init__(self, channels: int, own: modules.LeakyReLU | modules.PReLU | None):
        learned = isinstance(own, modules.PReLU)
        slopes = np.asarray(own.slope[...]) if learned else np.zeros(1, np.float32)
        shared = slopes.size == 1
        self.slope = param(np.full(channels, slopes[0]) if shared else padded(slopes, (channels,)))
        self.learned, self.shared = gene(learned), gene(shared)
        self.constant = gene(0.0 if learned else 1.0 if own is None else own.slope)

    def __call__(self, x: jax.Array) -> jax.Array:
        slope = jnp.where(self.learned[...] > 0, _tied(self.slope[...], self.shared[...].astype(x.dtype)), 0)
        slope = slope + self.constant[...].astype(x.dtype)
        return materialise_gradient(jnp.where(x > 0, x, slope * x))

    def unfold(self, own: modules.LeakyReLU | modules.PReLU) -> None:
        """Writes the trained slopes into the template's own module."""
        if isinstance(own, modules.PReLU):
            own.slope[...] = cropped(self.slope[...], own.slope)


class BatchNorm2d(modules.BatchNorm2d):
    """Batch normalisation that a lane may do without."""

    def __init__(self, channels: int, own: modules.BatchNorm2d | None):
        super().__init__(channels)
        self.active = gene(own is not None)
        if own is not None:
            for name in ("scale", "bias", "mean", "var"):
                getattr(self, name)[...] = jax.device_put(padded(getattr(own, name)[...], (channels,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(self.active[...] > 0, super().__call__(x), x)

    def unfold(self, own: modules.BatchNorm2d) -> None:
        """Writes the trained weights and statistics into the template's own module."""
        for name in ("scale", "bias", "mean", "var"):
            variable = getattr(own, name)
            variable[...] = cropped(getattr(self, name)[...], variable)


class Dropout(modules.Dropout):
    """Dropout at a rate that is a lane's; 0 where it has none."""

    def __init__(self, whole_channels: bool, own: modules.Dropout | None):
        super().__init__(0.0, whole_channels, nnx.Rngs(0) if own is None else own.rngs)
        self.probability = gene(0.0 if own is None else own.rate)

    def _rate(self) -> jax.Array:
        return self.probability[...]

    def unfold(self, own: modules.Dropout) -> None:
        """There is nothing to write: dropout has no weights."""
