"""Ridge regression and gradient boosting on the summary of each sequence."""

from __future__ import annotations

import numpy as np

from jnas import JnasError
from jnas.predict import Regressor
from predictors.summary import summarize

NUM_FOLDS = 5
PENALTIES = np.logspace(-1, 5, 25)


class _Baseline(Regressor):
    """A regressor that benchmarks fit and ask, and never save."""

    def _state(self):
        raise JnasError(f"A {type(self).__name__} cannot be saved: fit it again.")

    def _metadata(self) -> dict:
        return {}

    def _abstract_state(self, metadata: dict):
        raise JnasError(f"A {type(self).__name__} cannot be loaded: fit it again.")

    def _set_state(self, state, metadata: dict) -> None:
        raise JnasError(f"A {type(self).__name__} cannot be loaded: fit it again.")


class Ridge(_Baseline):
    """Ridge regression; its penalty has the smallest leave-one-out error of 25.

    The standard deviation is that of the leave-one-out errors, the same for all rows.
    """

    name = "ridge"

    def _fit(self, sequences, lengths, early, targets):
        x = summarize(sequences, lengths, early)
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
                best, out_of_fold = np.square(errors).mean(), targets - errors
                slopes = right.T @ (sizes / (sizes**2 + penalty) * (left.T @ centred)) / std
        self.slopes, self.offset, self.std = slopes, targets.mean() - mean @ slopes, np.sqrt(best)
        return out_of_fold

    def _predict(self, sequences, lengths, early):
        mean = summarize(sequences, lengths, early) @ self.slopes + self.offset
        return mean, np.full(len(mean), self.std)


class GradientBoosting(_Baseline):
    """Gradient boosting (Friedman 2001) by scikit-learn.

    The standard deviation is that of the errors on five left-out folds, the same for all rows.

    Raises:
      JnasError: scikit-learn is not installed.
    """

    name = "gradient_boosting"

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        try:
            from sklearn.ensemble import GradientBoostingRegressor
        except ImportError as error:
            raise JnasError("Gradient boosting needs scikit-learn: pip install scikit-learn.") from error
        self._new = lambda: GradientBoostingRegressor(
            n_estimators=300, learning_rate=0.05, max_depth=4, subsample=0.7, max_features=0.3, random_state=self.seed
        )

    def _fit(self, sequences, lengths, early, targets):
        x = summarize(sequences, lengths, early).astype(np.float32)
        folds = np.random.default_rng(self.seed).permutation(len(x)) % NUM_FOLDS
        out_of_fold = np.empty(len(x))
        for fold in range(NUM_FOLDS):
            train, test = folds != fold, folds == fold
            out_of_fold[test] = self._new().fit(x[train], targets[train]).predict(x[test])
        self.std = float(np.sqrt(np.square(out_of_fold - targets).mean()))
        self.trees = self._new().fit(x, targets)
        return out_of_fold

    def _predict(self, sequences, lengths, early):
        mean = self.trees.predict(summarize(sequences, lengths, early).astype(np.float32))
        return mean, np.full(len(mean), self.std)
