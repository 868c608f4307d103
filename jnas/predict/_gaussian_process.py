"""A Gaussian process that corrects what is known beforehand by the rows that there are, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import linalg, optimize

MAX_ROWS_OF_SEARCH = 256
"""Rows that the variances are fitted to, at most; all rows count afterwards."""
BLOCK_ROWS = 1024
"""Rows that are predicted together."""
LOCAL_LENGTH_SCALE = 0.25
"""Of the function that tells a network from those that differ in a layer or two, in standard deviations of features;
random networks are 1.4 apart."""
_JITTER = 1e-6


class Knowledge(NamedTuple):
    """What is known of N rows before their targets.

    `expected` `[N]` is a first guess of the target in standard deviations, `embedding` `[N, D]` and `summary` `[N, S]`
    are standardised features, and `early` `[N, E]` standardised accuracies of the first epochs; E may be 0.
    """

    expected: np.ndarray
    embedding: np.ndarray
    summary: np.ndarray
    early: np.ndarray

    def take(self, rows: np.ndarray) -> Knowledge:
        """Returns the knowledge of some rows."""
        return Knowledge(*(values[rows] for values in self))


class _Variances(NamedTuple):
    """Logarithms of the parts' variances, in squared standard deviations of the targets."""

    slope: float  # of the expectation
    linear: float  # of a linear function of the embedding
    smooth: float  # of a smooth function of it
    local: float  # of a function of it that is smooth among networks that are nearly alike only
    summary: float  # of a smooth function of the summary
    early: float  # of a linear function of the early epochs
    noise: float


MEAN = _Variances(0.0, -3.0, -1.5, -1.0, -1.5, 0.5, -1.2)
_STD = _Variances(1.0, 1.5, 1.0, 1.0, 1.0, 1.5, 1.0)
"""Of the logarithms, before any row; they hold where rows are few."""


class GaussianProcess:
    """The target as a sum: a constant, a multiple of the expectation, functions of embedding and epochs, and noise.

    The variances of the parts have the greatest likelihood times their prior (Rasmussen and Williams 2006, 5.4).
    """

    def __init__(self, known: Knowledge, targets: Float[np.ndarray, " n"], seed: int = 0):
        self.known, self.mean, self.std = known, float(targets.mean()), max(float(targets.std()), 1e-12)
        scaled = (targets - self.mean) / self.std
        rows = np.arange(len(targets))
        if len(rows) > MAX_ROWS_OF_SEARCH:
            rows = np.random.default_rng(seed).permutation(rows)[:MAX_ROWS_OF_SEARCH]
        self.variances = _fit_variances(known.take(rows), scaled[rows])
        self._solve(scaled)

    def _solve(self, scaled: np.ndarray) -> None:
        """Sets what follows from the rows and the variances."""
        known = self.known
        covariance = _covariance(known, known, self.variances)
        covariance[np.diag_indices_from(covariance)] += np.exp(self.variances.noise) + _JITTER
        inverse = linalg.inv(covariance, overwrite_a=True, check_finite=False)
        self.inverse = (inverse + inverse.T) / 2
        self.weights = self.inverse @ scaled
        self.left_out = (scaled - self.weights / np.diag(self.inverse)) * self.std + self.mean
        """What the other rows predict for each row, `[N]` (Rasmussen and Williams 2006, 5.12)."""

    def predict(self, known: Knowledge) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Returns means and standard deviations of the targets, noise included."""
        count = len(known.expected)
        blocks = (known.take(np.arange(start, min(start + BLOCK_ROWS, count))) for start in range(0, count, BLOCK_ROWS))
        found = [self._predict_block(block) for block in blocks]
        mean, std = (np.concatenate([np.zeros(0), *(part[i] for part in found)]) for i in range(2))
        return mean, std

    def _predict_block(self, known: Knowledge) -> tuple[np.ndarray, np.ndarray]:
        across = _covariance(known, self.known, self.variances)
        explained = ((across @ self.inverse) * across).sum(1)
        variance = _variance(known, self.variances) + np.exp(self.variances.noise) - explained
        return across @ self.weights * self.std + self.mean, np.sqrt(np.maximum(variance, 1e-8)) * self.std


def _products(first: Knowledge, second: Knowledge) -> list[np.ndarray]:
    """The parts' covariances at variance 1, in the order of `_Variances`, without the noise."""
    slope = np.outer(first.expected, second.expected)
    linear, smooth = _linear(first.embedding, second.embedding), _smooth(first.embedding, second.embedding)
    local = _smooth(first.embedding, second.embedding, LOCAL_LENGTH_SCALE)
    summary, early = _smooth(first.summary, second.summary), _linear(first.early, second.early)
    return [slope, linear, smooth, local, summary, early]


def _linear(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The mean product of features."""
    return first @ second.T / max(first.shape[1], 1)


def _smooth(first: np.ndarray, second: np.ndarray, length_scale: float = 1.0) -> np.ndarray:
    """Minus half of the mean squared difference of features, in length scales, as the logarithm of a covariance."""
    squares = [np.square(x).sum(1) / max(x.shape[1], 1) for x in (first, second)]
    logarithm = np.minimum(_linear(first, second) - squares[0][:, None] / 2 - squares[1] / 2, 0)
    return np.exp(logarithm / length_scale**2)


def _covariance(first: Knowledge, second: Knowledge, variances: _Variances) -> np.ndarray:
    """`[N, M]`, with a variance of 1 for the constant."""
    covariance = np.ones((len(first.expected), len(second.expected)))
    for variance, part in zip(variances, _products(first, second), strict=False):
        covariance += np.exp(variance) * part
    return covariance


def _variance(known: Knowledge, variances: _Variances) -> np.ndarray:
    """`[N]`: the diagonal of `_covariance`."""
    linear, early = (np.square(x).sum(1) / max(x.shape[1], 1) for x in (known.embedding, known.early))
    scales = _Variances(*np.exp(variances))
    varying = scales.slope * np.square(known.expected) + scales.linear * linear + scales.early * early
    return 1.0 + varying + scales.smooth + scales.local + scales.summary


def _fit_variances(known: Knowledge, targets: np.ndarray) -> _Variances:
    """The likeliest variances."""
    products = [*_products(known, known), np.eye(len(targets))]
    bounds = [(centre - 5 * width, centre + 5 * width) for centre, width in zip(MEAN, _STD, strict=True)]
    loss, start, options = negative_log_posterior, np.array(MEAN), {"maxiter": 25, "ftol": 1e-5}
    arguments = products, targets
    found = optimize.minimize(loss, start, arguments, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return _Variances(*found.x)


def negative_log_posterior(
    logarithms: np.ndarray, products: Sequence[np.ndarray], targets: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns minus the logarithm of likelihood times prior, but for a constant, and its slopes.

    It is a function of the logarithms of variances; `products` are the parts' covariances at variance 1, that of the
    noise too (Rasmussen and Williams 2006, 5.9).
    """
    parts = [np.exp(value) * part for value, part in zip(logarithms, products, strict=True)]
    covariance = np.ones_like(parts[0]) + np.sum(parts, 0)
    covariance[np.diag_indices_from(covariance)] += _JITTER
    lower = linalg.cholesky(covariance, lower=True, check_finite=False)
    inverse = linalg.cho_solve((lower, True), np.eye(len(lower)), check_finite=False)
    weights = inverse @ targets
    slope, deviation = 0.5 * (inverse - np.outer(weights, weights)), (logarithms - np.array(MEAN)) / np.array(_STD)
    value = 0.5 * targets @ weights + np.log(np.diag(lower)).sum() + 0.5 * deviation @ deviation
    return float(value), np.array([np.vdot(slope, part) for part in parts]) + deviation / np.array(_STD)
