"""What the members' predictions of rows that they have not seen tell about the ensemble."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnas.predict._ensemble.scaling import Rows, TargetTransform

_PRIOR_ROWS = 10.0
"""Rows with one number of observed epochs that count as much as those with any number."""


class EnsembleCalibration(NamedTuple):
    """What out-of-fold predictions say of the errors of an ensemble.

    `residual_weight` `[E + 1]` are factors of the networks' part, one for each number of observed epochs; `std_scale`
    is that of the members' standard deviation, and `noise_std` that of errors they share, in the unit of the targets.
    """

    residual_weight: jax.Array
    std_scale: jax.Array
    noise_std: jax.Array


def calibrate(
    rows: Rows,
    curve: Float[Array, "m n"],
    residual: Float[Array, "m n"],
    held_out: Float[Array, "m n"],
    transform: TargetTransform,
    targets: Float[Array, " n"],
) -> tuple[EnsembleCalibration, Float[Array, " n"]]:
    """Returns the calibration of an ensemble, and its out-of-fold predictions in the unit of the targets.

    `curve` and `residual` are the members' outputs, `held_out` is 1 where a member has not seen a row. Rows that all
    members have seen have no out-of-fold prediction, but NaN.
    """

    def out_of_fold_mean(values):
        return (values * held_out).sum(0) / jnp.maximum(held_out.sum(0), 1)

    judged = (held_out.sum(0) > 0).astype(jnp.float32)  # all rows, unless there are fewer members than folds
    # The variance that an out-of-fold mean has because it is of fewer members than there are.
    members = len(residual)
    fraction = jnp.maximum(1 / jnp.maximum(held_out.sum(0), 1) - 1 / members, 0)
    excess_variance = fraction * residual.var(0) * members / max(members - 1, 1)
    errors = transform.forward(targets) - out_of_fold_mean(curve)
    groups = (rows.num_observed == jnp.arange(rows.early.shape[1] + 1)[:, None]) * judged
    weight = _fit_residual_weight(errors, out_of_fold_mean(residual), excess_variance, groups, judged)
    predictions = curve + weight[rows.num_observed] * residual
    out_of_fold = transform.inverse(out_of_fold_mean(predictions))
    std_scale, noise_std = _fit_std(out_of_fold - targets, transform.inverse(predictions).std(0), judged)
    return EnsembleCalibration(weight, std_scale, noise_std), jnp.where(judged > 0, out_of_fold, jnp.nan)


def _fit_residual_weight(errors, residual, variance, groups: Float[Array, "k n"], mask) -> Float[Array, " k"]:
    """The factor of the networks' correction with the least squared error, for each number of observed epochs.

    With many epochs the architecture adds little, and its noise more.
    """

    def factor(weight):
        products = (weight * errors * residual).sum()
        return jnp.clip(products / jnp.maximum((weight * (residual * residual - variance)).sum(), 1e-9), 0, 1)

    # A number of epochs that few rows have is supported by the others.
    total = jnp.maximum(groups.sum(1, keepdims=True), 1)
    return jax.vmap(factor)((groups + _PRIOR_ROWS * mask / mask.sum()) / total)


def _fit_std(errors: Float[Array, " n"], std: Float[Array, " n"], mask: Float[Array, " n"]):
    """The scale and the noise of greatest likelihood: normal errors of variance (scale std)² + noise²."""
    total = jnp.sqrt((jnp.square(errors) * mask).sum() / mask.sum())
    typical = jnp.maximum(jnp.sqrt((jnp.square(std) * mask).sum() / mask.sum()), 1e-12)
    # How much of the errors' variance follows the members', from none to nearly all.
    fractions = jnp.linspace(0.0, 0.95, 20)

    def likelihood(fraction):
        variance = jnp.square(total) * (fraction * jnp.square(std / typical) + 1 - fraction)
        return -(mask * (jnp.log(variance) + jnp.square(errors) / variance)).sum()

    fraction = fractions[jnp.argmax(jax.vmap(likelihood)(fractions))]
    return total * jnp.sqrt(fraction) / typical, total * jnp.sqrt(1 - fraction)
