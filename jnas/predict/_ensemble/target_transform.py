"""The transform of targets to a scale that a network learns well."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_POWERS = np.arange(-1.0, 4.01, 0.25)


class TargetTransform(NamedTuple):
    """Yeo and Johnson's power transform (2000) between two standardisations: it makes a skewed target nearly normal.

    Attributes:
      mean: of the targets.
      std: of the targets.
      power: 1 changes nothing; more stretches the upper end, less the lower one.
      power_mean: mean after the power.
      power_std: standard deviation after the power.
      low: the smallest transformed target; predictions far below it are clipped.
      high: the largest transformed target; predictions far above it are clipped.
    """

    mean: jax.Array
    std: jax.Array
    power: jax.Array
    power_mean: jax.Array
    power_std: jax.Array
    low: jax.Array
    high: jax.Array

    @classmethod
    def fit(cls, targets: Float[Array, " n"], mask: Float[Array, " n"], power: bool) -> TargetTransform:
        """Returns the transform of the targets whose mask is 1, with the likeliest power or without one."""
        mean, std = mean_std(targets, mask)
        std = jnp.maximum(std, 1e-12)
        standardised = (targets - mean) / std

        def likelihood(power):
            _, power_std = mean_std(_yeo_johnson(standardised, power), mask)
            jacobian = (jnp.sign(standardised) * jnp.log1p(jnp.abs(standardised)) * mask).sum() / mask.sum()
            return (power - 1) * jacobian - jnp.log(power_std)

        powers = jnp.asarray(_POWERS, jnp.float32)
        best = powers[jnp.argmax(jax.vmap(likelihood)(powers))] if power else jnp.float32(1)
        powered = _yeo_johnson(standardised, best)
        power_mean, power_std = mean_std(powered, mask)
        scaled = (powered - power_mean) / power_std
        low, high = jnp.where(mask > 0, scaled, jnp.inf).min(), jnp.where(mask > 0, scaled, -jnp.inf).max()
        return cls(mean, std, best, power_mean, power_std, low, high)

    def forward(self, targets: Float[Array, " *n"]) -> Float[Array, " *n"]:
        """Returns targets on the scale of the network."""
        return (_yeo_johnson((targets - self.mean) / self.std, self.power) - self.power_mean) / self.power_std

    def inverse(self, values: Float[Array, " *n"]) -> Float[Array, " *n"]:
        """Returns the network's values in the unit of the targets, clipped to little more than their range."""
        margin = 0.2 * (self.high - self.low)
        powered = jnp.clip(values, self.low - margin, self.high + margin) * self.power_std + self.power_mean
        return _inverse_yeo_johnson(powered, self.power) * self.std + self.mean


def mean_std(
    values: Float[Array, " n *f"], mask: Float[Array, " n *#f"]
) -> tuple[Float[Array, " *f"], Float[Array, " *f"]]:
    """Returns mean and standard deviation over the rows whose mask is 1."""
    total = jnp.maximum(mask.sum(0), 1)
    mean = (values * mask).sum(0) / total
    return mean, jnp.sqrt((jnp.square(values - mean) * mask).sum(0) / total)


def _yeo_johnson(x: jax.Array, power: jax.Array) -> jax.Array:
    def transform(size, p):
        nonzero = jnp.where(jnp.abs(p) < 1e-6, 1.0, p)
        return jnp.where(jnp.abs(p) < 1e-6, jnp.log1p(size), (jnp.power(1 + size, nonzero) - 1) / nonzero)

    return jnp.where(x >= 0, transform(jnp.maximum(x, 0), power), -transform(jnp.maximum(-x, 0), 2 - power))


def _inverse_yeo_johnson(z: jax.Array, power: jax.Array) -> jax.Array:
    def invert(size, p):
        nonzero = jnp.where(jnp.abs(p) < 1e-6, 1.0, p)
        # A negative power has an asymptote, which no value reaches.
        base = jnp.maximum(1 + nonzero * size, 1e-3)
        return jnp.where(jnp.abs(p) < 1e-6, jnp.expm1(size), jnp.power(base, 1 / nonzero) - 1)

    return jnp.where(z >= 0, invert(jnp.maximum(z, 0), power), -invert(jnp.maximum(-z, 0), 2 - power))
