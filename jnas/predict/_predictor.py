"""The predictor: an ensemble of bidirectional LSTMs behind the common interface."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import jax
import numpy as np

from jnas._runtime import checkpoint
from jnas.predict import _ensemble as ensemble
from jnas.predict._base import Regressor
from jnas.predict._ensemble import Fitted, Settings

LEAST_PADDED = 64
CHUNK = 1024
LENGTH_STEP = 8


class Predictor(Regressor):
    """An ensemble of LSTM regressors: sequences of layer vectors in, accuracy and its uncertainty out.

    Where early epochs are given to `fit`, there is a second ensemble for rows of which some are known: one that did
    both would foresee less of what has not been trained at all (benchmarks/RESULTS.md).

    Args:
      seed: of initial weights, folds, batches and dropout.
      settings: how the ensemble is made and trained.

    Attributes:
      fitted: the arrays that `jnas.predict.apply` takes, for use inside jitted programs; of the ensemble that goes by
        the sequences alone.
      informed: those of the other one, where early epochs were given.
      scores: agreement on held-out rows, each predicted by the members that have not seen it; set by `fit`.
      seconds: wall clock of the last `fit`.
    """

    name = "jnas"

    def __init__(self, seed: int = 0, settings: Settings = Settings()):  # noqa: B008  a constant
        super().__init__(seed)
        self.settings = settings
        self.fitted: Fitted | None = None
        self.informed: Fitted | None = None

    def members(self, sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray | None = None) -> np.ndarray:
        """Each member's prediction, `[members, N]`; the arguments are those of `predict`."""
        sequences, lengths, early = self._ready_rows(sequences, lengths, early)
        members = np.empty((self.settings.members, len(lengths)), np.float32)
        for model, rows in self._models(early):
            members[:, rows] = self._members(model, sequences[rows], lengths[rows], early[rows])
        return members

    def part(self, members: int) -> Predictor:
        """The first few members alone, which predict faster and less well; their uncertainty is not calibrated."""
        self._check_fitted()
        few = copy.copy(self)
        few.settings = self.settings._replace(members=members)
        few.fitted = ensemble.part(self.fitted, members)
        few.informed = self.informed and ensemble.part(self.informed, members)
        return few

    def _fit(self, sequences, lengths, targets, early):
        count = len(targets)
        # Rows and steps are filled up to a few sizes, so that a growing table seldom compiles a new program.
        rows = max(LEAST_PADDED, _rounded(count))
        sequences = sequences[:, : _steps(lengths, sequences.shape[1])]
        fill = [(0, rows - count)]
        filled = (
            np.pad(sequences, [*fill, (0, 0), (0, 0)]).astype(np.float32),
            np.pad(lengths, fill),
            np.pad(targets, fill).astype(np.float32),
            np.pad(np.ones(count, np.float32), fill),
        )
        key, known = jax.random.key(self.seed), np.pad(early, [*fill, (0, 0)], constant_values=np.nan)
        self.fitted, held_out = _fit(key, *filled, known[:, :0], self.settings)
        held_out, self.informed = np.asarray(held_out)[:count], None
        if early.shape[1]:
            self.informed, better = _fit(key, *filled, known, self.settings)
            held_out = np.where(np.isnan(early[:, 0]), held_out, np.asarray(better)[:count])
        return held_out

    def _predict(self, sequences, lengths, early):
        mean, std = np.empty((2, len(lengths)), np.float32)
        for model, rows in self._models(early):
            members = self._members(model, sequences[rows], lengths[rows], early[rows])
            mean[rows], std[rows] = members.mean(0), ensemble.deviation(model, members)
        return mean, std

    def _models(self, early: np.ndarray) -> list[tuple[Fitted, np.ndarray]]:
        """Each ensemble with the rows that it predicts: those of which no epoch is known, and the others."""
        informed = ~np.isnan(early[:, 0]) if self.informed else np.zeros(len(early), bool)
        found = (self.fitted, np.flatnonzero(~informed)), (self.informed, np.flatnonzero(informed))
        return [(model, rows) for model, rows in found if len(rows)]

    def _members(self, model: Fitted, sequences, lengths, early) -> np.ndarray:
        # Short sequences need few steps, so rows go in the order of their lengths.
        order = np.argsort(lengths, kind="stable")
        early = early[:, : model.baselines.mean.shape[-1]]
        parts = []
        for start in range(0, len(order), CHUNK):
            rows = order[start : start + CHUNK]
            steps = _steps(lengths[rows], sequences.shape[1])
            fill = [(0, min(CHUNK, _rounded(len(order))) - len(rows))]
            part = ensemble.apply_jitted(
                model,
                np.pad(sequences[rows, :steps], [*fill, (0, 0), (0, 0)]),
                np.pad(lengths[rows], fill, constant_values=1),
                np.pad(early[rows], [*fill, (0, 0)], constant_values=np.nan),
            )
            parts.append(np.asarray(part)[:, : len(rows)])
        members = np.empty((self.settings.members, len(order)), np.float32)
        members[:, order] = np.concatenate(parts, 1)
        return members

    def _arrays(self):
        arrays = {"alone": ensemble.to_tree(self.fitted)}
        return arrays | ({"informed": ensemble.to_tree(self.informed)} if self.informed else {})

    def _facts(self):
        return {"settings": self.settings._asdict()}

    def _restore(self, folder: str | Path, facts: dict) -> None:
        given = facts["settings"]
        self.settings = Settings(**(given | {"pooling": tuple(given["pooling"])}))
        epochs = {"alone": 0} | ({"informed": self.epochs} if self.epochs else {})
        blank = functools.partial(ensemble.blank, self.width)
        like = {name: jax.eval_shape(functools.partial(blank, count, self.settings)) for name, count in epochs.items()}
        arrays = checkpoint.restore(folder, {name: ensemble.to_tree(one) for name, one in like.items()})
        found = {name: ensemble.from_tree(like[name], arrays[name]) for name in like}
        self.fitted, self.informed = found["alone"], found.get("informed")


def _rounded(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _steps(lengths: np.ndarray, most: int) -> int:
    """How many steps the longest of the sequences needs, in steps of 8."""
    return min(most, -(-int(lengths.max(initial=1)) // LENGTH_STEP) * LENGTH_STEP)


_fit = jax.jit(ensemble.fit, static_argnames="settings")
