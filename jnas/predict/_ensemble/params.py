"""The arrays of a fitted ensemble, and their way to the disk."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx, struct, traverse_util

from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.network import init_networks
from jnas.predict._ensemble.rows import FeatureScaler
from jnas.predict._ensemble.target_transform import TargetTransform


class EnsembleCalibration(NamedTuple):
    """What out-of-fold predictions say of the errors of an ensemble.

    Attributes:
      residual_weight: `[E + 1]` factor of the networks' part of a prediction, for each number of observed epochs.
      std_scale: factor of the members' standard deviation.
      noise_std: standard deviation of errors that the members share, in the unit of the targets.
    """

    residual_weight: jax.Array
    std_scale: jax.Array
    noise_std: jax.Array


@struct.dataclass
class EnsembleParams:
    """A fitted ensemble: a pytree of arrays, with its configuration as static data.

    Attributes:
      networks: the members' weights, each with a leading dimension of members.
      curve_ridge: each member's regression on the early epochs.
      scaler: of the sequences.
      transform: of the targets.
      calibration: weight of the networks and scale of the errors.
      config: the configuration of `fit_ensemble`.
    """

    networks: nnx.State
    curve_ridge: EarlyCurveRidge
    scaler: FeatureScaler
    transform: TargetTransform
    calibration: EnsembleCalibration
    config: EnsembleConfig = struct.field(pytree_node=False)

    @property
    def num_epochs(self) -> int:
        """The number of early epochs that the ensemble reads, E."""
        return self.curve_ridge.epoch_mean.shape[-1]

    def __repr__(self) -> str:
        return (
            f"EnsembleParams(members={self.config.members}, features={self.scaler.mean.shape[-1]}, "
            f"epochs={self.num_epochs})"
        )


def abstract_params(num_features: int, num_epochs: int, config: EnsembleConfig) -> EnsembleParams:
    """Returns the shapes and types of a fitted ensemble."""

    def make():
        row, lengths, one = jnp.zeros((1, 1, num_features)), jnp.ones(1, jnp.int32), jnp.ones(1)
        early, members = jnp.zeros((1, num_epochs)), jnp.ones((config.members, 1))
        return EnsembleParams(
            networks=init_networks(jnp.zeros((config.members, 2), jnp.uint32), num_features, num_epochs, config),
            curve_ridge=jax.vmap(EarlyCurveRidge.fit, (None, None, None, 0))(early, lengths, one, members),
            scaler=FeatureScaler.fit(row, lengths, one),
            transform=TargetTransform.fit(one, one, power=False),
            calibration=EnsembleCalibration(jnp.zeros(num_epochs + 1), jnp.float32(0), jnp.float32(0)),
            config=config,
        )

    return jax.eval_shape(make)


def to_state_dict(params: EnsembleParams) -> dict[str, Any]:
    """Returns the arrays as nested dictionaries, for a checkpoint; without empty arrays, which Orbax cannot write."""
    flat = traverse_util.flatten_dict(_nested(params))
    return traverse_util.unflatten_dict({path: array for path, array in flat.items() if array.size})


def from_state_dict(target: EnsembleParams, state: dict[str, Any]) -> EnsembleParams:
    """Returns the ensemble whose arrays `to_state_dict` gave; `target` has its shapes."""
    flat = traverse_util.flatten_dict(_nested(target))
    empty = {path: jnp.zeros(array.shape, array.dtype) for path, array in flat.items() if not array.size}
    state = traverse_util.unflatten_dict(empty | traverse_util.flatten_dict(state))
    networks = target.networks
    nnx.replace_by_pure_dict(networks, state.pop("networks"))
    parts = {name: type(getattr(target, name))(**arrays) for name, arrays in state.items()}
    return EnsembleParams(networks=networks, **parts, config=target.config)


def _nested(params: EnsembleParams) -> dict[str, Any]:
    parts = {name: getattr(params, name)._asdict() for name in ("curve_ridge", "scaler", "transform", "calibration")}
    return {"networks": nnx.to_pure_dict(params.networks)} | parts
