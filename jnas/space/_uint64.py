"""Counts up to 2^64 on devices that have 32-bit integers only.

A convolution of 192 to 192 channels with a 7x7 window on 32x32 pixels is already 1.9e9 MACs, and JAX computes in 32
bits unless a process-wide switch is thrown. A wide count is a pair of uint32 `(high, low)`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

Wide = tuple[jax.Array, jax.Array]


def multiply(a: jax.Array, b: jax.Array) -> Wide:
    """The product of two uint32, exactly (schoolbook, in halves of 16 bits)."""
    a, b = a.astype(jnp.uint32), b.astype(jnp.uint32)
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    middle = a_high * b_low + (a_low * b_low >> 16)
    carry = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (carry >> 16), a * b


def widen(a: jax.Array) -> Wide:
    """A 32-bit count as a wide one."""
    low = a.astype(jnp.uint32)
    return jnp.zeros_like(low), low


def add(a: Wide, b: Wide) -> Wide:
    """The sum, modulo 2^64."""
    low = a[1] + b[1]
    return a[0] + b[0] + (low < a[1]).astype(jnp.uint32), low


def only(where: jax.Array, a: Wide) -> Wide:
    """The count where `where` holds, else 0."""
    return tuple(jnp.where(where, part, jnp.uint32(0)) for part in a)


def at_most(a: Wide, limit: int) -> jax.Array:
    """Whether a count is `limit` or less."""
    high, low = (jnp.uint32(part) for part in divmod(limit, 1 << 32))
    return (a[0] < high) | ((a[0] == high) & (a[1] <= low))


def to_float(a: Wide) -> jax.Array:
    """The count as float32, rounded."""
    return a[0].astype(jnp.float32) * 4294967296.0 + a[1].astype(jnp.float32)


def to_numpy(a: Wide) -> np.ndarray:
    """The exact count as uint64, on the host."""
    return (np.asarray(a[0]).astype(np.uint64) << np.uint64(32)) | np.asarray(a[1]).astype(np.uint64)
