"""What the predictor says of candidates, and random ones."""

import contextlib
import itertools
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Int8, Int32

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.result import EvaluatedCandidate
from jnas.errors import JnasError
from jnas.evolve import GuidedEvolution
from jnas.predict import Predictor
from jnas.space import Candidate, Space, lengths

Genomes = Int8[np.ndarray, "n l 6"]

CHUNK_SIZE = 1024
"""Genomes that are encoded and predicted together: their features should fit into a processor's cache."""
LEAST_SIZE = GuidedEvolution.candidates
"""Genomes to which fewer are filled up, so that most searches compile one program for all of their rounds."""

MIN_ROWS = 3
"""Trained templates from which on a predictor is fitted; before, there is the prior alone."""
ENOUGH_ROWS = 32
"""With fewer rows than that, children may be chosen only where the prior expects as much of them as of any network that
was trained. Those that a search begins with are about equally good: they do not tell what is poor."""

MAX_ROWS_FROM_ELSEWHERE = 450
"""Of one recipe that the predictor learns from: they take a fraction of a second."""

LENGTH_STEP = 4
"""Genomes of one of several chunks are cut to a multiple of so many rows."""

NUM_STD = 2.0
"""Standard deviations that a prediction may be too low: one in 40 of those stopped would have been better."""

encode = fast_compile_jit(Space.encode, static_argnums=0)
"""What the predictor sees of genomes: `encode(space, genomes)`."""


class Proposal(NamedTuple):
    """A candidate to train, and what the predictor said of it (None where it was not asked)."""

    candidate: Candidate
    predicted_mean: float | None = None
    predicted_std: float | None = None


def select_new(proposals: Iterable[Proposal], seen: Set[str], count: int) -> list[Proposal]:
    """Returns the first `count` proposals that compute different functions, whose hashes are not in `seen`."""
    by_function: dict[str, Proposal] = {}
    for proposal in proposals:
        by_function.setdefault(proposal.candidate.function_hash, proposal)
    return [proposal for hash, proposal in by_function.items() if hash not in seen][:count]


def propose_random(space: Space, key: jax.Array, count: int, seen: Set[str]) -> list[Proposal]:
    """Returns random templates whose functions are not in `seen`."""
    genomes = space.sample_valid(key, count + 4 * len(seen), min_count=count)
    return select_new(map(Proposal, Candidate.from_genomes(genomes, space)), seen, count)


def stack_genomes(candidates: Iterable[Candidate], space: Space) -> Genomes:
    """Returns the genomes of candidates, of which there may be none."""
    return np.array([candidate.genome for candidate in candidates], np.int8).reshape(-1, space.length, 6)


def pad_to_power(genomes: Genomes, min_size: int = 1) -> Int8[Array, "p l 6"]:
    """Returns genomes and empty ones, up to the next power of two, or `min_size`: so few shapes are compiled."""
    missing = max(min_size, 1 << max(len(genomes) - 1, 0).bit_length()) - len(genomes)
    return jax.device_put(np.pad(genomes, ((0, missing), (0, 0), (0, 0))))


def featurize(space: Space, genomes: Genomes) -> tuple[Float32[np.ndarray, "n l f"], Int32[np.ndarray, " n"]]:
    """Returns what the predictor sees of genomes, and their lengths."""
    return np.asarray(encode(space, pad_to_power(genomes, LEAST_SIZE)))[: len(genomes)], np.asarray(lengths(genomes))


def chunks(genomes: Genomes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns genomes in the order of their lengths: `(rows, genomes, lengths)` of each chunk.

    Where there are several chunks, each is cut to what its genomes use: of random templates that is a third on average.
    The last chunk is filled up with copies, so that few shapes are compiled; `rows` `[N]` is without them.
    """
    used, is_cut = lengths(genomes), len(genomes) > CHUNK_SIZE
    order = np.argsort(used, kind="stable")
    parts = []
    for start in range(0, len(order), CHUNK_SIZE):
        rows = order[start : start + CHUNK_SIZE]
        size = min(CHUNK_SIZE, max(LEAST_SIZE, 1 << (len(order) - 1).bit_length()))
        padded = np.pad(rows, (0, size - len(rows)), mode="edge")
        steps = -(-int(used[rows[-1]]) // LENGTH_STEP) * LENGTH_STEP if is_cut else genomes.shape[1]
        parts.append((rows, genomes[padded, :steps], used[padded]))
    return parts


def predict(
    space: Space, genomes: Genomes, predictor: Predictor
) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Returns means and standard deviations of what the predictor says of genomes."""
    mean, std = np.empty((2, len(genomes)), np.float32)
    for rows, part, used in chunks(genomes):
        mean[rows], std[rows] = predictor.predict(np.asarray(encode(space, part))[: len(rows)], used[: len(rows)])
    return mean, std


def promising(
    space: Space, candidates: Sequence[Candidate], trained: Sequence[Candidate], prior: Predictor, count: int
) -> list[Candidate]:
    """Returns the candidates of which a predictor that has seen no row expects as much as of any trained one.

    Those are at least the best `count` by it.
    """
    mean, _ = predict(space, stack_genomes([*candidates, *trained], space), prior)
    best = np.sort(mean[: len(candidates)])[-count:]
    least = min(mean[len(candidates) :].min(), best[0])
    return [candidate for candidate, value in zip(candidates, mean, strict=False) if value >= least]


def may_improve(
    space: Space, candidates: Sequence[Candidate], curves: np.ndarray, predictor: Predictor, incumbents: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """Returns which candidates may become better than their incumbents, see `find_incumbents`.

    `curves` `[N, K]` are their validation accuracies after the first epochs, which the predictor has to understand.
    """
    mean, std = predictor.predict(*featurize(space, stack_genomes(candidates, space)), curves)
    return mean + NUM_STD * std > incumbents


def learn_from_elsewhere(space: Space, rows: Sequence[tuple[str, str, float]], seed: int) -> Predictor:
    """Returns a predictor that has learned from trainings by other recipes: `(recipe, hash, accuracy)` each.

    Those of one recipe after the other correct the prior, as far as they are of the space.
    """
    predictor = Predictor(seed)
    for _, group in itertools.groupby(rows, key=lambda row: row[0]):
        accuracies: dict[str, list[float]] = {}
        for _, hash, accuracy in group:
            accuracies.setdefault(hash, []).append(accuracy)
        found = {hash: _candidate(hash, space) for hash in list(accuracies)[:MAX_ROWS_FROM_ELSEWHERE]}
        candidates = {hash: candidate for hash, candidate in found.items() if candidate is not None}
        features = featurize(space, stack_genomes(candidates.values(), space))
        with contextlib.suppress(JnasError):  # rows that are too few, or all alike
            means = [float(np.mean(accuracies[hash])) for hash in candidates]
            predictor = Predictor(seed, prior=predictor if predictor.scores else "table").fit(*features, means)
    return predictor


def _candidate(hash: str, space: Space) -> Candidate | None:
    try:
        return Candidate.from_hash(hash, space)
    except JnasError:  # of more layers than templates of this space have
        return None


def fit_predictor(
    space: Space,
    rows: Sequence[EvaluatedCandidate],
    seed: int,
    early_epochs: int = 0,
    elsewhere: Predictor | None = None,
) -> Predictor:
    """Returns a predictor of the search's metric; the prior alone where rows are too few to learn from, or all alike.

    It understands the validation accuracies of so many early epochs, and does without. `elsewhere` is what
    `learn_from_elsewhere` returned.
    """
    prior = elsewhere if elsewhere is not None and elsewhere.scores else "table"
    if len(rows) < MIN_ROWS:
        return Predictor(seed, prior=prior)
    features = featurize(space, stack_genomes((row.candidate for row in rows), space))
    scores = np.array([row.score for row in rows])
    curves = [[epoch.val_acc for epoch in row.evaluation.epochs[:early_epochs]] for row in rows]
    try:
        return Predictor(seed, prior=prior).fit(*features, scores, np.array(curves) if early_epochs else None)
    except JnasError:
        return Predictor(seed, prior=prior)
