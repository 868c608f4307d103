"""The layers as `flax.nnx` modules with PyTorch's numerics.

Maps are `[N, H, W, C]`, vectors `[N, F]`. What differs from the modules that Flax ships is what differs between Flax
and PyTorch: initial weights, the running variance of batch norm (unbiased in PyTorch), and padding rules. As
everywhere in nnx, `model.train()` and `model.eval()` switch batch norm and dropout.

Initial weights are drawn on the host. XLA compiles each random operation anew, and every template has another set of
shapes: the initial weights alone would take as long to compile as the training step. NumPy needs no compiler, and draws
the same weights on every device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from jnas._runtime import random as draws
from jnas.nn.ops import BATCH_NORM_EPSILON, Pair, backward_barrier, batch_norm, conv2d, linear, optimization_barrier

_MOMENTUM = 0.1  # the weight of a batch in batch norm's running averages; Flax writes 0.9


class RuntimeState(nnx.Variable):
    """A float32 scalar, or a random stream's raw key or counter: what a program is given and does not train.

    All are plain arrays, which any process can send and store.
    """


def _scalar(value: float) -> RuntimeState:
    return RuntimeState(jax.device_put(np.float32(value)))


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> nnx.Param:
    """Returns weights or biases, uniform within 1 / sqrt(fan_in) as PyTorch's are by default; works under jit and vmap.

    For the weights this is Kaiming's uniform initialisation with slope sqrt(5) (He et al. 2015, arXiv:1502.01852).
    """

    def draw(key_data: jax.Array | np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(np.asarray(key_data))
        return generator.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(np.float32)

    data = jax.random.key_data(rngs.params())
    if isinstance(data, Tracer):
        drawn = jax.ShapeDtypeStruct(shape, jnp.float32)
        return nnx.Param(jax.pure_callback(draw, drawn, data, vmap_method="sequential"))
    return nnx.Param(jax.device_put(draw(data)))  # `jnp.asarray` would compile a program for each shape


def _constant(size: int, value: float) -> jax.Array:
    return jax.device_put(np.full(size, value, np.float32))


class Conv2d(nnx.Module):
    """Convolution with a bias; the kernel is `[k, k, C_in, C_out]`. Of its map the first `out` windows are computed."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int, pad: int, out: Pair | None, rngs: nnx.Rngs
    ):
        fan_in = channels * kernel**2
        self.kernel = _uniform(rngs, (kernel, kernel, channels, out_channels), fan_in)
        self.bias = _uniform(rngs, (out_channels,), fan_in)
        self.stride, self.pad, self.out = stride, pad, out

    def __call__(self, x: jax.Array) -> jax.Array:
        return backward_barrier(conv2d(x, self.kernel[...], self.stride, self.pad, self.out) + self.bias[...])


class Linear(nnx.Module):
    """Fully connected layer; the kernel is `[F_in, F_out]`."""

    def __init__(self, features: int, out_features: int, rngs: nnx.Rngs):
        self.kernel = _uniform(rngs, (features, out_features), features)
        self.bias = _uniform(rngs, (out_features,), features)

    def __call__(self, x: jax.Array) -> jax.Array:
        return linear(x, self.kernel[...]) + self.bias[...]


class BatchNorm2d(nnx.Module):
    """Batch norm; the batch's biased variance normalises, and the running average takes the unbiased one."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(_constant(channels, 1.0))
        self.bias = nnx.Param(_constant(channels, 0.0))
        self.mean = nnx.BatchStat(_constant(channels, 0.0))
        self.var = nnx.BatchStat(_constant(channels, 1.0))
        self.use_running_average = False

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
            y = (x - mean) * (jax.lax.rsqrt(var + BATCH_NORM_EPSILON) * self.scale[...]) + self.bias[...]
            return y.astype(x.dtype)
        y, (mean, var) = batch_norm(x, self.scale[...], self.bias[...])
        count = x.size // x.shape[-1]
        unbiased = var * (count / max(count - 1, 1))
        self.mean[...] += _MOMENTUM * (mean - self.mean[...])
        self.var[...] += _MOMENTUM * (unbiased - self.var[...])
        return y


class LeakyReLU(nnx.Module):
    """`x` where positive, `slope * x` elsewhere; slope 0 is ReLU."""

    def __init__(self, slope: float = 0.0):
        self.slope = _scalar(slope)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.slope[...].astype(x.dtype) * x)


class PReLU(nnx.Module):
    """LeakyReLU with a learned slope, one for all or one a channel, from 0.25 (He et al. 2015, arXiv:1502.01852)."""

    def __init__(self, slopes: int):
        self.slope = nnx.Param(_constant(slopes, 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        return backward_barrier(jnp.where(x > 0, x, self.slope[...] * x))


class Dropout(nnx.Module):
    """Zeroes elements, or whole channels, with probability `rate`, and scales up the others (Srivastava et al. 2014).

    Differs from Flax' in its random numbers: a hash draws them (see `draws`), as JAX' own generator would take up to a
    fifth of a training step on a CPU; and channel by channel, so that the first draw the same however many follow.
    """

    def __init__(self, rate: float, whole_channels: bool, rngs: nnx.Rngs):
        self.rate, self.whole_channels = _scalar(rate), whole_channels
        self.key = RuntimeState(jax.random.key_data(rngs.dropout()))
        self.count = RuntimeState(jax.device_put(np.uint32(0)))
        self.deterministic = False

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.deterministic:
            return x
        keep = 1 - self.rate[...]
        others = x.shape[:1] if self.whole_channels else x.shape[:-1]
        key = jax.random.fold_in(jax.random.wrap_key_data(self.key[...]), self.count[...])
        self.count[...] += 1
        chances = draws.uniform(draws.words(key), 0, (x.shape[-1], *others))
        kept = jnp.moveaxis(chances < keep, 0, -1)
        if self.whole_channels:
            kept = optimization_barrier(kept)[:, None, None]  # else every pixel would draw it again
        return jnp.where(kept, x / jnp.asarray(keep, x.dtype), 0)


class Pool2d(nnx.Module):
    """A `pool` over windows: `max_pool` or `avg_pool`, with the arguments that follow the maps."""

    def __init__(self, pool: Callable[..., jax.Array], *windows: int | Pair | None):
        self.pool, self.windows = pool, windows

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.pool(x, *self.windows)


class GlobalAvgPool2d(nnx.Module):
    """Mean over each map."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.mean((1, 2), keepdims=True)


class Flatten(nnx.Module):
    """`[N, H, W, C]` to `[N, H W C]`; PyTorch's order is C, H, W, which only permutes the next layer's weights."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1)
