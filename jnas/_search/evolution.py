"""Children of what was trained, and which of them to train next.

Children stay near what is known to be good: one or two changes away. A predictor that was fitted to a few dozen
networks knows these and little else; where a population evolved against it, its errors chose (see docs/decisions/035).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32
from scipy.special import log_ndtr

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.screening import Proposal, pad_to_power, stack_genomes
from jnas.evolve import log_penalty
from jnas.space import Candidate, Space

NUM_CHILDREN, CHILDREN_PER_PLACE = 512, 16
"""Of a round, at least; and for each network that it trains."""
TOURNAMENT_SIZE, CROSSOVER_RATE, MUTATION_RATE = 3, 0.3, 1.5


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

    Each parent is the best of a few drawn at random; a child has one or two, and one or two mutations.
    """
    count = 1 << (max(NUM_CHILDREN, CHILDREN_PER_PLACE * places) - 1).bit_length()  # few sizes are compiled
    known, generator = stack_genomes(parents, space), np.random.default_rng(int(jax.random.bits(key)))
    first, second = generator.integers(len(known), size=(2, count, TOURNAMENT_SIZE)).min(-1)
    second = np.where(generator.random(count) < CROSSOVER_RATE, second, first)
    children, valid = _children(space, jax.random.split(key, count), known[first], known[second])
    return Candidate.from_genomes(np.asarray(children)[np.asarray(valid)], space)


@functools.partial(fast_compile_jit, static_argnums=0)
def _children(space: Space, keys: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """A child of each pair of genomes, and which of them are valid."""

    def child(key: Array, first: Array, second: Array) -> Array:
        cross_key, mutate_key = jax.random.split(key)
        same = (first == second).all()
        crossed = jnp.where(same, first, space.crossover(cross_key, first, second))
        return space.mutate(mutate_key, crossed, MUTATION_RATE)

    children = space.repair(jax.vmap(child)(keys, first, second))
    return children, space.valid(children)


def select_batch(
    pool: CandidatePool, count: int, seed: int, distance: Callable[[jax.Array, jax.Array], jax.Array]
) -> list[Proposal]:
    """Returns candidates to train: such as are likely to be better than the best, and of some variety.

    One after the other, the one of the highest probability of improvement is taken (Kushner 1964), less a discount for
    what is close to those before. The expected improvement would rather take what the predictor knows nothing of. With
    several objectives each place has weights of its own, drawn at random, under which the improvement counts (after
    Knowles 2006): so the places are spread along the front.
    """
    num_candidates = len(pool.candidates)
    if not num_candidates:
        return []
    generator = np.random.default_rng(seed)
    genomes = pad_to_power(np.array([candidate.genome for candidate in pool.candidates]), NUM_CHILDREN)
    discount = np.zeros(num_candidates)
    chosen: list[int] = []
    scale, low = np.ptp(pool.incumbents, axis=0) + 1e-6, pool.incumbents.min(0)
    for _ in range(min(count, num_candidates)):
        weights = generator.dirichlet(np.ones(len(low))) / scale
        mean = weights[0] * (pool.mean - low[0]) + (pool.neg_log_costs - low[1:]) @ weights[1:]
        best = ((pool.incumbents - low) @ weights).max()
        improvement = log_ndtr((mean - best) / np.maximum(weights[0] * pool.std, 1e-9))
        chosen.append(int((improvement + discount).argmax()))
        discount = discount + np.asarray(_log_penalty(genomes, genomes[chosen[-1]], distance))[:num_candidates]
        discount[chosen[-1]] = -np.inf
    return [Proposal(pool.candidates[i], float(pool.mean[i]), float(pool.std[i])) for i in chosen]


_log_penalty = fast_compile_jit(log_penalty, static_argnames="distance")
