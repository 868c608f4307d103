"""A fitted ensemble: how it comes about, and what it predicts."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, struct
from jaxtyping import Array, ArrayLike, Float, Int, Key, Num

from jnas._runtime import random
from jnas._runtime.jax_config import with_own_settings
from jnas.predict._ensemble.calibration import EnsembleCalibration, calibrate
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.network import init_networks, network_graph
from jnas.predict._ensemble.scaling import FeatureScaler, Rows, TargetTransform
from jnas.predict._ensemble.training import assign_folds, train_members


@struct.dataclass
class EnsembleParams:
    """A fitted ensemble: a pytree of arrays, with its configuration as static data.

    `networks` are the members' weights and `curve_ridge` their regressions on the early epochs, all with a leading
    dimension of members.
    """

    networks: nnx.State
    curve_ridge: EarlyCurveRidge
    scaler: FeatureScaler
    transform: TargetTransform
    calibration: EnsembleCalibration
    config: EnsembleConfig = struct.field(pytree_node=False)

    @staticmethod
    @functools.cache
    @with_own_settings
    def abstract(num_features: int, num_epochs: int, config: EnsembleConfig) -> EnsembleParams:
        """Returns the shapes and types of a fitted ensemble."""
        # Not by `jax.eval_shape` of a fit, which takes seconds.

        def floats(*shape: int) -> Any:
            return jax.ShapeDtypeStruct(shape, jnp.float32)

        members, counts = config.members, (config.members, num_epochs + 1)
        usable_epochs: Any = jax.ShapeDtypeStruct(counts, jnp.int32)
        seeds = jax.ShapeDtypeStruct((members, 2), jnp.uint32)
        networks = jax.eval_shape(lambda seeds: init_networks(seeds, num_features, num_epochs, config), seeds)
        ridge = EarlyCurveRidge(
            *(floats(members, num_epochs), floats(members, num_epochs)),
            *(floats(*counts, num_epochs), floats(*counts), floats(*counts)),
            usable_epochs,
        )
        scaler = FeatureScaler(floats(num_features), floats(num_features))
        transform = TargetTransform(*(floats() for _ in TargetTransform._fields))
        calibration = EnsembleCalibration(floats(num_epochs + 1), floats(), floats())
        return EnsembleParams(networks, ridge, scaler, transform, calibration, config)

    @property
    def num_epochs(self) -> int:
        """The number of early epochs that the ensemble reads, E."""
        return self.curve_ridge.epoch_mean.shape[-1]

    def __repr__(self) -> str:
        members, features = self.config.members, self.scaler.mean.shape[-1]
        return f"EnsembleParams(members={members}, features={features}, epochs={self.num_epochs})"


@with_own_settings
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
    how good the ensemble is. Such a prediction is NaN where all members have seen the row. The rows are those of
    `Regressor.fit`; `mask` is 1 for a row, 0 for filling. `config` is static under `jax.jit`.
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
    outputs = _member_outputs(networks, ridge, rows, config)
    calibration, out_of_fold = calibrate(rows, *outputs, mask - train_mask, transform, targets)
    return EnsembleParams(networks, ridge, scaler, transform, calibration, config), out_of_fold


@with_own_settings
def apply_ensemble(
    params: EnsembleParams,
    sequences: Num[ArrayLike, "n t d"],
    lengths: Int[ArrayLike, " n"],
    early: Float[ArrayLike, "n e"] | None = None,
) -> Float[Array, "m n"]:
    """Returns each member's prediction in the unit of the targets.

    The rows are those of `fit_ensemble`; without `early` no epoch is observed.
    """
    sequences, lengths = jnp.asarray(sequences), jnp.asarray(lengths)
    early = jnp.full((len(sequences), params.num_epochs), jnp.nan) if early is None else jnp.asarray(early)
    rows = Rows.make(params.scaler, sequences, lengths, early)
    curve, residual = _member_outputs(params.networks, params.curve_ridge, rows, params.config)
    return params.transform.inverse(curve + params.calibration.residual_weight[rows.num_observed] * residual)


def _member_outputs(
    networks: nnx.State, curve_ridge: EarlyCurveRidge, rows: Rows, config: EnsembleConfig
) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
    """The two parts of each member's prediction: that of the early epochs, and the network's correction."""
    graph = network_graph(rows.steps.shape[-1], rows.early.shape[-1], config)

    def outputs(network, ridge):
        curve, residual_std, context = ridge.predict(rows.early, rows.num_observed)
        return curve, residual_std * nnx.merge(graph, network)(rows.steps, rows.lengths, context)

    return jax.vmap(outputs)(networks, curve_ridge)


@with_own_settings
def predictive_std(
    params: EnsembleParams, predictions: Float[Array, "m n"] | Float[np.ndarray, "m n"]
) -> Float[Array, " n"] | Float[np.ndarray, " n"]:
    """Returns the standard deviation of the error of the members' mean, given what `apply_ensemble` returned.

    It is a NumPy array for NumPy's `predictions`, so that nothing is compiled for their shape.
    """
    std_scale, noise_std = params.calibration.std_scale, params.calibration.noise_std
    if isinstance(predictions, np.ndarray):
        std_scale, noise_std = np.float32(std_scale), np.float32(noise_std)
    return ((std_scale * predictions.std(0)) ** 2 + noise_std**2) ** 0.5
