"""What the members' predictions of rows that they have not seen tell about the ensemble."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_PRIOR_ROWS = 10.0
"""Rows with one number of observed epochs that count as much as those with any number."""


def out_of_fold_mean(predictions: Float[Array, "m n"], held_out: Float[Array, "m n"]) -> Float[Array, " n"]:
    """Returns the mean prediction of the members that have not seen a row; 0 where all have."""
    return (predictions * held_out).sum(0) / jnp.maximum(held_out.sum(0), 1)


def excess_variance(residual: Float[Array, "m n"], held_out: Float[Array, "m n"]) -> Float[Array, " n"]:
    """Returns the variance that an out-of-fold mean has because it is of fewer members than there are."""
    members = len(residual)
    fraction = jnp.maximum(1 / jnp.maximum(held_out.sum(0), 1) - 1 / members, 0)
    return fraction * residual.var(0) * members / max(members - 1, 1)


def fit_residual_weight(
    errors: Float[Array, " n"],
    residual: Float[Array, " n"],
    variance: Float[Array, " n"],
    num_observed: Int[Array, " n"],
    mask: Float[Array, " n"],
    num_epochs: int,
) -> Float[Array, " k"]:
    """Returns the factor of the networks' correction with the least squared error, for 0 to E observed epochs.

    With many epochs the architecture adds little, and its noise more. A number of epochs that few rows have is
    supported by the others.

    Args:
      errors: what the early epochs leave of the targets.
      residual: out-of-fold means of the networks' corrections.
      variance: `excess_variance`, which the whole ensemble does not have.
      num_observed: observed epochs.
      mask: 1 for rows that count.
      num_epochs: E.
    """

    def factor(weight):
        products = (weight * errors * residual).sum()
        return jnp.clip(products / jnp.maximum((weight * (residual * residual - variance)).sum(), 1e-9), 0, 1)

    groups = (num_observed == jnp.arange(num_epochs + 1)[:, None]) * mask
    total = jnp.maximum(groups.sum(1, keepdims=True), 1)
    return jax.vmap(factor)((groups + _PRIOR_ROWS * mask / mask.sum()) / total)


def fit_std(
    errors: Float[Array, " n"], std: Float[Array, " n"], mask: Float[Array, " n"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the scale and the noise of greatest likelihood: normal errors of variance (scale std)² + noise².

    Args:
      errors: of out-of-fold predictions.
      std: of the members' predictions.
      mask: 1 for rows that count.
    """
    total = jnp.sqrt((jnp.square(errors) * mask).sum() / mask.sum())
    typical = jnp.maximum(jnp.sqrt((jnp.square(std) * mask).sum() / mask.sum()), 1e-12)
    # How much of the errors' variance follows the members', from none to nearly all.
    fractions = jnp.linspace(0.0, 0.95, 20)

    def likelihood(fraction):
        variance = jnp.square(total) * (fraction * jnp.square(std / typical) + 1 - fraction)
        return -(mask * (jnp.log(variance) + jnp.square(errors) / variance)).sum()

    fraction = fractions[jnp.argmax(jax.vmap(likelihood)(fractions))]
    return total * jnp.sqrt(fraction) / typical, total * jnp.sqrt(1 - fraction)
