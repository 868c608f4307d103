"""Rows of a table in the form that the members of an ensemble read."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from jnas.predict._ensemble.early_curve import count_observed
from jnas.predict._ensemble.target_transform import mean_std


class FeatureScaler(NamedTuple):
    """The standardisation of sequences.

    Attributes:
      mean: `[D]` of each feature over the valid steps.
      std: `[D]` of each feature over the valid steps, 1 for a constant feature.
    """

    mean: jax.Array
    std: jax.Array

    @classmethod
    def fit(cls, sequences: Num[Array, "n t d"], lengths: Int[Array, " n"], mask: Float[Array, " n"]) -> FeatureScaler:
        """Returns the scaler of the rows whose mask is 1."""
        num_features = sequences.shape[-1]
        valid = (jnp.arange(sequences.shape[1]) < lengths[:, None])[..., None] * mask[:, None, None]
        mean, std = mean_std(
            sequences.reshape(-1, num_features).astype(jnp.float32),
            jnp.broadcast_to(valid, sequences.shape).reshape(-1, num_features),
        )
        return cls(mean, jnp.where(std > 1e-6, std, 1.0))

    def __call__(self, sequences: Num[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Returns standardised sequences, clipped to five standard deviations."""
        return jnp.clip((sequences.astype(jnp.float32) - self.mean) / self.std, -5, 5)


class Rows(NamedTuple):
    """Rows in the form that the members read.

    Attributes:
      steps: `[N, T, D]` standardised sequences.
      lengths: `[N]` valid steps.
      early: `[N, E]` early accuracies, 0 where not observed.
      num_observed: `[N]` observed epochs.
    """

    steps: jax.Array
    lengths: jax.Array
    early: jax.Array
    num_observed: jax.Array

    @classmethod
    def make(cls, scaler: FeatureScaler, sequences: jax.Array, lengths: jax.Array, early: jax.Array) -> Rows:
        """Returns standardised rows."""
        return cls(scaler(sequences), lengths, jnp.nan_to_num(early), count_observed(early))
