"""Which templates a round trains: random ones, filtered ones, or evolved ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.evolve import GeneticAlgorithm, evolve
from jnas.predict import Predictor
from jnas.predict.predictor import apply
from jnas.space import LimitedSpace, Space, Template
from jnas.space.genome import encode, hashes, lengths, to_genomes
from jnas.store import Evaluation

INNER_GENERATIONS = 10
"""Generations that evolve against the predictor between two rounds of training."""


class Choice(NamedTuple):
    """A template to train, and what the predictor said of it (None where it was not asked)."""

    hash: str
    predicted_mean: float | None
    predicted_std: float | None


def random(space: LimitedSpace, key: jax.Array, count: int, taken: set[str]) -> list[Choice]:
    """Random templates that are not among the `taken` hashes."""
    names = [name for name in hashes(space.sample(key, count + 4 * len(taken))) if name not in taken]
    return [Choice(name, None, None) for name in list(dict.fromkeys(names))[:count]]


def fitted(space: Space, rows: Sequence[Evaluation], seed: int) -> Predictor | None:
    """A predictor of the validation accuracy of `rows`, or None where they are too few or all alike."""
    templates = [Template.from_hash(row.key.hash, space.in_shape, space.classes) for row in rows]
    genomes = to_genomes(templates, space.length)
    accuracies = np.array([row.val_acc_final for row in rows])
    try:
        return Predictor(seed).fit(np.asarray(encode(genomes)), np.asarray(lengths(genomes)), accuracies)
    except JnasError:
        return None


def filtered(
    space: LimitedSpace, key: jax.Array, count: int, taken: set[str], predictor: Predictor, candidates: int
) -> list[Choice]:
    """The best of `candidates` random templates, by the predictor's mean plus one standard deviation."""
    genomes = space.sample(key, candidates)
    return _best(genomes, count, taken, predictor)


def evolved(
    space: LimitedSpace,
    key: jax.Array,
    count: int,
    rows: Sequence[Evaluation],
    taken: set[str],
    predictor: Predictor,
    candidates: int,
) -> list[Choice]:
    """The best of a population that evolved against the predictor, from the trained templates and random ones."""
    sample_key, init_key = jax.random.split(key)
    known = [Template.from_hash(row.key.hash, space.space.in_shape, space.space.classes) for row in rows]
    genomes = jnp.concatenate([to_genomes(known, space.space.length), space.sample(sample_key, candidates)])[
        :candidates
    ]
    algorithm = GeneticAlgorithm(space)
    state = algorithm.init(init_key, genomes, _optimistic(genomes, predictor.params))
    state = evolve(algorithm, _optimistic, state, (predictor.params,), INNER_GENERATIONS)
    alive = np.isfinite(np.asarray(state.fitness))
    return _best(jnp.asarray(np.asarray(state.genomes)[alive]), count, taken, predictor)


def _optimistic(genomes: jax.Array, params) -> jax.Array:
    """The ensemble's mean plus one standard deviation: what is good, or might well be."""
    members = apply(params, encode(genomes), lengths(genomes))
    return members.mean(0) + members.std(0)


def _best(genomes: jax.Array, count: int, taken: set[str], predictor: Predictor) -> list[Choice]:
    mean, std = predictor.predict(np.asarray(encode(genomes)), np.asarray(lengths(genomes)))
    order = np.argsort(-(mean + std), kind="stable")
    chosen: dict[str, Choice] = {}
    # Only the front of the ranking is named: names are made on the host, one by one.
    for i, name in zip(order, hashes(genomes[order[: count + 2 * len(taken) + 256]]), strict=False):
        if name not in taken and name not in chosen:
            chosen[name] = Choice(name, float(mean[i]), float(std[i]))
        if len(chosen) == count:
            break
    return list(chosen.values())
