"""How well predictions agree with measurements."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
    """Agreement of predicted with measured values; NaN where it is not defined (fewer than 2 rows, or constant ones).

    Attributes:
      r2: coefficient of determination, 1 - residual / total sum of squares.
      kendall_tau: Kendall's tau-b, the share of pairs in the right order minus that in the wrong one.
      spearman: Spearman's rank correlation.
      rows: how many pairs were compared.
    """

    r2: float
    kendall_tau: float
    spearman: float
    rows: int


def score(measured: np.ndarray, predicted: np.ndarray) -> Scores:
    """Scores of predictions `[N]` against measurements `[N]`."""
    from scipy import stats

    measured, predicted = np.asarray(measured, float), np.asarray(predicted, float)
    if len(measured) < 2 or np.ptp(measured) == 0:
        return Scores(math.nan, math.nan, math.nan, len(measured))
    r2 = 1 - np.square(measured - predicted).sum() / np.square(measured - measured.mean()).sum()
    if np.ptp(predicted) == 0:  # no order to compare
        return Scores(float(r2), math.nan, math.nan, len(measured))
    tau = stats.kendalltau(measured, predicted).statistic
    return Scores(float(r2), float(tau), float(stats.spearmanr(measured, predicted).statistic), len(measured))


class Calibration(NamedTuple):
    """How well standard deviations tell the errors of predictions.

    Attributes:
      within_1_std, within_2_std: share of rows whose error is at most so many of their standard deviations; .683 and
        .954 for normal errors.
      nll: mean negative log likelihood of the measurements under normal distributions, in nats.
      error_correlation: Spearman correlation of standard deviation and size of the error; NaN where either is constant.
    """

    within_1_std: float
    within_2_std: float
    nll: float
    error_correlation: float


def calibration(measured: np.ndarray, predicted: np.ndarray, std: np.ndarray) -> Calibration:
    """Calibration of predictions `[N]` with standard deviations `[N]` against measurements `[N]`."""
    from scipy import stats

    errors = np.abs(np.asarray(measured, float) - np.asarray(predicted, float))
    std = np.maximum(np.asarray(std, float), 1e-12)
    nll = (0.5 * np.square(errors / std) + np.log(std) + 0.5 * math.log(2 * math.pi)).mean()
    varies = len(errors) > 1 and np.ptp(std) > 1e-9 * std.max() and np.ptp(errors) > 0
    related = stats.spearmanr(std, errors).statistic if varies else math.nan
    return Calibration(float((errors <= std).mean()), float((errors <= 2 * std).mean()), float(nll), float(related))
