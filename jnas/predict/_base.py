"""The interface of all regressors: the checks of what comes in, and the way to the disk."""

import abc
import time
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from jaxtyping import Float32, Int32, Num
from numpy.typing import ArrayLike

from jnas._runtime import checkpoint
from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse, to_array, to_integers, to_path, to_seed
from jnas.errors import JnasError
from jnas.predict._arrays import by_path, from_paths
from jnas.predict._metrics import Scores, score

MIN_ROWS = 10


class Inputs(NamedTuple):
    """Validated rows of one shape; `early` is NaN from where epochs are not observed."""

    sequences: Num[np.ndarray, "n t d"]
    lengths: Int32[np.ndarray, " n"]
    early: Float32[np.ndarray, "n e"]


@with_own_settings
class Regressor(abc.ABC):
    """A model that predicts a number, such as an accuracy, from a sequence of layer vectors.

    After `fit`, `scores` is the agreement on rows that what predicts them has not seen, if there are any, and `seconds`
    the wall time. Raises a `JnasError` if the seed is none.
    """

    name: ClassVar[str]

    def __init__(self, seed: int = 0):
        self.seed = to_seed("seed", seed)
        self.num_features: int | None = None
        self.num_epochs = 0
        self.scores: Scores | None = None
        self.seconds = 0.0

    def __repr__(self) -> str:
        state = "not fitted"
        if self.num_features is not None:
            state = f"fitted, features={self.num_features}, epochs={self.num_epochs}"
        if self.scores is not None:
            state += f", r2={self.scores.r2:.3f}, kendall_tau={self.scores.kendall_tau:.3f}"
        return f"{type(self).__name__}(seed={self.seed}, {state})"

    def fit(self, sequences: ArrayLike, lengths: ArrayLike, targets: ArrayLike, early: ArrayLike | None = None) -> Self:
        """Returns the model itself, fitted to at least 10 rows.

        Args:
          sequences: `[N, T, D]` layer vectors, such as `Template.vectors` (D = 32), filled up to one length T.
          lengths: `[N]` valid steps, 1 to T; the rest of a sequence is ignored.
          targets: `[N]`, in any unit.
          early: `[N, E]` accuracies after the first E epochs, NaN from where they are not observed; None for E = 0.

        Raises:
          JnasError: there are too few rows, the targets are constant or not finite, or shapes do not match.
        """
        start = time.perf_counter()
        rows = validate_rows(sequences, lengths, early)
        targets = _validate_targets(targets, rows, self._min_rows(rows.sequences.shape[2]))
        out_of_fold = self._fit(*rows, targets)
        self.num_features, self.num_epochs, self.scores = rows.sequences.shape[2], rows.early.shape[1], None
        if out_of_fold is not None:
            judged = np.isfinite(out_of_fold)
            self.scores = score(targets[judged], out_of_fold[judged])
        self.seconds = time.perf_counter() - start
        return self

    def predict(
        self, sequences: ArrayLike, lengths: ArrayLike, early: ArrayLike | None = None
    ) -> tuple[Num[np.ndarray, " n"], Num[np.ndarray, " n"]]:
        """Returns means and standard deviations, `[N]` each, in the unit of the targets.

        The arguments are those of `fit`. `early` may have fewer epochs than in `fit`, or be None: an epoch that is
        missing counts as not observed. Raises a `JnasError` if the model is not fitted, or the rows have another form.
        """
        return self._predict(*self._validate_and_pad(sequences, lengths, early))

    def save(self, folder: str | Path) -> None:
        """Writes the fitted model as an Orbax checkpoint, which replaces what `folder` held."""
        self._check_fitted()
        folder = to_path("folder", folder)
        metadata = {"model": self.name, "seed": self.seed, "num_features": self.num_features}
        metadata |= {"num_epochs": self.num_epochs, "scores": self.scores, "extra": self._metadata()}
        checkpoint.save(folder, by_path(self._state()), metadata)

    @classmethod
    @with_own_settings
    def load(cls, folder: str | Path) -> Self:
        """Returns the model that `save` wrote; raises a `JnasError` if `folder` holds none of this class."""
        folder = to_path("folder", folder)
        metadata = checkpoint.load_metadata(folder)
        if metadata.get("model") != cls.name:
            raise JnasError(f"folder must hold a {cls.__name__}, got {folder}; name what {cls.__name__}.save wrote.")
        model, extra = cls(metadata["seed"]), metadata["extra"]
        model.num_features, model.num_epochs = metadata["num_features"], metadata["num_epochs"]
        model.scores = metadata["scores"] and Scores(*metadata["scores"])
        state = from_paths(checkpoint.restore(folder, by_path(target := model._abstract_state(extra))), target)
        model._set_state(state, extra)
        return model

    def _min_rows(self, num_features: int) -> int:
        """Returns how many rows with so many features a fit needs."""
        return MIN_ROWS

    @abc.abstractmethod
    def _fit(self, sequences, lengths, early, targets) -> np.ndarray | None:
        """Fits valid rows; returns out-of-fold predictions `[N]` where the model has such."""

    @abc.abstractmethod
    def _predict(self, sequences, lengths, early) -> tuple[np.ndarray, np.ndarray]:
        """Returns means and standard deviations of valid rows."""

    @abc.abstractmethod
    def _state(self) -> Any:
        """Returns a pytree of the arrays to save."""

    @abc.abstractmethod
    def _metadata(self) -> dict:
        """Returns what else to save, as JSON can hold it."""

    @abc.abstractmethod
    def _abstract_state(self, metadata: dict) -> Any:
        """Returns the shapes and types of `_state`, given what `_metadata` returned."""

    @abc.abstractmethod
    def _set_state(self, state: Any, metadata: dict) -> None:
        """Restores what `_state` and `_metadata` returned."""

    def _check_fitted(self) -> None:
        if self.num_features is None:
            raise JnasError("The predictor must be fitted first; call fit, or load a saved one.")

    def _validate_and_pad(self, sequences: ArrayLike, lengths: ArrayLike, early: ArrayLike | None) -> Inputs:
        """Valid rows for a fitted model, with as many epochs as in `fit`."""
        self._check_fitted()
        rows = validate_rows(sequences, lengths, early)
        if rows.sequences.shape[2] != self.num_features:
            refuse("sequences", f"[N, T, {self.num_features}], as in fit", rows.sequences, "give the same features")
        missing = self.num_epochs - rows.early.shape[1]
        if missing < 0:
            refuse("early", f"[N, {self.num_epochs}] or less, as in fit", rows.early, "leave later epochs out")
        padding = np.full((len(rows.early), missing), np.nan, np.float32)
        return rows._replace(early=np.concatenate([rows.early, padding], 1))


def validate_rows(sequences: ArrayLike, lengths: ArrayLike, early: ArrayLike | None) -> Inputs:
    sequences, lengths = to_array("sequences", sequences), to_integers("lengths", lengths)
    if sequences.ndim != 3 or lengths.shape != sequences.shape[:1]:
        raise JnasError(
            f"sequences and lengths must be [N, T, D] and [N], got {sequences.shape} and {lengths.shape}; "
            "pad Template.vectors, [T, 32] of each template, to one length."
        )
    lengths = lengths.clip(-1, np.iinfo(np.int32).max).astype(np.int32)
    count, steps, _ = sequences.shape
    low, high = (lengths.min(), lengths.max()) if count else (1, steps)
    if low < 1 or high > steps:
        raise JnasError(f"lengths must be in [1, {steps}], the steps of sequences, got {low} to {high}.")
    with np.errstate(over="ignore"):
        sequences = sequences if sequences.dtype.kind != "f" else sequences.astype(np.float32)  # as models compute
    if not np.isfinite(sequences).all():
        padding = np.arange(steps) >= lengths[:, None]
        sequences = np.where(padding[..., None], 0, sequences)
        if not np.isfinite(sequences).all():
            raise JnasError("sequences must be finite in all valid steps, as float32, got NaN or infinity; drop them.")
    early = np.zeros((count, 0), np.float32) if early is None else to_array("early", early)
    if early.ndim != 2 or len(early) != count:
        refuse("early", f"[{count}, E], a row for each sequence", early, "give NaN for an epoch that is not observed")
    early = early.astype(np.float32)
    if np.isinf(early).any():
        raise JnasError("early must be finite, got infinity; give NaN for an epoch that is not observed.")
    return Inputs(sequences, lengths, early)


def _validate_targets(targets: ArrayLike, rows: Inputs, minimum: int) -> np.ndarray:
    targets = to_array("targets", targets).astype(float)
    if targets.shape != rows.lengths.shape:
        refuse("targets", f"one number for each of {len(rows.lengths)} sequences", targets, "give as many as sequences")
    if len(targets) < minimum:
        raise JnasError(f"targets must have {minimum} rows or more, got {len(targets)}; evaluate more templates.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(targets.astype(np.float32))  # models compute in float32
    if not finite.all():
        row = int(np.argmin(finite))
        raise JnasError(f"targets must be finite, got {targets[row]} in row {row}; leave out failed evaluations.")
    if np.ptp(targets.astype(np.float32)) == 0:
        raise JnasError(f"targets must differ, got {targets[0]:g} in all {len(targets)} rows; evaluate others as well.")
    return targets
