"""Which templates a round trains: random ones, or those that the predictor expects to be good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import jax
import numpy as np

from jnas._search.config import SearchConfig
from jnas._search.result import EvaluatedCandidate
from jnas._search.screening import featurize, predict_members, predict_std, rank, shortlist, stack_genomes
from jnas.errors import JnasError
from jnas.predict import Predictor
from jnas.space import Candidate, Space


class Proposal(NamedTuple):
    """A candidate to train, and what the predictor said of it (None where it was not asked)."""

    candidate: Candidate
    predicted_mean: float | None = None
    predicted_std: float | None = None


def select_new(proposals: Iterable[Proposal], seen: Set[str], count: int) -> list[Proposal]:
    """Returns the first `count` proposals that are all different and whose hashes are not in `seen`."""
    by_hash: dict[str, Proposal] = {}
    for proposal in proposals:
        by_hash.setdefault(proposal.candidate.hash, proposal)
    return [proposal for hash, proposal in by_hash.items() if hash not in seen][:count]


def propose_random(space: Space, key: jax.Array, count: int, seen: Set[str]) -> list[Proposal]:
    """Returns random templates whose hashes are not in `seen`."""
    genomes = space.sample_valid(key, count + 4 * len(seen), min_count=count)
    return select_new(map(Proposal, Candidate.from_genomes(genomes, space)), seen, count)


def propose_screened(
    space: Space, key: jax.Array, count: int, seen: Set[str], predictor: Predictor, config: SearchConfig
) -> list[Proposal]:
    """Returns the best of `config.pool_size` random templates, by the acquisition rule of the config."""
    genomes = np.asarray(space.sample_valid(key, config.pool_size, min_count=count))
    front = count + 2 * len(seen) + 256
    genomes = genomes[shortlist(space, genomes, predictor, front)]
    members = predict_members(space, genomes, predictor)
    mean, std = members.mean(0), predict_std(predictor, members)
    # Only the front of the ranking is named: names are made on the host, one by one.
    order = rank(config.acquisition, members, std, front, int(jax.random.bits(key)))[:front]
    candidates = Candidate.from_genomes(genomes[order], space)
    return select_new(map(Proposal, candidates, mean[order].tolist(), std[order].tolist()), seen, count)


def fit_predictor(
    space: Space, rows: Sequence[EvaluatedCandidate], seed: int, early_epochs: int = 0
) -> Predictor | None:
    """Returns a predictor of final validation accuracy, or None where rows are too few or all alike.

    It understands the validation accuracies of so many early epochs, and does without.
    """
    sequences, lengths = featurize(space, stack_genomes((row.candidate for row in rows), space))
    accuracies = np.array([row.accuracy for row in rows])
    curves = [[epoch.val_acc for epoch in row.evaluation.epochs[:early_epochs]] for row in rows]
    try:
        return Predictor(seed).fit(sequences, lengths, accuracies, np.array(curves) if early_epochs else None)
    except JnasError:
        return None
