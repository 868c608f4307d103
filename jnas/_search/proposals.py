"""Which templates a round trains: random ones, or those that the predictor likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jnas._search.acquisition import Acquisition, ranked
from jnas._search.screening import screen_members, seen, shortlist
from jnas.errors import JnasError
from jnas.predict import Predictor, predictive_std
from jnas.space import Space, Template, arch_hashes, to_genomes
from jnas.store import Evaluation


class Choice(NamedTuple):
    """A template to train, and what the predictor said of it (None where it was not asked)."""

    hash: str
    predicted_mean: float | None
    predicted_std: float | None


def random(space: Space, key: jax.Array, count: int, taken: set[str]) -> list[Choice]:
    """Random templates that are not among the `taken` hashes."""
    genomes = space.sample_valid(key, count + 4 * len(taken), min_count=count)
    names = [name for name in arch_hashes(genomes) if name not in taken]
    return [Choice(name, None, None) for name in list(dict.fromkeys(names))[:count]]


def fitted(space: Space, rows: Sequence[Evaluation], seed: int, early_epochs: int = 0) -> Predictor | None:
    """A predictor of the final validation accuracy of `rows`, or None where they are too few or all alike.

    It understands the validation accuracies of so many early epochs, and does without.
    """
    templates = [Template.from_hash(row.key.hash, space.in_shape, space.classes) for row in rows]
    genomes = to_genomes(templates, space.length)
    accuracies = np.array([row.val_acc_final for row in rows])
    early = np.array([[epoch.val_acc for epoch in row.epochs[:early_epochs]] for row in rows]) if early_epochs else None
    try:
        return Predictor(seed).fit(*seen(space, genomes), accuracies, early)
    except JnasError:
        return None


def filtered(
    space: Space,
    key: jax.Array,
    count: int,
    taken: set[str],
    predictor: Predictor,
    candidates: int,
    acquisition: Acquisition = "ucb",
) -> list[Choice]:
    """The best of `candidates` random templates, by an acquisition rule."""
    genomes = space.sample_valid(key, candidates, min_count=count)
    return _best(space, genomes, count, taken, predictor, acquisition, _number(key))


def _number(key: jax.Array) -> int:
    """A seed for the host's random numbers."""
    return int(jax.random.bits(key))


def _best(
    space: Space,
    genomes: jax.Array,
    count: int,
    taken: set[str],
    predictor: Predictor,
    acquisition: Acquisition,
    seed: int,
) -> list[Choice]:
    front = count + 2 * len(taken) + 256
    genomes = np.asarray(genomes)
    genomes = genomes[shortlist(space, genomes, predictor, front)]
    members = screen_members(space, genomes, predictor)
    mean, std = members.mean(0), predictive_std(predictor.params, members)
    # Only the front of the ranking is named: names are made on the host, one by one.
    order = ranked(acquisition, members, std, front, seed)
    chosen: dict[str, Choice] = {}
    for i, name in zip(order, arch_hashes(genomes[order[:front]]), strict=False):
        if name not in taken and name not in chosen:
            chosen[name] = Choice(name, float(mean[i]), float(std[i]))
        if len(chosen) == count:
            break
    return list(chosen.values())
