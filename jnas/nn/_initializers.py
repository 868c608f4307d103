"""Initial weights, drawn on the host.

XLA compiles each random operation anew, and every template has another set of shapes: the initial weights alone would
take as long to compile as the training step. NumPy needs no compiler, and draws the same weights on every device.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Float32 of `shape`, uniform within 1 / sqrt(fan_in): PyTorch's default for weights and biases.

    For the weights this is Kaiming's uniform initialisation with slope sqrt(5) (He et al. 2015, arXiv:1502.01852).
    Works under jit and vmap too, and draws the same numbers there.
    """
    bound = fan_in**-0.5

    def draw(key_data: jax.Array | np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(np.asarray(key_data))
        return generator.uniform(-bound, bound, shape).astype(np.float32)

    data = jax.random.key_data(key)
    if isinstance(data, Tracer):
        return jax.pure_callback(draw, jax.ShapeDtypeStruct(shape, jnp.float32), data, vmap_method="sequential")
    return jax.device_put(draw(data))  # `jnp.asarray` would compile a program for each shape


def constant(size: int, value: float) -> jax.Array:
    """Float32 `[size]`, all `value`, without a compiled program."""
    return jax.device_put(np.full(size, value, np.float32))
