"""The predictor: an ensemble of bidirectional LSTMs behind the common interface."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import to_instance, to_int
from jnas.predict._base import Regressor, restore
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, apply_ensemble, fit_ensemble, predictive_std

MIN_PADDED_ROWS = 64
CHUNK_ROWS = 1024
LENGTH_BUCKET = 8

_fit = jax.jit(fit_ensemble, static_argnames="config")
_apply = jax.jit(apply_ensemble)


@functools.lru_cache(maxsize=1)
def _fit_rows_of(shape: tuple[int, ...]) -> Callable:
    """`_fit` for rows of one shape; the programs for others are dropped, as a growing table never returns to them."""
    for program in (_fit, _apply):
        program.clear_cache()  # pyright: ignore[reportAttributeAccessIssue]  a method that JAX' types leave out
    return _fit


class Predictor(Regressor):
    """An ensemble of LSTM regressors: sequences of layer vectors in, accuracy and its uncertainty out.

    With early epochs in `fit` there are two ensembles, one of which predicts the rows without any observed epoch: a
    single ensemble for both predicts untrained templates worse (docs/decisions/017).

    `params` is the ensemble that sees sequences alone, for `jnas.predict.apply_ensemble` in jitted functions;
    `curve_params` sees early epochs as well. They are None before `fit`, the latter also without such epochs.

    Example:
      >>> import numpy as np
      >>> sequences = np.random.default_rng(0).normal(size=(20, 4, 3))
      >>> config = EnsembleConfig(members=2, hidden_dim=4, head_dim=4, num_steps=2)
      >>> predictor = Predictor(config=config).fit(sequences, np.full(20, 4), sequences[:, 0, 0])
      >>> mean, std = predictor.predict(sequences, np.full(20, 4))
      >>> mean.shape, std.shape
      ((20,), (20,))
    """

    name = "jnas"

    def __init__(self, seed: int = 0, config: EnsembleConfig = EnsembleConfig()):  # noqa: B008  a constant
        super().__init__(seed)
        self.config = to_instance("config", config, EnsembleConfig)
        self.params: EnsembleParams | None = None
        self.curve_params: EnsembleParams | None = None

    @with_own_settings
    def predict_members(
        self, sequences: ArrayLike, lengths: ArrayLike, early: ArrayLike | None = None
    ) -> Float32[np.ndarray, "m n"]:
        """Returns each member's prediction, `[members, N]`; the arguments are those of `predict`."""
        rows = self._validate_and_pad(sequences, lengths, early)
        members = np.empty((self.config.members, len(rows.lengths)), np.float32)
        for params, part in self._split(rows.early):
            members[:, part] = self._apply(params, *(array[part] for array in rows))
        return members

    def subset(self, members: int) -> Predictor:
        """Returns a predictor of the first few members: faster, less accurate, and with uncalibrated uncertainty."""
        self._check_fitted()
        members = to_int("members", members, 1, self.config.members)
        few = copy.copy(self)
        few.config = dataclasses.replace(self.config, members=members)
        few.params = self.params and self.params.subset(members)
        few.curve_params = self.curve_params and self.curve_params.subset(members)
        return few

    def _fit(self, sequences, lengths, early, targets):
        count = len(targets)
        # Rows and steps are padded to a few sizes, so that a growing table seldom compiles a new program.
        padding = [(0, max(MIN_PADDED_ROWS, _round_up(count)) - count)]
        sequences = sequences[:, : _bucket(lengths, sequences.shape[1])]
        rows = (
            np.pad(sequences, [*padding, (0, 0), (0, 0)]).astype(np.float32),
            np.pad(lengths, padding),
            np.pad(targets, padding).astype(np.float32),
            np.pad(np.ones(count, np.float32), padding),
        )
        key, padded_early = jax.random.key(self.seed), np.pad(early, [*padding, (0, 0)], constant_values=np.nan)
        fit = _fit_rows_of(rows[0].shape)
        params, out_of_fold = fit(key, *rows, padded_early[:, :0], self.config)
        out_of_fold, curve_params = np.asarray(out_of_fold)[:count], None
        if early.shape[1]:
            curve_params, with_curve = fit(key, *rows, padded_early, self.config)
            out_of_fold = np.where(np.isnan(early[:, 0]), out_of_fold, np.asarray(with_curve)[:count])
        self.params, self.curve_params = params, curve_params
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
        """`[members, N]` predictions, in chunks of rows of similar length: short sequences need few steps."""
        order = np.argsort(lengths, kind="stable")
        early = early[:, : params.num_epochs]
        parts = []
        for start in range(0, len(order), CHUNK_ROWS):
            rows = order[start : start + CHUNK_ROWS]
            steps = _bucket(lengths[rows], sequences.shape[1])
            padding = [(0, min(CHUNK_ROWS, _round_up(len(order))) - len(rows))]
            members = _apply(
                params,
                np.pad(sequences[rows, :steps], [*padding, (0, 0), (0, 0)]),
                np.pad(lengths[rows], padding, constant_values=1),
                np.pad(early[rows], [*padding, (0, 0)], constant_values=np.nan),
            )
            parts.append(np.asarray(members)[:, : len(rows)])
        members = np.empty((self.config.members, len(order)), np.float32)
        members[:, order] = np.concatenate(parts, 1)
        return members

    def _state(self):
        return self.params, self.curve_params

    def _metadata(self):
        return {"config": dataclasses.asdict(self.config)}

    def _load(self, folder: str | Path, metadata: dict) -> None:
        num_features, num_epochs, config = self.num_features, self.num_epochs, EnsembleConfig(**metadata["config"])
        assert num_features is not None
        curve_params = EnsembleParams.abstract(num_features, num_epochs, config) if num_epochs else None
        target = EnsembleParams.abstract(num_features, 0, config), curve_params
        self.config, (self.params, self.curve_params) = config, restore(folder, target)


def _round_up(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _bucket(lengths: np.ndarray, max_steps: int) -> int:
    """The steps of the longest sequence, rounded up to a multiple of 8, at most `max_steps`."""
    return min(max_steps, -(-int(lengths.max(initial=1)) // LENGTH_BUCKET) * LENGTH_BUCKET)
