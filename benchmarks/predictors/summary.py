"""A sequence as one row of numbers, for models that cannot read sequences."""

from __future__ import annotations

import numpy as np

from jnas.predict import _prior


def summarize(sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray) -> np.ndarray:
    """Returns one row of features for each sequence, `[N, 4 D + E + 2]`.

    A row holds the last value, mean, maximum and minimum of each feature over the valid steps, the number of steps, the
    early accuracies and the number of observed epochs. An unobserved epoch takes the accuracy of the last observed
    one, or 0 if there is none.

    Args:
      sequences: `[N, T, D]`.
      lengths: `[N]` valid steps.
      early: `[N, E]` accuracies after the first epochs, NaN where not observed.
    """
    of_layers = _prior.summarize(np.asarray(sequences, np.float64), lengths)
    num_observed = np.cumprod(~np.isnan(early), 1).sum(1) if early.shape[1] else np.zeros(len(lengths), int)
    observed = np.arange(early.shape[1]) < num_observed[:, None]
    early = np.where(observed, early, 0)
    if early.shape[1]:
        last = np.take_along_axis(early, np.maximum(num_observed - 1, 0)[:, None], axis=1)
        early = np.where(observed, early, last)
    return np.concatenate([of_layers, early, num_observed[:, None]], 1)
