"""The fit of an ensemble: its members, and what their left-out rows tell."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key, Num

from jnas._runtime import random
from jnas.predict._ensemble.apply import member_outputs
from jnas.predict._ensemble.calibration import excess_variance, fit_residual_weight, fit_std, out_of_fold_mean
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.params import EnsembleCalibration, EnsembleParams
from jnas.predict._ensemble.rows import FeatureScaler, Rows
from jnas.predict._ensemble.target_transform import TargetTransform
from jnas.predict._ensemble.training import assign_folds, train_members


def fit_ensemble(
    key: Key[Array, ""],
    sequences: Num[ArrayLike, "n t d"],
    lengths: Int[ArrayLike, " n"],
    targets: Float[ArrayLike, " n"],
    mask: Num[ArrayLike, " n"],
    early: Float[ArrayLike, "n e"] | None = None,
    config: EnsembleConfig = EnsembleConfig(),  # noqa: B008  a constant
) -> tuple[EnsembleParams, Float[Array, " n"]]:
    """Returns an ensemble trained from scratch, and out-of-fold predictions of its rows.

    Each member leaves out one fold of the rows. So each row is predicted by members that have not seen it, which tells
    how good the ensemble is. Such a prediction is NaN where all members have seen the row.

    Args:
      key: for initial weights, folds, batches and dropout.
      sequences: layer vectors, filled up to one length.
      lengths: number of valid steps.
      targets: in any unit.
      mask: 1 for a row, 0 for filling; at least 10 rows.
      early: accuracies after the first epochs, NaN from where they are not observed; None for no epochs.
      config: static.
    """
    sequences, lengths, targets = map(jnp.asarray, (sequences, lengths, targets))
    mask = jnp.asarray(mask, jnp.float32)
    early = jnp.zeros((len(targets), 0)) if early is None else jnp.asarray(early)
    targets = jnp.where(mask > 0, targets, 0).astype(jnp.float32)
    scaler = FeatureScaler.fit(sequences, lengths, mask)
    # Early accuracies measure the same as the targets, which a power would hide.
    transform = TargetTransform.fit(targets, mask, power=not early.shape[1])
    rows, scaled = Rows.make(scaler, sequences, lengths, early), transform.forward(targets)
    seeds = random.words(key, (config.members, 3))
    train_mask = assign_folds(seeds[0, 0], mask, config)
    fit_ridge = jax.vmap(EarlyCurveRidge.fit, (None, None, None, 0))
    ridge = fit_ridge(rows.early, rows.num_observed, scaled, train_mask)
    networks = train_members(seeds, rows, scaled, train_mask, ridge, config)
    outputs = member_outputs(networks, ridge, rows, config)
    calibration, out_of_fold = _calibrate(rows, *outputs, mask - train_mask, transform, targets)
    return EnsembleParams(networks, ridge, scaler, transform, calibration, config), out_of_fold


def _calibrate(
    rows: Rows,
    curve: Float[Array, "m n"],
    residual: Float[Array, "m n"],
    held_out: Float[Array, "m n"],
    transform: TargetTransform,
    targets: Float[Array, " n"],
) -> tuple[EnsembleCalibration, Float[Array, " n"]]:
    """The calibration of an ensemble, and its out-of-fold predictions in the unit of the targets."""
    judged = (held_out.sum(0) > 0).astype(jnp.float32)  # all rows, unless there are fewer members than folds
    weight = fit_residual_weight(
        transform.forward(targets) - out_of_fold_mean(curve, held_out),
        out_of_fold_mean(residual, held_out),
        excess_variance(residual, held_out),
        rows.num_observed,
        judged,
        rows.early.shape[1],
    )
    predictions = curve + weight[rows.num_observed] * residual
    out_of_fold = transform.inverse(out_of_fold_mean(predictions, held_out))
    std_scale, noise_std = fit_std(out_of_fold - targets, transform.inverse(predictions).std(0), judged)
    return EnsembleCalibration(weight, std_scale, noise_std), jnp.where(judged > 0, out_of_fold, jnp.nan)
