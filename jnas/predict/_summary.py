"""A sequence as one row of numbers, for models that read no sequences."""

from __future__ import annotations

import numpy as np


def summary(sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray) -> np.ndarray:
    """`[N, 4 D + 1 + E + 1]`: each feature's last value, mean, maximum and minimum over the steps that are there, the
    number of steps, and the early accuracies.

    An epoch that is not known takes the accuracy of the last known one (0 where there is none), and the number of known
    epochs stands at the end. Arguments as in `Regressor.fit`.
    """
    sequences = np.asarray(sequences, np.float64)
    there = (np.arange(sequences.shape[1]) < lengths[:, None])[..., None]
    parts = [
        np.take_along_axis(sequences, lengths[:, None, None] - 1, axis=1)[:, 0],
        np.where(there, sequences, 0).sum(1) / lengths[:, None],
        np.where(there, sequences, -np.inf).max(1),
        np.where(there, sequences, np.inf).min(1),
        lengths[:, None],
    ]
    known = np.cumprod(~np.isnan(early), 1).sum(1) if early.shape[1] else np.zeros(len(lengths), int)
    filled = np.where(np.arange(early.shape[1]) < known[:, None], early, 0)
    if early.shape[1]:
        last = np.take_along_axis(filled, np.maximum(known - 1, 0)[:, None], axis=1)
        filled = np.where(np.arange(early.shape[1]) < known[:, None], filled, last)
    return np.concatenate([*parts, filled, known[:, None]], 1)
