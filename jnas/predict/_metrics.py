"""How well predictions agree with measurements."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jnas._validation import refuse, to_array
from jnas.errors import JnasError


class Scores(NamedTuple):
    """Agreement of predicted with measured values; NaN where undefined, with fewer than 2 rows or constant values.

    `r2` is 1 - residual / total sum of squares, `kendall_tau` Kendall's tau-b, and `spearman` a rank correlation.
    """

    r2: float
    kendall_tau: float
    spearman: float
    num_rows: int


class Calibration(NamedTuple):
    """How well standard deviations describe the errors of predictions.

    The coverages are fractions of rows whose error is at most so many standard deviations: 0.683 and 0.954 for normal
    errors. `nll` is the mean negative log likelihood in nats, `error_correlation` Spearman's correlation of standard
    deviation and absolute error; NaN where either is constant.
    """

    coverage_1std: float
    coverage_2std: float
    nll: float
    error_correlation: float


def score(measured: ArrayLike, predicted: ArrayLike) -> Scores:
    """Returns R², Kendall's tau-b and Spearman's correlation of predictions, `[N]` in the unit of the measurements.

    Example:
      >>> score([0.1, 0.2, 0.3], [0.1, 0.2, 0.4]).kendall_tau
      1.0
    """
    from scipy import stats

    measured, predicted = to_vectors(measured=measured, predicted=predicted)
    if len(measured) < 2 or np.ptp(measured) == 0:
        return Scores(math.nan, math.nan, math.nan, len(measured))
    r2 = 1 - np.square(measured - predicted).sum() / np.square(measured - measured.mean()).sum()
    if np.ptp(predicted) == 0:  # the order is undefined
        return Scores(float(r2), math.nan, math.nan, len(measured))
    tau, rho = (_correlation(method, measured, predicted) for method in (stats.kendalltau, stats.spearmanr))
    return Scores(float(r2), tau, rho, len(measured))


def calibration(measured: ArrayLike, predicted: ArrayLike, std: ArrayLike) -> Calibration:
    """Returns the calibration of predictions with standard deviations, `[N]` each in the unit of the measurements."""
    from scipy import stats

    measured, predicted, std = to_vectors(measured=measured, predicted=predicted, std=std)
    if not len(measured):
        return Calibration(*[math.nan] * 4)
    errors, std = np.abs(measured - predicted), np.maximum(std, 1e-12)
    nll = (0.5 * np.square(errors / std) + np.log(std) + 0.5 * math.log(2 * math.pi)).mean()
    varies = len(errors) > 1 and np.ptp(std) > 1e-9 * std.max() and np.ptp(errors) > 0
    correlation = _correlation(stats.spearmanr, std, errors) if varies else math.nan
    return Calibration(float((errors <= std).mean()), float((errors <= 2 * std).mean()), float(nll), correlation)


def to_vectors(**arrays: ArrayLike) -> list[np.ndarray]:
    """Returns arrays as vectors of floats; raises a `JnasError` if they are none of one length, without infinity."""
    vectors = [to_array(name, array).astype(float) for name, array in arrays.items()]
    if any(vector.shape != (vectors[0].size,) for vector in vectors):
        shapes = " and ".join(str(vector.shape) for vector in vectors)
        raise JnasError(f"{', '.join(arrays)} must be vectors of one length, got {shapes}; give one number a row.")
    for name, vector in zip(arrays, vectors, strict=True):
        if not np.isfinite(vector).all():
            refuse(name, "finite", float(vector[np.argmin(np.isfinite(vector))]), "leave out failed evaluations")
    return vectors


def _correlation(method, a: np.ndarray, b: np.ndarray) -> float:
    return float(method(a, b).statistic)
