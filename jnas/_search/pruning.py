"""Which templates in training may still become good, by a predictor that has seen their first epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jnas._search.screening import featurize, stack_genomes
from jnas.predict import Predictor
from jnas.space import Candidate, Space

NUM_STD = 2.0
"""Standard deviations that a prediction may be too low: one in 40 of those stopped would have been better."""


def may_improve(
    space: Space,
    candidates: Sequence[Candidate],
    curves: Float[np.ndarray, "n k"],
    predictor: Predictor,
    incumbents: Float[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Returns which candidates may become better than their incumbents, see `find_incumbents`.

    Args:
      space: of the candidates.
      candidates: in training.
      curves: validation accuracies after their first epochs.
      predictor: fitted to rows with K or more early epochs.
      incumbents: for each candidate the accuracy to beat.
    """
    mean, std = predictor.predict(*featurize(space, stack_genomes(candidates, space)), curves)
    return mean + NUM_STD * std > incumbents


def find_incumbents(
    costs: Float[np.ndarray, "n m"], known_costs: Float[np.ndarray, "r m"], accuracies: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " n"]:
    """Returns the highest known accuracy at each of N costs or less, in all M objectives; -inf where there is none."""
    rivals = (known_costs[None] <= costs[:, None]).all(-1)
    return np.where(rivals, accuracies, -np.inf).max(-1, initial=-np.inf)
