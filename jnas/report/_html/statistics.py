"""What follows from the rows of a search: noise, the best so far, fronts, and which rows to show."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

COSTS = ("params", "macs", "latency_ms")
_NUM_BEST, _NUM_FAILED = 400, 100


def seconds_of(rows: pd.DataFrame, started: pd.Timestamp) -> pd.Series:
    """Returns the seconds of the search after which each row was done; 0 for those that an earlier search trained.

    These are the column `seconds` where it has a value, and the time since `started` elsewhere.
    """
    return rows.seconds.fillna((rows.finished_at - started).dt.total_seconds()).clip(lower=0)


def standard_error(accuracy: float | None, num_images: int | None) -> float | None:
    """Returns the standard deviation of an accuracy by the choice of images; None where one of these is not known."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images) if accuracy is not None and num_images else None


def improvements(accuracies: Float[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """Returns the indices of the accuracies that are higher than all before; NaN is lower than all."""
    values = np.nan_to_num(accuracies, nan=-1.0)
    before = np.concatenate([[-0.5], np.maximum.accumulate(values)[:-1]])
    return np.flatnonzero(values > before)


def front(accuracies: Float[np.ndarray, " n"], costs: Float[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """Returns the indices of those that none with the same cost or less surpasses, the cheapest first."""
    known = np.flatnonzero(np.isfinite(accuracies) & np.isfinite(costs))
    order = known[np.lexsort((-accuracies[known], costs[known]))]
    return order[improvements(accuracies[order])]


def select_rows(rows: pd.DataFrame, most: int, kept: set[str]) -> Bool[np.ndarray, " n"]:
    """Returns which rows to show: all, or at most about so many.

    Those are the best, the known networks, `kept`, those that were the best so far, the fronts, some that failed, and
    others in even steps.
    """
    if len(rows) <= most:
        return np.ones(len(rows), bool)
    is_good = (rows.status == "ok").to_numpy(bool)
    accuracies = rows.val_acc_final.where(is_good).to_numpy(float)
    shown = ((rows.phase == "known") | rows.hash.isin(kept)).to_numpy(copy=True)
    shown[np.argsort(-np.nan_to_num(accuracies, nan=-1.0), kind="stable")[:_NUM_BEST]] = True
    shown[np.flatnonzero(~is_good)[:_NUM_FAILED]] = True
    shown[improvements(accuracies)] = True
    for cost in COSTS:
        shown[front(accuracies, rows[cost].to_numpy(float))] = True
    others = np.flatnonzero(~shown)
    count = max(most - int(shown.sum()), 0)
    shown[others[np.linspace(0, len(others) - 1, count).astype(int)] if len(others) else []] = True
    return shown
