"""Step 3: a population evolves against the predictor, and a few of it are chosen to be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.objectives import gains
from jnas._search.proposals import Choice
from jnas._search.screening import filled, screen_members
from jnas.evolve import (
    NSGA2,
    Algorithm,
    GeneticAlgorithm,
    RandomSearch,
    RegularizedEvolution,
    State,
    evolve,
    log_expected_improvement,
)
from jnas.predict import Predictor, apply_ensemble, predictive_std
from jnas.space import Space, Template, arch_hashes, lengths, to_genomes
from jnas.store import Evaluation

AlgorithmName = Literal["genetic", "regularized", "random"]

INNER_GENERATIONS = 3
"""Generations that evolve against the predictor between two rounds of training.

Few: the further children get from what was trained, the more the predictor's errors choose them. The population lives
on from round to round.
"""
NEWCOMERS = 0.25
"""Share of a population that are random templates in each round (immigrants, Grefenstette 1992).

While the predictor knows little, the relatives of the few that were trained are no better than these, only more alike.
"""
REACH = 0.15
"""Distance within which candidates are alike; see `jnas.evolve.diverse`."""


class Pool(NamedTuple):
    """What a batch is chosen from: templates that were not trained, and what is expected of them.

    Attributes:
      names: N hashes. genomes: `[N, L, 6]`.
      mean, std: `[N]` of the predicted accuracy.
      gains: `[N, M - 1]`, the other objectives; see `objectives.gains`.
      best: `[R, M]`, the objectives of the trained ones.
    """

    names: list[str]
    genomes: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    gains: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class Promise:
    """A fitness: the ensemble's mean plus one standard deviation, so what is good, or might well be; then the costs."""

    space: Space
    objectives: tuple[str, ...]

    def __call__(self, genomes: jax.Array, fitted: Any, latency: jax.Array) -> jax.Array:
        members = apply_ensemble(fitted, self.space.encode(genomes), lengths(genomes))
        hoped = members.mean(0) + predictive_std(fitted, members)
        if len(self.objectives) == 1:
            return hoped
        return jnp.concatenate([hoped[:, None], gains(self.space, self.objectives, genomes, latency)], -1)


_gains = fast_compile_jit(gains, static_argnums=(0, 1))
_improvement = fast_compile_jit(log_expected_improvement)


def _costs(space: Space, objectives: tuple[str, ...], genomes: np.ndarray, latency, size: int) -> np.ndarray:
    """`gains` of a varying number of genomes, filled up so that few shapes are compiled."""
    if len(objectives) == 1:
        return np.zeros((len(genomes), 0), np.float32)
    return np.asarray(_gains(space, objectives, filled(genomes, size), jax.device_put(latency)))[: len(genomes)]


def algorithm(name: AlgorithmName, space: Space, objectives: tuple[str, ...], size: int) -> Algorithm:
    """The algorithm of step 3; with several objectives it is NSGA-II."""
    capacity = size * (INNER_GENERATIONS + 2)
    if len(objectives) > 1:
        return NSGA2(space, capacity=capacity)
    if name == "genetic":
        return GeneticAlgorithm(space, capacity=capacity)
    if name == "regularized":
        return RegularizedEvolution(space, children=size // 2, capacity=capacity)
    return RandomSearch(space, capacity=capacity)


def evolved(
    space: Space,
    searcher: Algorithm,
    objectives: tuple[str, ...],
    key: jax.Array,
    rows: Sequence[Evaluation],
    taken: set[str],
    predictor: Predictor,
    latency: np.ndarray,
    size: int,
    before: str | Path | None,
) -> tuple[State, Pool]:
    """A population after some generations against the predictor, and what of it may be trained.

    Args:
      space: the space and its limits.
      searcher: the algorithm.
      objectives: their names, the accuracy first.
      key: for all randomness.
      rows: what was trained well, best first; the best half of a population's size are among the first parents.
      taken: hashes that must not be chosen again.
      predictor: fitted to the rows.
      latency: coefficients of the model of latency.
      size: of the population.
      before: the checkpoint of the last generation's state, whose members go on, the best first; None where there is
        none. Newcomers take their places then.
    """
    rows = rows[: max(size // 2, 2)]
    known = np.asarray(to_genomes([_template(space, row.key.hash) for row in rows], space.length))
    measured = np.array([row.val_acc_final for row in rows], np.float32)[:, None]
    measured = np.concatenate([measured, _costs(space, objectives, known, latency, size)], 1)
    fitness = Promise(space, objectives)
    arguments = (predictor.params, jax.device_put(latency))
    width = len(objectives)
    key, newcomers_key = jax.random.split(key)
    others = np.asarray(space.sample_valid(newcomers_key, size - len(known), min_count=0))
    if before is not None:
        members = jax.ShapeDtypeStruct((size, *known.shape[1:]), jnp.int8)
        their_fitness = jax.ShapeDtypeStruct((size, width) if width > 1 else (size,), jnp.float32)
        last = jax.eval_shape(searcher.init, key, members, their_fitness).load(before)
        there = np.asarray(last.fitness).reshape(size, -1)[:, 0] > -np.inf
        others = mixed(np.asarray(last.genomes)[there], others, size - len(known), int(NEWCOMERS * size))
    count = len(known) + len(others)
    genomes = np.pad(np.concatenate([known, others]), ((0, size - count), (0, 0), (0, 0)))
    # The predictor has changed since the others were last judged. The trained ones are parents already, as measured.
    values = np.array(_judge(fitness, jax.device_put(genomes), arguments)).reshape(size, width)
    values[: len(known)] = measured
    values[count:] = -np.inf
    first = jax.device_put(values if width > 1 else values[:, 0])
    state = evolve(searcher, fitness, key, jax.device_put(genomes), first, arguments, INNER_GENERATIONS)
    there = np.asarray(state.fitness).reshape(size, -1)[:, 0] > -np.inf
    population = np.asarray(state.genomes)[there]
    return state, pool(space, objectives, population, taken, predictor, latency, measured)


def mixed(old: np.ndarray, newcomers: np.ndarray, places: int, share: int) -> np.ndarray:
    """Who takes the free places: `share` newcomers, the old ones, best first, and more newcomers for what is left."""
    kept = old[: max(places - min(share, len(newcomers)), 0)]
    return np.concatenate([kept, newcomers[: places - len(kept)]])


def pool(
    space: Space,
    objectives: tuple[str, ...],
    genomes: np.ndarray,
    taken: set[str],
    predictor: Predictor,
    latency: np.ndarray,
    measured: np.ndarray,
) -> Pool:
    """Of genomes `[N, L, 6]` those whose hashes are not taken, with what is expected of them."""
    names = arch_hashes(jax.device_put(genomes))
    fresh = [i for i, name in enumerate(names) if name not in taken]
    genomes, names = genomes[fresh], [names[i] for i in fresh]
    if not names:
        nothing = np.zeros(0, np.float32)
        return Pool(names, genomes, nothing, nothing, np.zeros((0, len(objectives) - 1), np.float32), measured)
    members = screen_members(space, genomes, predictor)
    std = predictive_std(predictor.params, members)
    costs = _costs(space, objectives, genomes, latency, len(genomes))
    return Pool(names, genomes, members.mean(0), std, costs, measured)


def without(found: Pool, taken: set[str]) -> Pool:
    """The pool less some hashes."""
    keep = [i for i, name in enumerate(found.names) if name not in taken]
    arrays = (values[keep] for values in (found.genomes, found.mean, found.std, found.gains))
    return Pool([found.names[i] for i in keep], *arrays, found.best)


def batch(
    found: Pool,
    count: int,
    seed: int,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
) -> list[Choice]:
    """The templates to train: for the improvement expected, and for variety.

    One after the other, the highest logarithm of the expected improvement is taken, less a discount for what is close
    to those before. With several objectives each place has weights of its own, drawn at random, under which the
    improvement counts (after Knowles 2006): so the places are spread along the front.

    Args:
      found: what there is.
      count: how many, fewer where there are not so many.
      seed: of the weights.
      distance: of two genomes, 0 to 1.
    """
    generator = np.random.default_rng(seed)
    genomes = filled(found.genomes, 64)
    fill = (0, len(genomes) - len(found.names))
    discount = np.zeros(len(found.names))
    chosen: list[int] = []
    scale, low = np.ptp(found.best, axis=0) + 1e-6, found.best.min(0)
    for _ in range(min(count, len(found.names))):
        weights = generator.dirichlet(np.ones(found.best.shape[1]))
        worth = weights / scale
        mean = worth[0] * (found.mean - low[0]) + (found.gains - low[1:]) @ worth[1:]
        best = ((found.best - low) @ worth).max()
        improvement = _improvement(np.pad(mean, fill), np.pad(worth[0] * found.std, fill), best)
        scores = np.asarray(improvement)[: len(discount)] + discount
        pick = int(scores.argmax())
        chosen.append(pick)
        close = np.asarray(_apart(genomes, genomes[pick], distance))[: len(discount)]
        discount = discount + np.log(-np.expm1(-close / REACH) + 1e-9)
        discount[pick] = -np.inf
    return [Choice(found.names[i], float(found.mean[i]), float(found.std[i])) for i in chosen]


def bred(space: Space, key: jax.Array, count: int, rows: Sequence[Evaluation], taken: set[str]) -> list[Choice]:
    """Children of what was trained, where there is no predictor to choose among them."""
    genomes = jax.device_put(to_genomes([_template(space, row.key.hash) for row in rows], space.length))
    searcher = GeneticAlgorithm(space, children=4 * count, capacity=1 << 12)
    state = searcher.init(key, genomes, jax.device_put(np.array([row.val_acc_final for row in rows], np.float32)))
    _, children = fast_compile_jit(searcher.ask)(state)
    names = arch_hashes(children[np.asarray(space.valid(children))])
    return [Choice(name, None, None) for name in dict.fromkeys(names) if name not in taken][:count]


@fast_compile_jit(static_argnames="distance")
def _apart(genomes: jax.Array, one: jax.Array, distance: Callable) -> jax.Array:
    return jax.vmap(distance, (0, None))(genomes, one)


@fast_compile_jit(static_argnames="fitness")
def _judge(fitness: Promise, genomes: jax.Array, arguments: tuple) -> jax.Array:
    return fitness(genomes, *arguments)


def _template(space: Space, name: str) -> Template:
    return Template.from_hash(name, space.in_shape, space.classes)
