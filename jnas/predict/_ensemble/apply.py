"""Predictions of a fitted ensemble."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Num

from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.network import network_graph
from jnas.predict._ensemble.params import EnsembleParams
from jnas.predict._ensemble.rows import Rows


def apply_ensemble(
    params: EnsembleParams,
    sequences: Num[ArrayLike, "n t d"],
    lengths: Int[ArrayLike, " n"],
    early: Float[ArrayLike, "n e"] | None = None,
) -> Float[Array, "m n"]:
    """Returns each member's prediction in the unit of the targets.

    Args:
      params: of `fit_ensemble`, or `Predictor.params`.
      sequences: layer vectors, filled up to one length.
      lengths: number of valid steps.
      early: accuracies after the first epochs, NaN from where they are not observed; None for no epochs at all.
    """
    sequences, lengths = jnp.asarray(sequences), jnp.asarray(lengths)
    early = jnp.full((len(sequences), params.num_epochs), jnp.nan) if early is None else jnp.asarray(early)
    rows = Rows.make(params.scaler, sequences, lengths, early)
    curve, residual = member_outputs(params.networks, params.curve_ridge, rows, params.config)
    return params.transform.inverse(curve + params.calibration.residual_weight[rows.num_observed] * residual)


def member_outputs(
    networks: nnx.State, curve_ridge: EarlyCurveRidge, rows: Rows, config: EnsembleConfig
) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
    """Returns the two parts of each member's prediction: that of the early epochs, and the network's correction."""
    graph = network_graph(rows.steps.shape[-1], rows.early.shape[-1], config)

    def outputs(network, ridge):
        curve, residual_std, context = ridge.predict(rows.early, rows.num_observed)
        return curve, residual_std * nnx.merge(graph, network)(rows.steps, rows.lengths, context)

    return jax.vmap(outputs)(networks, curve_ridge)


def predictive_std(params: EnsembleParams, predictions: Float[ArrayLike, "m n"]) -> Float[ArrayLike, " n"]:
    """Returns the standard deviation of the error of the members' mean.

    It is a NumPy array for NumPy's `predictions`, so that nothing is compiled for their shape.

    Args:
      params: the ensemble.
      predictions: of its members, as `apply_ensemble` returns them.
    """
    std_scale, noise_std = params.calibration.std_scale, params.calibration.noise_std
    if isinstance(predictions, np.ndarray):
        std_scale, noise_std = np.float32(std_scale), np.float32(noise_std)
    return ((std_scale * predictions.std(0)) ** 2 + noise_std**2) ** 0.5


def subset(params: EnsembleParams, members: int) -> EnsembleParams:
    """Returns the ensemble of the first few members."""
    networks, ridge = jax.tree.map(lambda x: x[:members], (params.networks, params.curve_ridge))
    config = dataclasses.replace(params.config, members=members)
    return params.replace(networks=networks, curve_ridge=ridge, config=config)
