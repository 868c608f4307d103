"""What the predictor is measured against, behind the same interface: ridge regression and gradient boosting."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from jnas._runtime import checkpoint
from jnas.errors import JnasError
from jnas.predict._base import Regressor
from jnas.predict._summary import summary

FOLDS = 5
PENALTIES = np.logspace(-1, 5, 25)


class Ridge(Regressor):
    """Ridge regression on the summary of each sequence; the penalty is that of least leave-one-out error.

    The standard deviation is that of the leave-one-out errors, the same for all rows.
    """

    name = "ridge"

    def _fit(self, sequences, lengths, targets, early):
        x = summary(sequences, lengths, early)
        mean, std = x.mean(0), x.std(0)
        std = np.where(std > 1e-9, std, 1)
        left, sizes, right = np.linalg.svd((x - mean) / std, full_matrices=False)
        centred = targets - targets.mean()
        best = np.inf
        for penalty in PENALTIES:
            shrink = sizes**2 / (sizes**2 + penalty)
            fitted = left @ (shrink * (left.T @ centred))
            leverage = np.minimum((left**2 * shrink).sum(1) + 1 / len(targets), 0.999)
            errors = (centred - fitted) / (1 - leverage)
            if np.square(errors).mean() < best:
                best, held_out = np.square(errors).mean(), targets - errors
                slopes = right.T @ (sizes / (sizes**2 + penalty) * (left.T @ centred)) / std
        self.slopes, self.offset, self.std = slopes, targets.mean() - mean @ slopes, np.sqrt(best)
        return held_out

    def _predict(self, sequences, lengths, early):
        mean = summary(sequences, lengths, early) @ self.slopes + self.offset
        return mean, np.full(len(mean), self.std)

    def _arrays(self):
        return {"slopes": np.asarray(self.slopes, np.float32)}

    def _facts(self):
        return {"offset": float(self.offset), "std": float(self.std)}

    def _restore(self, folder: str | Path, facts: dict) -> None:
        self.offset, self.std = facts["offset"], facts["std"]
        size = 4 * self.width + 2 + self.epochs
        like = {"slopes": jax.ShapeDtypeStruct((size,), np.float32)}
        self.slopes = np.asarray(checkpoint.load_arrays(folder, like)["slopes"])


class GradientBoosting(Regressor):
    """Gradient boosting (Friedman 2001; scikit-learn's) on the summary of each sequence.

    The standard deviation is that of the errors on five left-out folds, the same for all rows. Saved are the rows, from
    which `load` fits the same trees again.

    Raises:
      JnasError: scikit-learn is not installed.
    """

    name = "gradient_boosting"

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        try:
            from sklearn.ensemble import GradientBoostingRegressor
        except ImportError as error:
            raise JnasError("Gradient boosting needs scikit-learn: pip install 'jnas[predict]'.") from error
        self._new = lambda: GradientBoostingRegressor(
            n_estimators=300, learning_rate=0.05, max_depth=4, subsample=0.7, max_features=0.3, random_state=self.seed
        )

    def _fit(self, sequences, lengths, targets, early):
        x = summary(sequences, lengths, early)
        folds = np.random.default_rng(self.seed).permutation(len(x)) % FOLDS
        held_out = np.empty(len(x))
        for fold in range(FOLDS):
            held_out[folds == fold] = (
                self._new().fit(x[folds != fold], targets[folds != fold]).predict(x[folds == fold])
            )
        self._grow(x, targets, np.sqrt(np.square(held_out - targets).mean()))
        return held_out

    def _grow(self, x, targets, std) -> None:
        # As they come back from the disk, so that the trees that `load` grows are the same.
        self.rows = {"x": x.astype(np.float32), "targets": targets.astype(np.float32)}
        self.std = float(std)
        self.trees = self._new().fit(self.rows["x"], self.rows["targets"])

    def _predict(self, sequences, lengths, early):
        mean = self.trees.predict(summary(sequences, lengths, early).astype(np.float32))
        return mean, np.full(len(mean), self.std)

    def _arrays(self):
        return self.rows

    def _facts(self):
        return {"std": self.std, "rows": len(self.rows["x"])}

    def _restore(self, folder: str | Path, facts: dict) -> None:
        shapes = {"x": (facts["rows"], 4 * self.width + 2 + self.epochs), "targets": (facts["rows"],)}
        like = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
        rows = {name: np.asarray(array) for name, array in checkpoint.load_arrays(folder, like).items()}
        self._grow(rows["x"], rows["targets"], facts["std"])
