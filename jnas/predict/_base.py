"""What all predictors of accuracies share: one interface, one check of what comes in, one way to the disk."""

from __future__ import annotations

import abc
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from jnas._runtime import checkpoint
from jnas.errors import JnasError
from jnas.predict._metrics import Scores, score

LEAST_ROWS = 10


class Regressor(abc.ABC):
    """Predicts a number, such as an accuracy, from a vector for each layer.

    Args:
      seed: of everything random.

    Attributes:
      scores: agreement on rows of the last `fit`, each predicted by what had not seen it; None where the model has
        no such rows.
      seconds: wall clock of the last `fit`.
    """

    name: ClassVar[str]
    """What the model is called in tables."""

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.width: int | None = None
        self.epochs = 0
        self.scores: Scores | None = None
        self.seconds = 0.0

    def fit(
        self, sequences: np.ndarray, lengths: np.ndarray, targets: np.ndarray, early: np.ndarray | None = None
    ) -> Self:
        """Trains from scratch.

        Args:
          sequences: `[N, T, D]`, such as `Template.vectors` (D = 32), filled up to one length T.
          lengths: `[N]` steps that are there, 1 to T; the rest of each sequence is ignored.
          targets: `[N]`, in any unit.
          early: `[N, E]` accuracies after the first E epochs, NaN from where a row's are not known; None for none.

        Raises:
          JnasError: fewer than 10 rows, constant or non-finite targets, or shapes that do not match.
        """
        start = time.perf_counter()
        sequences, lengths, early = self._checked_rows(sequences, lengths, early)
        targets = np.asarray(targets, float)
        if targets.shape != lengths.shape:
            raise JnasError(
                f"The predictor got sequences {sequences.shape} and targets {targets.shape}: give [N, T, D], [N] and "
                "[N], one target for each sequence."
            )
        if len(targets) < LEAST_ROWS:
            raise JnasError(
                f"The predictor got {len(targets)} rows and needs {LEAST_ROWS}: evaluate more templates first."
            )
        if not np.isfinite(targets).all():
            row = int(np.argmin(np.isfinite(targets)))
            raise JnasError(
                f"The predictor got a target that is not a number ({targets[row]}, row {row}): leave out the rows of "
                "failed evaluations."
            )
        if np.ptp(targets.astype(np.float32)) == 0:  # which is what models compute in
            raise JnasError(f"All {len(targets)} targets are {targets[0]:g}: there is nothing to tell apart.")
        self.width, self.epochs, self.scores = sequences.shape[2], early.shape[1], None
        held_out = self._fit(sequences, lengths, targets, early)
        if held_out is not None:
            known = np.isfinite(held_out)
            self.scores = score(targets[known], held_out[known])
        self.seconds = time.perf_counter() - start
        return self

    def predict(
        self, sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations, `[N]` each, in the targets' unit; the arguments are those of `fit`.

        `early` may have fewer epochs than in `fit`, or be None: what is missing counts as not known.

        Raises:
          JnasError: neither `fit` nor `load` was called, or the rows are of another form than those of `fit`.
        """
        return self._predict(*self._ready_rows(sequences, lengths, early))

    def save(self, folder: str | Path) -> None:
        """Writes the fitted model as an Orbax checkpoint; what `folder` held is replaced.

        Raises:
          JnasError: it is not fitted.
        """
        self._check_fitted()
        facts = {"model": self.name, "seed": self.seed, "width": self.width, "epochs": self.epochs}
        checkpoint.save(folder, self._arrays(), facts | {"scores": self.scores, "extra": self._facts()})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model that `save` wrote.

        Raises:
          JnasError: there is none of this kind in `folder`.
        """
        facts = checkpoint.load_metadata(folder)
        if facts.get("model") != cls.name:
            raise JnasError(
                f"{folder} holds no predictor of the kind {cls.name!r}: name the folder that {cls.__name__}.save wrote."
            )
        model = cls(facts["seed"])
        model.width, model.epochs = facts["width"], facts["epochs"]
        model.scores = facts["scores"] and Scores(*facts["scores"])
        model._restore(folder, facts["extra"])
        return model

    @abc.abstractmethod
    def _fit(self, sequences, lengths, targets, early) -> np.ndarray | None:
        """Fits checked rows; returns held-out predictions `[N]`, where there are such."""

    @abc.abstractmethod
    def _predict(self, sequences, lengths, early) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of checked rows."""

    @abc.abstractmethod
    def _arrays(self) -> Any:
        """A tree of the arrays to save."""

    @abc.abstractmethod
    def _facts(self) -> dict:
        """What else to save, as JSON can hold it."""

    @abc.abstractmethod
    def _restore(self, folder: str | Path, facts: dict) -> None:
        """Takes back what `_arrays` and `_facts` gave."""

    def _check_fitted(self) -> None:
        if self.width is None:
            raise JnasError("The predictor has not been fitted: call fit, or load a fitted one.")

    def _ready_rows(self, sequences, lengths, early) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Checked rows for a fitted model."""
        self._check_fitted()
        if np.ndim(sequences) != 3 or np.shape(sequences)[2] != self.width:
            raise JnasError(
                f"The predictor was fitted on sequences [N, T, {self.width}] and got {np.shape(sequences)}: encode "
                "them the same way."
            )
        sequences, lengths, early = self._checked_rows(sequences, lengths, early)
        if early.shape[1] > self.epochs:
            raise JnasError(
                f"The predictor was fitted on {self.epochs} early epochs and got {early.shape[1]}: give {self.epochs} "
                "or fewer."
            )
        missing = np.full((len(early), self.epochs - early.shape[1]), np.nan, np.float32)
        return sequences, lengths, np.concatenate([early, missing], 1)

    @staticmethod
    def _checked_rows(sequences, lengths, early) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sequences, lengths = np.asarray(sequences), np.asarray(lengths, np.int32)
        if sequences.ndim != 3 or lengths.shape != sequences.shape[:1]:
            raise JnasError(
                f"The predictor got sequences {sequences.shape} and lengths {lengths.shape}: give [N, T, D] and [N]."
            )
        count, steps, _ = sequences.shape
        if count and not (lengths.min() >= 1 and lengths.max() <= steps):
            raise JnasError(
                f"The predictor got lengths from {lengths.min()} to {lengths.max()} for sequences of {steps} steps: "
                f"give 1 to {steps}."
            )
        if not np.isfinite(sequences).all():
            behind = np.arange(steps) >= lengths[:, None]
            sequences = np.where(behind[..., None], 0, sequences)
            if not np.isfinite(sequences).all():
                raise JnasError("The predictor got a feature that is not a number: give finite sequences.")
        early = np.zeros((count, 0), np.float32) if early is None else np.asarray(early, np.float32)
        if early.ndim != 2 or len(early) != count:
            raise JnasError(f"The predictor got early accuracies {early.shape} for {count} rows: give [N, E].")
        if np.isinf(early).any():
            raise JnasError("The predictor got an infinite early accuracy: give NaN where it is not known.")
        return sequences, lengths, early
