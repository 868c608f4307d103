"""An ensemble of bidirectional LSTMs, trained from scratch, behind the common interface."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from jnas._validation import to_instance
from jnas.predict._base import Regressor
from jnas.predict._chunks import bucket, chunks, round_up
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, apply_ensemble, fit_ensemble, predictive_std

MIN_PADDED_ROWS = 64
ROWS_PER_STEP = 2
"""Of the optimiser: where rows are many, there are more steps than `EnsembleConfig.num_steps`."""

_fit = jax.jit(fit_ensemble, static_argnames="config")
_apply = jax.jit(apply_ensemble)


@functools.lru_cache(maxsize=1)
def _fit_rows_of(shape: tuple[int, ...]) -> Callable:
    """`_fit` for rows of one shape; the programs for others are dropped, as a growing table never returns to them."""
    for program in (_fit, _apply):
        program.clear_cache()  # pyright: ignore[reportAttributeAccessIssue]  a method that JAX' types leave out
    return _fit


class LSTMEnsemble(Regressor):
    """An ensemble of LSTM regressors that starts from nothing: what `Predictor(prior=None)` is.

    With early epochs in `fit` there are two ensembles, one of which predicts the rows without any observed epoch: a
    single ensemble for both predicts untrained templates worse (docs/decisions/017).

    `params` is the ensemble that sees sequences alone, for `jnas.predict.apply_ensemble` in jitted functions;
    `curve_params` sees early epochs as well. They are None before `fit`, the latter also without such epochs.

    Example:
      >>> import numpy as np
      >>> sequences = np.random.default_rng(0).normal(size=(20, 4, 3))
      >>> config = EnsembleConfig(members=2, hidden_dim=4, head_dim=4, num_steps=2)
      >>> ensemble = LSTMEnsemble(config=config).fit(sequences, np.full(20, 4), sequences[:, 0, 0])
      >>> mean, std = ensemble.predict(sequences, np.full(20, 4))
      >>> mean.shape, std.shape
      ((20,), (20,))
    """

    name = "lstm_ensemble"

    def __init__(self, seed: int = 0, config: EnsembleConfig = EnsembleConfig()):  # noqa: B008  a constant
        super().__init__(seed)
        self.config = to_instance("config", config, EnsembleConfig)
        self.params: EnsembleParams | None = None
        self.curve_params: EnsembleParams | None = None

    def _fit(self, sequences, lengths, early, targets) -> np.ndarray:
        count = len(targets)
        # Rows and steps are padded to a few sizes, so that a growing table seldom compiles a new program.
        padding = [(0, max(MIN_PADDED_ROWS, round_up(count)) - count)]
        sequences = sequences[:, : bucket(lengths, sequences.shape[1])]
        rows = (
            np.pad(sequences, [*padding, (0, 0), (0, 0)]).astype(np.float32),
            np.pad(lengths, padding),
            np.pad(targets, padding).astype(np.float32),
            np.pad(np.ones(count, np.float32), padding),
        )
        config = dataclasses.replace(self.config, num_steps=max(self.config.num_steps, len(rows[0]) // ROWS_PER_STEP))
        key, padded_early = jax.random.key(self.seed), np.pad(early, [*padding, (0, 0)], constant_values=np.nan)
        fit = _fit_rows_of(rows[0].shape)
        params, out_of_fold = fit(key, *rows, padded_early[:, :0], config)
        out_of_fold, curve_params = np.asarray(out_of_fold)[:count], None
        if early.shape[1]:
            curve_params, with_curve = fit(key, *rows, padded_early, config)
            out_of_fold = np.where(np.isnan(early[:, 0]), out_of_fold, np.asarray(with_curve)[:count])
        self.params, self.curve_params = (
            part and dataclasses.replace(part, config=self.config) for part in (params, curve_params)
        )
        return out_of_fold

    def _predict(self, sequences, lengths, early):
        mean, std = np.empty((2, len(lengths)), np.float32)
        for params, part in self._split(early):
            members = self._apply(params, sequences[part], lengths[part], early[part])
            mean[part], std[part] = members.mean(0), predictive_std(params, members)
        return mean, std

    def _split(self, early: np.ndarray) -> list[tuple[EnsembleParams, np.ndarray]]:
        """Each ensemble with the indices of its rows: those without observed epochs, and the others."""
        with_curve = ~np.isnan(early[:, 0]) if self.curve_params else np.zeros(len(early), bool)
        parts = (self.params, np.flatnonzero(~with_curve)), (self.curve_params, np.flatnonzero(with_curve))
        return [(params, rows) for params, rows in parts if params is not None and len(rows)]

    def _apply(self, params: EnsembleParams, sequences, lengths, early) -> np.ndarray:
        """`[members, N]` predictions."""
        members = np.empty((self.config.members, len(lengths)), np.float32)
        for rows, *part in chunks(sequences, lengths, early[:, : params.num_epochs]):
            members[:, rows] = np.asarray(_apply(params, *part))[:, : len(rows)]
        return members

    def _state(self):
        return self.params, self.curve_params

    def _metadata(self):
        return {"config": dataclasses.asdict(self.config)}

    def _abstract_state(self, metadata):
        num_features, num_epochs, config = self.num_features, self.num_epochs, EnsembleConfig(**metadata["config"])
        assert num_features is not None
        curve_params = EnsembleParams.abstract(num_features, num_epochs, config) if num_epochs else None
        return EnsembleParams.abstract(num_features, 0, config), curve_params

    def _set_state(self, state, metadata):
        self.config, (self.params, self.curve_params) = EnsembleConfig(**metadata["config"]), state
