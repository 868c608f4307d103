"""Which templates in training still have a chance, by a predictor that has seen their first epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jnas._search.screening import seen
from jnas.predict import Predictor
from jnas.space import Space, Template, to_genomes

DOUBT = 2.0
"""Standard deviations that a prediction may be too low: one in 40 of those stopped would have been better."""


def hopeful(
    space: Space, names: Sequence[str], curves: np.ndarray, predictor: Predictor, best: np.ndarray
) -> np.ndarray:
    """`[N]` bool: which templates may still become better than what they have to beat.

    Args:
      space: of the templates.
      names: N hashes.
      curves: `[N, K]` validation accuracies after their first epochs.
      predictor: fitted to rows with K or more early epochs.
      best: `[N]` final validation accuracies: for each the highest so far of those that cost as little, or less.
    """
    templates = [Template.from_hash(name, space.in_shape, space.classes) for name in names]
    mean, std = predictor.predict(*seen(space, to_genomes(templates, space.length)), curves)
    return mean + DOUBT * std > best


def to_beat(costs: np.ndarray, known: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """The highest accuracy of those trained so far that cost as little as a template, or less: `[N]`, -inf for none.

    Args:
      costs: `[N, M]` of N templates in each objective but the accuracy; M may be 0.
      known: `[R, M]`, the same of what was trained.
      accuracies: `[R]` of these.
    """
    rivals = (known[None] <= costs[:, None]).all(-1)
    return np.where(rivals, accuracies, -np.inf).max(-1, initial=-np.inf)
