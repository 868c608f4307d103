"""Children of what was trained, and which of them to train next.

Children stay near what is known to be good: one or two changes away. A predictor that was fitted to a few dozen
networks knows these and little else; where a population evolved against it, its errors chose (see docs/decisions/035).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32
from scipy.special import log_ndtr

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.screening import Proposal, pad_to_power, stack_genomes
from jnas.evolve import GuidedEvolution, log_penalty, make_offspring
from jnas.space import Candidate, Space

CHILDREN_PER_PLACE = 16
"""Of a round, for each network that it trains; at least as many as guided evolution has candidates."""
MAX_PARENTS = 64
"""The best of those that were trained."""


class CandidatePool(NamedTuple):
    """Candidates that a batch is selected from, with the predicted accuracies and the costs of each."""

    candidates: list[Candidate]
    mean: Float32[np.ndarray, " n"]
    std: Float32[np.ndarray, " n"]
    neg_log_costs: Float32[np.ndarray, "n m-1"]
    incumbents: Float32[np.ndarray, "r m"]
    """All objectives of the best that were trained."""


def breed(space: Space, key: jax.Array, places: int, parents: Sequence[Candidate]) -> list[Candidate]:
    """Returns valid children of candidates, of which the best come first; there may be equal ones among them.

    They are bred as in `GuidedEvolution`.
    """
    count = 1 << (max(GuidedEvolution.candidates, CHILDREN_PER_PLACE * places) - 1).bit_length()  # few are compiled
    known = pad_to_power(stack_genomes(parents[:MAX_PARENTS], space), MAX_PARENTS)
    children, valid = _breed(space, key, known, min(len(parents), MAX_PARENTS), count)
    return Candidate.from_genomes(np.asarray(children)[np.asarray(valid)], space)


@functools.partial(fast_compile_jit, static_argnums=(0, 4))
def _breed(space: Space, key: Array, genomes: Array, members: Array, count: int) -> tuple[Array, Array]:
    """That many children of the first `members` genomes, and which of them are valid."""
    rates = GuidedEvolution.mutation_rate, GuidedEvolution.tournament_size, GuidedEvolution.crossover_rate
    children = make_offspring(space, key, genomes, members, count, *rates)
    return children, space.valid(children)


def select_batch(
    pool: CandidatePool,
    count: int,
    seed: int,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
    in_training: Sequence[Candidate] = (),
) -> list[Proposal]:
    """Returns candidates to train: such as are likely to be better than the best, and of some variety.

    As in `GuidedEvolution`, one after the other, the one of the highest probability of improvement is taken, less a
    discount for what is close to those before, and to those `in_training`, of which nothing is known yet. With several
    objectives each place has weights of its own, drawn at random, under which the improvement counts (after Knowles
    2006): so the places are spread along the front.
    """
    num_candidates = len(pool.candidates)
    if not num_candidates:
        return []
    generator = np.random.default_rng(seed)
    rows = np.array([candidate.genome for candidate in pool.candidates])
    genomes = pad_to_power(rows, GuidedEvolution.candidates)
    discount = np.zeros(num_candidates)
    for candidate in in_training:
        discount = discount + np.asarray(_log_penalty(genomes, candidate.genome, distance))[:num_candidates]
    chosen: list[int] = []
    scale, low = np.ptp(pool.incumbents, axis=0) + 1e-6, pool.incumbents.min(0)
    for _ in range(min(count, num_candidates)):
        weights = generator.dirichlet(np.ones(len(low))) / scale
        mean = weights[0] * (pool.mean - low[0]) + (pool.neg_log_costs - low[1:]) @ weights[1:]
        best = ((pool.incumbents - low) @ weights).max()
        improvement = log_ndtr((mean - best) / np.maximum(weights[0] * pool.std, 1e-9))
        chosen.append(int((improvement + discount).argmax()))
        discount = discount + np.asarray(_log_penalty(genomes, rows[chosen[-1]], distance))[:num_candidates]
        discount[chosen[-1]] = -np.inf
    return [Proposal(pool.candidates[i], float(pool.mean[i]), float(pool.std[i])) for i in chosen]


_log_penalty = fast_compile_jit(log_penalty, static_argnames="distance")
