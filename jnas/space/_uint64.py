"""Counts up to 2^64 on devices that compute in 32 bits.

A convolution of 192 to 192 channels with a 7x7 window on 32x32 pixels already takes 1.9e9 MACs, and JAX computes in 32
bits unless a process-wide switch is set.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UInt64:
    """Unsigned 64-bit integers: the upper and the lower 32 bits, uint32 of one shape."""

    high: jax.Array
    low: jax.Array

    @classmethod
    def from_integers(cls, a: Integer[Array, "*shape"]) -> UInt64:
        """Returns non-negative 32-bit integers as 64-bit ones."""
        low = a.astype(jnp.uint32)
        return cls(jnp.zeros_like(low), low)

    @classmethod
    def product(cls, a: Integer[Array, "*shape"], b: Integer[Array, "*shape"]) -> UInt64:
        """Returns the exact product of non-negative 32-bit integers (schoolbook, in halves of 16 bits)."""
        a, b = a.astype(jnp.uint32), b.astype(jnp.uint32)
        a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
        middle = a_high * b_low + (a_low * b_low >> 16)
        carry = a_low * b_high + (middle & 0xFFFF)
        return cls(a_high * b_high + (middle >> 16) + (carry >> 16), a * b)

    def __add__(self, other: UInt64) -> UInt64:
        """Returns the sum, modulo 2^64."""
        low = self.low + other.low
        return UInt64(self.high + other.high + (low < self.low).astype(jnp.uint32), low)

    def __le__(self, limit: int) -> Bool[Array, "*shape"]:
        """Returns whether the integers are at most `limit`."""
        high, low = (jnp.uint32(part) for part in divmod(min(limit, (1 << 64) - 1), 1 << 32))
        return (self.high < high) | ((self.high == high) & (self.low <= low))

    def to_float(self) -> Float[Array, "*shape"]:
        """Returns the integers as float32, rounded."""
        return self.high.astype(jnp.float32) * 4294967296.0 + self.low.astype(jnp.float32)

    def to_numpy(self) -> np.ndarray:
        """Returns the exact integers as uint64 on the host."""
        high, low = (np.asarray(half).astype(np.uint64) for half in (self.high, self.low))
        return np.asarray((high << np.uint64(32)) | low)
