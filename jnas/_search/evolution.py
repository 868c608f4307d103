"""Phase 3: a population evolves against the predictor, and a few of it are chosen to be trained."""

import functools
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int8

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.config import AlgorithmName, Objective
from jnas._search.objectives import negated_log_costs
from jnas._search.result import EvaluatedCandidate
from jnas._search.screening import Proposal, pad_to_power, predict_members, predict_std, select_new, stack_genomes
from jnas.evolve import (
    NSGA2,
    Algorithm,
    GeneticAlgorithm,
    RandomSearch,
    RegularizedEvolution,
    State,
    log_expected_improvement,
    log_penalty,
    run,
)
from jnas.predict import Predictor, apply_ensemble, predictive_std
from jnas.space import Candidate, Space, lengths

INNER_GENERATIONS = 3
"""Generations between two rounds of training: the further children get from what was trained, the more the predictor's
errors choose them. The population lives on from round to round."""
NUM_CHILDREN, TOURNAMENT_SIZE, CROSSOVER_RATE = 256, 3, 0.3
"""Of breeding without a predictor."""
IMMIGRANT_FRACTION = 0.25
"""Share of a population that are random templates in each round (Grefenstette 1992). While the predictor knows little,
the relatives of the few that were trained are no better than these, only more alike."""


class Surrogate(NamedTuple):
    """What a population evolves against: a predictor of accuracy, and the coefficients of a model of latency."""

    predictor: Predictor
    latency_coefficients: Float32[np.ndarray, " 4"]


class CandidatePool(NamedTuple):
    """Candidates that a batch is selected from, with the predicted accuracies and the costs of each."""

    candidates: list[Candidate]
    mean: Float32[np.ndarray, " n"]
    std: Float32[np.ndarray, " n"]
    neg_log_costs: Float32[np.ndarray, "n m-1"]
    incumbents: Float32[np.ndarray, "r m"]
    """All objectives of the best that were trained."""


@dataclass(frozen=True)
class AcquisitionFitness:
    """A fitness: the ensemble's mean plus one standard deviation, so what is good, or might well be; then the costs."""

    space: Space
    objectives: tuple[Objective, ...]

    def __call__(self, genomes: Array, params: Any, latency_coefficients: Array) -> Array:
        members = apply_ensemble(params, self.space.encode(genomes), lengths(genomes))
        upper = jnp.asarray(members.mean(0) + predictive_std(params, members))
        if len(self.objectives) == 1:
            return upper
        costs = negated_log_costs(self.space, self.objectives, genomes, latency_coefficients)
        return jnp.concatenate([upper[:, None], costs], -1)


@dataclass(frozen=True)
class PopulationEvolution:
    """The evolution of a population against a surrogate; with several objectives it is that of NSGA-II."""

    space: Space
    objectives: tuple[Objective, ...]
    name: AlgorithmName
    size: int

    @cached_property
    def algorithm(self) -> Algorithm:
        capacity = self.size * (INNER_GENERATIONS + 2)
        if self.name == "regularized":
            return RegularizedEvolution(self.space, batch_size=self.size // 2, archive_capacity=capacity)
        genetic = NSGA2 if len(self.objectives) > 1 else GeneticAlgorithm
        return (genetic if self.name == "genetic" else RandomSearch)(self.space, archive_capacity=capacity)

    def run(
        self,
        key: jax.Array,
        parents: Sequence[EvaluatedCandidate],
        surrogate: Surrogate,
        previous: Path | None,
        seen: Set[str],
    ) -> tuple[State, CandidatePool]:
        """Returns a population after some generations, and those of its members whose functions are not in `seen`.

        The parents are what was trained well, the best first. The members of the last round, whose checkpoint is
        `previous`, go on, the best first; random templates take the other places.
        """
        parents = parents[: max(self.size // 2, 2)]
        known = stack_genomes((parent.candidate for parent in parents), self.space)
        scores = np.array([parent.score for parent in parents], np.float32)
        measured = np.column_stack([scores, self._costs(known, surrogate, self.size)])
        free = self.size - len(known)
        key, immigrants_key = jax.random.split(key)
        others = np.asarray(self.space.sample_valid(immigrants_key, free, min_count=0))
        if previous is not None:
            old = self._load(previous)
            others = add_immigrants(old, others, free, int(IMMIGRANT_FRACTION * self.size))
        count, width = len(known) + len(others), len(self.objectives)
        genomes = jax.device_put(np.pad(np.concatenate([known, others]), ((0, self.size - count), (0, 0), (0, 0))))
        # The predictor has changed since the others were last judged; the trained ones stay parents, as measured.
        fitness = AcquisitionFitness(self.space, self.objectives)
        arguments = surrogate.predictor.params, jax.device_put(surrogate.latency_coefficients)
        values = np.array(_judge(fitness, genomes, *arguments)).reshape(self.size, width)
        values[: len(known)] = measured
        values[count:] = -np.inf
        first = jax.device_put(values if width > 1 else values[:, 0])
        state = run(self.algorithm, fitness, key, genomes, INNER_GENERATIONS, arguments, first)
        return state, self._pool(np.asarray(state.population)[is_member(state)], surrogate, seen, measured)

    def _pool(self, genomes: np.ndarray, surrogate: Surrogate, seen: Set[str], incumbents: np.ndarray) -> CandidatePool:
        candidates = [
            p.candidate for p in select_new(map(Proposal, Candidate.from_genomes(genomes, self.space)), seen, self.size)
        ]
        genomes = stack_genomes(candidates, self.space)
        members = predict_members(self.space, genomes, surrogate.predictor)
        std, costs = predict_std(surrogate.predictor, members), self._costs(genomes, surrogate, len(genomes))
        return CandidatePool(candidates, members.mean(0), std, costs, incumbents)

    def _load(self, folder: Path) -> Int8[np.ndarray, "n l 6"]:
        """The members of a state on disk."""
        width = len(self.objectives)
        genomes = jax.ShapeDtypeStruct((self.size, self.space.length, 6), jnp.int8)
        fitness = jax.ShapeDtypeStruct((self.size, width) if width > 1 else (self.size,), jnp.float32)
        state = jax.eval_shape(self.algorithm.init, jax.random.key(0), genomes, fitness).load(folder)
        return np.asarray(state.population)[is_member(state)]

    def _costs(self, genomes: np.ndarray, surrogate: Surrogate, size: int) -> Float32[np.ndarray, "n m-1"]:
        """`negated_log_costs` of a varying number of genomes, filled up so that few shapes are compiled."""
        if len(self.objectives) == 1:
            return np.zeros((len(genomes), 0), np.float32)
        coefficients = jax.device_put(surrogate.latency_coefficients)
        costs = _negated_log_costs(self.space, self.objectives, pad_to_power(genomes, size), coefficients)
        return np.asarray(costs)[: len(genomes)]


def is_member(state: State) -> Bool[np.ndarray, " p"]:
    """Returns which places of a population are taken."""
    return np.asarray(state.fitness).reshape(len(state.fitness), -1)[:, 0] > -np.inf


def add_immigrants(old: np.ndarray, immigrants: np.ndarray, places: int, count: int) -> np.ndarray:
    """Returns who takes free places: `count` immigrants, the old ones, the best first, more immigrants for the rest."""
    staying = old[: max(places - min(count, len(immigrants)), 0)]
    return np.concatenate([staying, immigrants[: places - len(staying)]])


def select_batch(
    pool: CandidatePool, count: int, seen: Set[str], seed: int, distance: Callable[[jax.Array, jax.Array], jax.Array]
) -> list[Proposal]:
    """Returns candidates to train, whose functions are not in `seen`: for the improvement expected, and for variety.

    One after the other, the highest logarithm of the expected improvement is taken, less a discount for what is close
    to those before. With several objectives each place has weights of its own, drawn at random, under which the
    improvement counts (after Knowles 2006): so the places are spread along the front.
    """
    num_candidates = len(pool.candidates)
    if not num_candidates:
        return []
    discount = np.where([candidate.function_hash in seen for candidate in pool.candidates], -np.inf, 0)
    generator = np.random.default_rng(seed)
    genomes = pad_to_power(np.array([candidate.genome for candidate in pool.candidates]), 64)
    padding = (0, len(genomes) - num_candidates)
    chosen: list[int] = []
    scale, low = np.ptp(pool.incumbents, axis=0) + 1e-6, pool.incumbents.min(0)
    for _ in range(min(count, np.isfinite(discount).sum())):
        weights = generator.dirichlet(np.ones(len(low))) / scale
        mean = weights[0] * (pool.mean - low[0]) + (pool.neg_log_costs - low[1:]) @ weights[1:]
        best = ((pool.incumbents - low) @ weights).max()
        improvement = _log_improvement(np.pad(mean, padding), np.pad(weights[0] * pool.std, padding), best)
        chosen.append(int((np.asarray(improvement)[:num_candidates] + discount).argmax()))
        discount = discount + np.asarray(_log_penalty(genomes, genomes[chosen[-1]], distance))[:num_candidates]
        discount[chosen[-1]] = -np.inf
    return [Proposal(pool.candidates[i], float(pool.mean[i]), float(pool.std[i])) for i in chosen]


def breed(
    space: Space, key: jax.Array, count: int, parents: Sequence[EvaluatedCandidate], seen: Set[str]
) -> list[Proposal]:
    """Returns children of what was trained, the best first, where there is no predictor to choose among them.

    Each parent is the best of a few drawn at random; a child has one or two, and one or two mutations.
    """
    known = stack_genomes((parent.candidate for parent in parents), space)
    generator = np.random.default_rng(int(jax.random.bits(key)))
    first, second = generator.integers(len(known), size=(2, NUM_CHILDREN, TOURNAMENT_SIZE)).min(-1)
    second = np.where(generator.random(NUM_CHILDREN) < CROSSOVER_RATE, second, first)
    children, valid = _children(space, jax.random.split(key, NUM_CHILDREN), known[first], known[second])
    children = np.asarray(children)[np.asarray(valid)]
    return select_new(map(Proposal, Candidate.from_genomes(children, space)), seen, count)


@functools.partial(fast_compile_jit, static_argnums=0)
def _children(space: Space, keys: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """A child of each pair of genomes, and which of them are valid."""

    def child(key: Array, first: Array, second: Array) -> Array:
        cross_key, mutate_key = jax.random.split(key)
        same = (first == second).all()
        return space.mutate(mutate_key, jnp.where(same, first, space.crossover(cross_key, first, second)), 1.5)

    children = space.repair(jax.vmap(child)(keys, first, second))
    return children, space.valid(children)


_judge = fast_compile_jit(AcquisitionFitness.__call__, static_argnums=0)
_negated_log_costs = fast_compile_jit(negated_log_costs, static_argnums=(0, 1))
_log_improvement = fast_compile_jit(log_expected_improvement)
_log_penalty = fast_compile_jit(log_penalty, static_argnames="distance")
