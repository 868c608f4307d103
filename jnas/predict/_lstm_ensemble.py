"""An ensemble of bidirectional LSTMs, trained from scratch, behind the common interface."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from jnas._validation import to_instance
from jnas.predict._base import Regressor
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, apply_ensemble, fit_ensemble, predictive_std

_CHUNK_ROWS, _LENGTH_BUCKET = 1024, 8
"""Rows that are predicted together, and steps to a multiple of which they are padded."""
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
        padding = [(0, max(MIN_PADDED_ROWS, _round_up(count)) - count)]
        sequences = sequences[:, : _bucket(lengths, sequences.shape[1])]
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
        for rows, *part in _chunks(sequences, lengths, early[:, : params.num_epochs]):
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


def _chunks(sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields `(rows, sequences, lengths, early)` of rows of similar length; `rows` are their `[n]` indices.

    The arrays are filled up to a size and a number of steps of which there are few, so that few programs are compiled:
    only the first n of them count.
    """
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), _CHUNK_ROWS):
        rows = order[start : start + _CHUNK_ROWS]
        steps = _bucket(lengths[rows], sequences.shape[1])
        padding = [(0, min(_CHUNK_ROWS, _round_up(len(order))) - len(rows))]
        yield (
            rows,
            np.pad(sequences[rows, :steps], [*padding, (0, 0), (0, 0)]),
            np.pad(lengths[rows], padding, constant_values=1),
            np.pad(early[rows], [*padding, (0, 0)], constant_values=np.nan),
        )


def _round_up(count: int) -> int:
    """Returns the next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _bucket(lengths: np.ndarray, max_steps: int) -> int:
    """Returns the steps of the longest sequence, rounded up to a multiple of 8, at most `max_steps`."""
    return min(max_steps, -(-int(lengths.max(initial=1)) // _LENGTH_BUCKET) * _LENGTH_BUCKET)
