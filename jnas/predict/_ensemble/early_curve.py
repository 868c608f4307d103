"""What the accuracies of the first epochs alone say of the target: ridge regression."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jnas.predict._ensemble.scaling import mean_std

_MIN_ROWS = 5.0
"""Rows that a regression on k epochs needs; with fewer, that on k - 1 is used."""
_PENALTY = 0.01


class EarlyCurveRidge(NamedTuple):
    """A ridge regression of the target on the accuracies of the first k epochs, for each k from 0 to E.

    Attributes:
      epoch_mean, epoch_std: `[E]`, of each epoch's accuracies.
      slopes, intercept: `[E + 1, E]` and `[E + 1]`, on standardised accuracies.
      residual_std: `[E + 1]` standard deviation of what the regression leaves.
      usable_epochs: `[E + 1]` the largest number of epochs up to k that enough training rows had.
    """

    epoch_mean: jax.Array
    epoch_std: jax.Array
    slopes: jax.Array
    intercept: jax.Array
    residual_std: jax.Array
    usable_epochs: jax.Array

    @classmethod
    def fit(
        cls,
        early: Float[Array, "n e"],
        num_observed: Int[Array, " n"],
        targets: Float[Array, " n"],
        mask: Float[Array, " n"],
    ) -> EarlyCurveRidge:
        """Returns the regressions on the rows whose mask is 1, of transformed targets on their observed epochs."""
        epochs = early.shape[1]
        observed = jnp.arange(epochs) < num_observed[:, None]
        mean, std = mean_std(jnp.where(observed, early, 0), observed * mask[:, None])
        std = jnp.maximum(std, 1e-6)
        standardised = jnp.where(observed, (early - mean) / std, 0)

        def fit_first(count):
            rows = mask * (num_observed >= count)
            total = jnp.maximum(rows.sum(), 1)
            x = standardised * (jnp.arange(epochs) < count)
            centre, offset = (x * rows[:, None]).sum(0) / total, (targets * rows).sum() / total
            x = (x - centre) * rows[:, None]
            slopes = _solve(x.T @ x / total + _PENALTY * jnp.eye(epochs), x.T @ ((targets - offset) * rows) / total)
            residual = (targets - offset) * rows - x @ slopes
            residual_std = jnp.maximum(jnp.sqrt(jnp.square(residual).sum() / total), 1e-3)
            return slopes, offset - centre @ slopes, residual_std, rows.sum() >= _MIN_ROWS

        counts = jnp.arange(epochs + 1)
        slopes, intercept, residual_std, enough = jax.vmap(fit_first)(counts)
        return cls(mean, std, slopes, intercept, residual_std, jax.lax.cummax(jnp.where(enough, counts, 0)))

    def predict(
        self, early: Float[Array, "n e"], num_observed: Int[Array, " n"]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, "n c"]]:
        """Returns the prediction, the standard deviation of its error, and features of the epochs for a network.

        The C = 2 E + 1 features are the standardised accuracies, which of them are observed, and the prediction.
        """
        num_observed = self.usable_epochs[num_observed]
        observed = jnp.arange(early.shape[1]) < num_observed[:, None]
        standardised = jnp.where(observed, (early - self.epoch_mean) / self.epoch_std, 0)
        prediction = (standardised * self.slopes[num_observed]).sum(-1) + self.intercept[num_observed]
        features = jnp.concatenate([standardised, observed, prediction[:, None]], -1)
        return prediction, self.residual_std[num_observed], features


def _solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """The solution of a small positive definite system, by conjugate gradients: plain products vmap well."""
    size = len(right)
    return jax.scipy.sparse.linalg.cg(lambda x: matrix @ x, right, tol=1e-6, maxiter=2 * size)[0] if size else right
