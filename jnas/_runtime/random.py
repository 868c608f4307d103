"""Many random numbers, quickly: quick to draw on a CPU, and quick to compile.

JAX's own generator is built to be hard to predict, and on a CPU it takes most of the time of sampling. Choosing among a
few values, dropout and initial weights need less: here a key gives two words, and a hash of them with a counter gives
the numbers.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jnas._validation import refuse


def check_key(key: Any) -> None:
    """Raises a JnasError if a value is no random key of JAX's."""
    is_new = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and not key.ndim
    if not is_new and not (isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.ndim == 1):
        refuse("key", "one random key", key, "make it with jax.random.key(seed)")


def words(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """`[*shape, 2]` uint32 that the other functions draw from; one call of JAX's generator."""
    return jax.random.bits(key, (*shape, 2))


def bits(words: jax.Array, stream: int | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform uint32 of a given shape; other streams of the same `[2]` words give others."""
    start = words[0] ^ _mixed(jnp.uint32(stream) + jnp.uint32(1))
    counter = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return _mixed(_mixed(counter + start) ^ words[1])


def uniform(words: jax.Array, stream: int | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform float32 from 0 to below 1, as `bits` draws them."""
    return (bits(words, stream, shape) >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def draws(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform integers from 0 to 65,535, of a given shape, int32."""
    return (bits(words(key), 0, shape) >> 16).astype(jnp.int32)


def choices(key: jax.Array, counts: jax.Array) -> jax.Array:
    """For each of `counts` (1 to 32,767) an integer from 0 to below it, int32."""
    return draws(key, counts.shape) * counts >> 16


def _mixed(x: jax.Array) -> jax.Array:
    """A bijection of uint32 that makes neighbours unlike (Wellons 2018, "lowbias32")."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
