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
