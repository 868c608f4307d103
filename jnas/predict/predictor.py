"""The predictor: an ensemble of bidirectional LSTMs behind the common interface."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import jax
import numpy as np

from jnas import checkpoint
from jnas.predict import ensemble
from jnas.predict.ensemble import Fitted, Settings
from jnas.predict.regressor import Regressor

LEAST_PADDED = 64
CHUNK = 1024
LENGTH_STEP = 8


class Predictor(Regressor):
    """An ensemble of LSTM regressors: sequences of layer vectors in, accuracy and its uncertainty out.

    Args:
      seed: of initial weights, folds, batches and dropout.
      settings: how the ensemble is made and trained.

    Attributes:
      fitted: the arrays that `jnas.predict.apply` takes, for use inside jitted programs.
      scores: agreement on held-out rows, each predicted by the members that have not seen it; set by `fit`.
      seconds: wall clock of the last `fit`.
    """

    name = "jnas"

    def __init__(self, seed: int = 0, settings: Settings = Settings()):  # noqa: B008  a constant
        super().__init__(seed)
        self.settings = settings
        self.fitted: Fitted | None = None

    def members(self, sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray | None = None) -> np.ndarray:
        """Each member's prediction, `[members, N]`; the arguments are those of `predict`."""
        return self._members(*self._ready_rows(sequences, lengths, early))

    def part(self, members: int) -> Predictor:
        """The first few members alone, which predict faster and less well; their uncertainty is not calibrated."""
        self._check_fitted()
        few = copy.copy(self)
        few.settings = self.settings._replace(members=members)
        few.fitted = ensemble.part(self.fitted, members)
        return few

    def _fit(self, sequences, lengths, targets, early):
        from jnas.train.cache import use_compilation_cache  # loaded late: it brings the trainer along

        use_compilation_cache()
        count = len(targets)
        # Rows and steps are filled up to a few sizes, so that a growing table seldom compiles a new program.
        rows = max(LEAST_PADDED, _rounded(count))
        sequences = sequences[:, : _steps(lengths, sequences.shape[1])]
        fill = [(0, rows - count)]
        self.fitted, held_out = _fit(
            jax.random.key(self.seed),
            np.pad(sequences, [*fill, (0, 0), (0, 0)]).astype(np.float32),
            np.pad(lengths, fill),
            np.pad(targets, fill).astype(np.float32),
            np.pad(np.ones(count, np.float32), fill),
            np.pad(early, [*fill, (0, 0)], constant_values=np.nan),
            self.settings,
        )
        return np.asarray(held_out)[:count]

    def _predict(self, sequences, lengths, early):
        members = self._members(sequences, lengths, early)
        std = ensemble.deviation(self.fitted, members)
        return members.mean(0), std

    def _members(self, sequences, lengths, early) -> np.ndarray:
        # Short sequences need few steps, so rows go in the order of their lengths.
        order = np.argsort(lengths, kind="stable")
        parts = [np.zeros((self.settings.members, 0), np.float32)]
        for start in range(0, len(order), CHUNK):
            rows = order[start : start + CHUNK]
            steps = _steps(lengths[rows], sequences.shape[1])
            fill = [(0, min(CHUNK, _rounded(len(order))) - len(rows))]
            part = ensemble.apply_jitted(
                self.fitted,
                np.pad(sequences[rows, :steps], [*fill, (0, 0), (0, 0)]),
                np.pad(lengths[rows], fill, constant_values=1),
                np.pad(early[rows], [*fill, (0, 0)], constant_values=np.nan),
            )
            parts.append(np.asarray(part)[:, : len(rows)])
        members = np.empty((self.settings.members, len(order)), np.float32)
        members[:, order] = np.concatenate(parts, 1)
        return members

    def _arrays(self):
        return ensemble.to_tree(self.fitted)

    def _facts(self):
        return {"settings": self.settings._asdict()}

    def _restore(self, folder: str | Path, facts: dict) -> None:
        given = facts["settings"]
        self.settings = Settings(**(given | {"pooling": tuple(given["pooling"])}))
        like = jax.eval_shape(functools.partial(ensemble.blank, self.width, self.epochs, self.settings))
        self.fitted = ensemble.from_tree(like, checkpoint.load_arrays(folder, ensemble.to_tree(like)))


def _rounded(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _steps(lengths: np.ndarray, most: int) -> int:
    """How many steps the longest of the sequences needs, in steps of 8."""
    return min(most, -(-int(lengths.max(initial=1)) // LENGTH_STEP) * LENGTH_STEP)


_fit = jax.jit(ensemble.fit, static_argnames="settings")
