"""Rows and targets on the scale that a network learns well."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

LARGEST_FEATURE = 5.0
"""In standard deviations."""
_POWERS = np.arange(-1.0, 4.01, 0.25)


class FeatureScaler(NamedTuple):
    """The standardisation of sequences: mean and standard deviation of each of D features over the valid steps."""

    mean: jax.Array
    std: jax.Array

    @classmethod
    def fit(cls, sequences: Num[Array, "n t d"], lengths: Int[Array, " n"], mask: Float[Array, " n"]) -> FeatureScaler:
        """Returns the scaler of the rows whose mask is 1."""
        num_features = sequences.shape[-1]
        valid = (jnp.arange(sequences.shape[1]) < lengths[:, None])[..., None] * mask[:, None, None]
        mean, std = mean_std(sequences.reshape(-1, num_features).astype(jnp.float32), valid.reshape(-1, 1))
        return cls(mean, jnp.where(std > 1e-6, std, 1.0))

    def __call__(self, sequences: Num[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Returns standardised sequences, clipped to five standard deviations."""
        return jnp.clip((sequences.astype(jnp.float32) - self.mean) / self.std, -LARGEST_FEATURE, LARGEST_FEATURE)


class Rows(NamedTuple):
    """Rows as the members read them: `[N, T, D]` standardised sequences and `[N, E]` early accuracies.

    `lengths` `[N]` steps are valid, and `num_observed` `[N]` epochs observed; the accuracies of others are 0.
    """

    steps: jax.Array
    lengths: jax.Array
    early: jax.Array
    num_observed: jax.Array

    @classmethod
    def make(cls, scaler: FeatureScaler, sequences: jax.Array, lengths: jax.Array, early: jax.Array) -> Rows:
        """Returns standardised rows; accuracies count as observed up to the first NaN."""
        num_observed = jnp.cumprod(~jnp.isnan(early), -1).sum(-1)
        return cls(scaler(sequences), lengths, jnp.nan_to_num(early), num_observed)


class TargetTransform(NamedTuple):
    """Yeo and Johnson's power transform (2000) between two standardisations: it makes a skewed target nearly normal.

    A power of 1 changes nothing; more stretches the upper end, less the lower one. `low` and `high` are the extreme
    transformed targets: predictions far beyond them are clipped.
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

    def inverse(self, values: Float[Array | np.ndarray, " *n"]) -> Any:
        """Returns the network's values in the unit of the targets, clipped to little more than their range.

        It is a NumPy array for NumPy's `values`, so that nothing is compiled for their shape.
        """
        xp = np if isinstance(values, np.ndarray) else jnp
        mean, std, power, power_mean, power_std, low, high = map(xp.asarray, self)
        margin = 0.2 * (high - low)
        powered = xp.clip(values, low - margin, high + margin) * power_std + power_mean
        with np.errstate(over="ignore"):  # in the branch that does not count
            return _inverse_yeo_johnson(powered, power, xp) * std + mean


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


def _inverse_yeo_johnson(z: Any, power: Any, xp: Any) -> Any:
    """Computed by `xp`, which is the module of JAX or of NumPy."""

    def invert(size, p):
        nonzero = xp.where(xp.abs(p) < 1e-6, xp.float32(1), p)
        # A negative power has an asymptote, which no value reaches.
        base = xp.maximum(1 + nonzero * size, 1e-3)
        return xp.where(xp.abs(p) < 1e-6, xp.expm1(size), xp.power(base, 1 / nonzero) - 1)

    return xp.where(z >= 0, invert(xp.maximum(z, 0), power), -invert(xp.maximum(-z, 0), 2 - power))
