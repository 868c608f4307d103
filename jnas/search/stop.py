"""Which templates in training still have a chance, by a predictor that has seen their first epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jnas.predict import Predictor
from jnas.search.choose import seen
from jnas.space import Space, Template
from jnas.space.genome import to_genomes

DOUBT = 2.0
"""Standard deviations that a prediction may be too low: one in 40 of those stopped would have been better."""


def hopeful(space: Space, names: Sequence[str], curves: np.ndarray, predictor: Predictor, best: float) -> np.ndarray:
    """`[N]` bool: which templates may still become better than the best.

    Args:
      space: of the templates.
      names: N hashes.
      curves: `[N, K]` validation accuracies after their first epochs.
      predictor: fitted to rows with K or more early epochs.
      best: the highest final validation accuracy so far.
    """
    templates = [Template.from_hash(name, space.in_shape, space.classes) for name in names]
    mean, std = predictor.predict(*seen(space, to_genomes(templates, space.length)), curves)
    return mean + DOUBT * std > best
