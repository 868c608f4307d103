"""Which candidates to train, from what the members of an ensemble predict of them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from jnas.errors import JnasError

Acquisition = Literal["mean", "ucb", "thompson"]

OPTIMISM = 1.0
"""Standard deviations that `ucb` adds to the mean."""


def ranked(rule: Acquisition, members: np.ndarray, std: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The first `count` or more of N candidates, best first.

    Args:
      rule: `mean`: the ensemble's mean. `ucb`: the upper confidence bound, mean + std (Auer 2002). `thompson`: each
        place goes to the best remaining candidate of a member drawn at random (Thompson 1933): doubt shows as variety.
      members: `[members, N]` predictions.
      std: `[N]` standard deviations.
      count: how many are wanted.
      seed: of the draws.

    Raises:
      JnasError: there is no such rule.
    """
    if rule not in get_args(Acquisition):
        raise JnasError(f"There is no acquisition rule {rule!r}: choose one of {', '.join(get_args(Acquisition))}.")
    if rule != "thompson":
        value = members.mean(0) + (OPTIMISM * std if rule == "ucb" else 0)
        return np.argsort(-value, kind="stable")
    orders = np.argsort(-members, axis=1, kind="stable")
    places, taken = np.zeros(len(members), int), np.zeros(members.shape[1], bool)
    chosen = []
    for member in np.random.default_rng(seed).integers(len(members), size=min(count, members.shape[1])):
        while taken[orders[member, places[member]]]:
            places[member] += 1
        chosen.append(orders[member, places[member]])
        taken[chosen[-1]] = True
    return np.array(chosen, int)
