"""Which templates a round trains: random ones, filtered ones, or evolved ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.evolve import GeneticAlgorithm, evolve
from jnas.predict import Predictor
from jnas.predict.predictor import apply
from jnas.space import LimitedSpace, Space, Template
from jnas.space.features import features
from jnas.space.genome import hashes, lengths, to_genomes
from jnas.store import Evaluation

INNER_GENERATIONS = 2
"""Generations that evolve against the predictor between two rounds of training.

Few: the further children get from what was trained, the more the predictor's errors choose them.
"""


class Choice(NamedTuple):
    """A template to train, and what the predictor said of it (None where it was not asked)."""

    hash: str
    predicted_mean: float | None
    predicted_std: float | None


def random(space: LimitedSpace, key: jax.Array, count: int, taken: set[str]) -> list[Choice]:
    """Random templates that are not among the `taken` hashes."""
    names = [name for name in hashes(space.draw(key, count + 4 * len(taken), least=count)) if name not in taken]
    return [Choice(name, None, None) for name in list(dict.fromkeys(names))[:count]]


def fitted(space: Space, rows: Sequence[Evaluation], seed: int) -> Predictor | None:
    """A predictor of the validation accuracy of `rows`, or None where they are too few or all alike."""
    templates = [Template.from_hash(row.key.hash, space.in_shape, space.classes) for row in rows]
    genomes = to_genomes(templates, space.length)
    accuracies = np.array([row.val_acc_final for row in rows])
    try:
        return Predictor(seed).fit(*_seen(space, genomes), accuracies)
    except JnasError:
        return None


def filtered(
    space: LimitedSpace, key: jax.Array, count: int, taken: set[str], predictor: Predictor, candidates: int
) -> list[Choice]:
    """The best of `candidates` random templates, by the predictor's mean plus one standard deviation."""
    genomes = space.draw(key, candidates, least=count)
    return _best(space.space, genomes, count, taken, predictor)


def evolved(
    space: LimitedSpace,
    key: jax.Array,
    count: int,
    rows: Sequence[Evaluation],
    taken: set[str],
    predictor: Predictor,
    candidates: int,
) -> list[Choice]:
    """The best of a population that evolves from the trained templates, its children judged by the predictor."""
    rows = sorted(rows, key=lambda row: -row.val_acc_final)[:candidates]
    known = [Template.from_hash(row.key.hash, space.space.in_shape, space.space.classes) for row in rows]
    genomes = to_genomes(known, space.space.length)
    mean, std = predictor.scale
    measured = (np.array([row.val_acc_final for row in rows]) - mean) / std
    missing = candidates - len(genomes)
    genomes = jnp.asarray(np.pad(genomes, ((0, missing), (0, 0), (0, 0))))
    measured = jnp.asarray(np.pad(measured, (0, missing), constant_values=-np.inf), jnp.float32)
    state = evolve(
        GeneticAlgorithm(space), Optimistic(space.space), key, genomes, measured, (predictor.params,), INNER_GENERATIONS
    )
    alive = np.isfinite(np.asarray(state.fitness))
    return _best(space.space, jnp.asarray(np.asarray(state.genomes)[alive]), count, taken, predictor)


@dataclass(frozen=True)
class Optimistic:
    """A fitness: the ensemble's mean plus one standard deviation, so what is good, or might well be."""

    space: Space

    def __call__(self, genomes: jax.Array, params: Any) -> jax.Array:
        members = apply(params, features(genomes, self.space.in_shape, self.space.classes), lengths(genomes))
        return members.mean(0) + members.std(0)


def _seen(space: Space, genomes: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """What the predictor sees of genomes: `[N, L, 35]` and their lengths `[N]`."""
    return np.asarray(features(genomes, space.in_shape, space.classes)), np.asarray(lengths(genomes))


def _best(space: Space, genomes: jax.Array, count: int, taken: set[str], predictor: Predictor) -> list[Choice]:
    mean, std = predictor.predict(*_seen(space, genomes))
    order = np.argsort(-(mean + std), kind="stable")
    chosen: dict[str, Choice] = {}
    # Only the front of the ranking is named: names are made on the host, one by one.
    for i, name in zip(order, hashes(genomes[order[: count + 2 * len(taken) + 256]]), strict=False):
        if name not in taken and name not in chosen:
            chosen[name] = Choice(name, float(mean[i]), float(std[i]))
        if len(chosen) == count:
            break
    return list(chosen.values())
