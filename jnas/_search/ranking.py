"""Which of the networks that were trained alike is the best."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from jnas._search.result import EvaluatedCandidate
from jnas.store import Evaluation

GAIN_OF_TWICE_THE_EPOCHS = 0.01
"""In accuracy, where epochs are many: on the excerpt 0.026 from 22 to 138 (2.8 M MACs), 0.018 from 20 to 40 (11 M)."""
NUM_ERRORS = 2.0
"""Standard errors of an accuracy by which a winner must be better than the networks that people build."""
NUM_ERRORS_OF_PROMOTED = 1.0
"""The same after the longer training of promoted networks, which says more about that of the winner."""


def rank(candidates: Iterable[EvaluatedCandidate], final_is_timed: bool) -> list[EvaluatedCandidate]:
    """Returns candidates, the best first.

    Where time is the limit of the winner's training, a network of half the multiply-accumulates is trained for twice as
    many epochs in the end, which makes up for a somewhat lower accuracy now.
    """
    gain = GAIN_OF_TWICE_THE_EPOCHS if final_is_timed else 0.0
    return sorted(candidates, key=lambda one: gain * math.log2(one.evaluation.macs or 1) - one.score)


def order_by_front(objectives: Float[np.ndarray, "n m"], count: int) -> Int[np.ndarray, " k"]:
    """Returns the indices of `[N, M]` objectives, those that nobody dominates first, then those of the next front, ...

    Within a front the order stays. It ends with the front in which `count` are reached. Fronts are those of
    `jnas.evolve.nondominated_rank`, but for any number of rows without compiling; rows that are not finite come last.
    """
    one, other = objectives[:, None], objectives[None]
    above = np.logical_and(np.all(other >= one, -1), np.any(other > one, -1))
    is_finite = np.isfinite(objectives).all(-1)
    left, order = np.flatnonzero(is_finite), []
    while len(left) and len(order) < count:
        is_dominated = above[np.ix_(left, left)].any(1)
        order += left[~is_dominated].tolist()
        left = left[is_dominated]
    return np.array([*order, *(() if len(left) else np.flatnonzero(~is_finite))], int)


def prefer_known(
    ranking: Sequence[EvaluatedCandidate],
    known: Sequence[EvaluatedCandidate],
    num_val: int,
    num_errors: float = NUM_ERRORS,
) -> list[EvaluatedCandidate]:
    """Returns a ranking in which a network that people build by hand is first where it is as good but for noise.

    That is so many standard errors of the best accuracy on `num_val` images (after Breiman et al. 1984): among so many
    candidates, the best is often the luckiest, and what people build is known to be good when it is trained for long.
    Of several the first of `known` is taken.
    """
    best = max(ranking, key=lambda one: one.score, default=None)
    if best is None or best.metric == "loss":
        return list(ranking)
    least = best.score - num_errors * math.sqrt(best.score * (1 - best.score) / num_val)
    return _first(ranking, [one for one in known if one.score >= least])


def choose_promoted(
    ranking: Sequence[EvaluatedCandidate], known: Sequence[EvaluatedCandidate], num_val: int, count: int
) -> list[EvaluatedCandidate]:
    """Returns the candidates whose longer training says more: the best ones, and one of `known`, which comes first.

    A short training favours small and shallow networks, so one of those that people build has its place whatever its
    accuracy is now.
    """
    best_known = [one for one in ranking if any(one is other for other in known)]
    return prefer_known(_first(ranking, best_known), known, num_val)[:count]


def choose_after_promotion(
    ranking: Sequence[EvaluatedCandidate], longer: Mapping[str, Evaluation], num_val: int, final_is_timed: bool
) -> list[EvaluatedCandidate]:
    """Returns a ranking in which those come first that were promoted, the best by their longer trainings first."""
    promoted = {one.candidate.hash: one for one in ranking if one.candidate.hash in longer}
    retrained = rank(
        (dataclasses.replace(one, evaluation=longer[hash]) for hash, one in promoted.items()), final_is_timed
    )
    known = [one for one in retrained if one.phase == "known"]
    order = prefer_known(retrained, known, num_val, NUM_ERRORS_OF_PROMOTED)
    return [
        *(promoted[one.candidate.hash] for one in order),
        *(one for one in ranking if one.candidate.hash not in promoted),
    ]


def _first(ranking: Sequence[EvaluatedCandidate], chosen: Sequence[EvaluatedCandidate]) -> list[EvaluatedCandidate]:
    """A ranking with the first of some of them at its beginning."""
    return [*chosen[:1], *(one for one in ranking if not any(one is first for first in chosen[:1]))]
