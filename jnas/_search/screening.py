"""Predictions for many genomes at once."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas.predict import Predictor, Regressor
from jnas.space import Space, featurize, lengths, to_bits

CHUNK = 1024
"""Genomes that are encoded and predicted together: their features should fit into a processor's cache."""

FIRST_MEMBERS, SHARE, LEAST = 2, 0.2, 256
"""Of many genomes, so many members judge all, and this share of the best, or at least so many, goes to the others."""

STEP = 4
"""Genomes of one chunk are cut to a multiple of so many rows."""


@fast_compile_jit(static_argnames="space")
def facts_and_bits(genomes: jax.Array, space: Space) -> jax.Array:
    """What the predictor sees: `[N, L, 6]` int8 to `[N, L, FEATURES]` float32."""
    return featurize(genomes, space.in_shape, space.classes)


@fast_compile_jit(static_argnames="space")
def bits_alone(genomes: jax.Array, space: Space) -> jax.Array:
    """What the original sees: `[N, L, 6]` int8 to `[N, L, 32]` uint8."""
    return to_bits(genomes)


_lengths = fast_compile_jit(lengths)


def filled(genomes: np.ndarray, least: int = 1) -> jax.Array:
    """Genomes `[N, L, 6]` and empty ones, up to the next power of two, or `least`: so few shapes are compiled."""
    missing = max(least, 1 << max(len(genomes) - 1, 0).bit_length()) - len(genomes)
    return jax.device_put(np.pad(genomes, ((0, missing), (0, 0), (0, 0))))


def seen(space: Space, genomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the predictor sees of genomes: `[N, L, FEATURES]` and their lengths `[N]`."""
    whole = filled(genomes)
    return np.asarray(facts_and_bits(whole, space))[: len(genomes)], np.asarray(_lengths(whole))[: len(genomes)]


def chunks(genomes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Genomes `[N, L, 6]` in the order of their lengths, cut to what they use: `(rows, genomes, lengths)` each.

    Of a space's random templates the mean is a third of the longest, and what is not there need not be computed. The
    last chunk is filled up with copies, so that few shapes are compiled; `rows` `[N]` is without them.
    """
    genomes = np.asarray(genomes)
    used = np.asarray(_lengths(genomes))
    order = np.argsort(used, kind="stable")
    parts = []
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        size = min(CHUNK, 1 << (len(order) - 1).bit_length())
        filled = np.pad(rows, (0, size - len(rows)), mode="edge")
        steps = min(genomes.shape[1], -(-int(used[rows[-1]]) // STEP) * STEP)
        parts.append((rows, genomes[filled, :steps], used[filled]))
    return parts


def screen(
    space: Space,
    genomes: np.ndarray,
    model: Regressor,
    encoder: Callable[[jax.Array, Space], jax.Array] = facts_and_bits,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation that a model predicts for genomes `[N, L, 6]`: `[N]` each.

    Args:
      space: the genomes' space.
      genomes: valid ones.
      model: fitted on what `encoder` gives.
      encoder: `facts_and_bits` or `bits_alone`.
    """
    mean, std = np.empty((2, len(genomes)), np.float32)
    for rows, part, used in chunks(genomes):
        found = model.predict(np.asarray(encoder(part, space)), used)
        mean[rows], std[rows] = found[0][: len(rows)], found[1][: len(rows)]
    return mean, std


def screen_members(space: Space, genomes: np.ndarray, model: Predictor) -> np.ndarray:
    """Each member's prediction for genomes `[N, L, 6]`: `[members, N]`."""
    members = np.empty((model.config.members, len(genomes)), np.float32)
    for rows, part, used in chunks(genomes):
        members[:, rows] = model.predict_members(np.asarray(facts_and_bits(part, space)), used)[:, : len(rows)]
    return members


def shortlist(space: Space, genomes: np.ndarray, model: Predictor, least: int = LEAST) -> np.ndarray:
    """Which genomes `[N, L, 6]` are worth the whole ensemble: places, best first, by the mean of its first members.

    A fifth of them, or `least` where that is more. The best of all members is seldom elsewhere (see
    `benchmarks/README.md`), and the rest costs a fifth of the time.
    """
    wanted = max(least, int(SHARE * len(genomes)))
    if wanted >= len(genomes):
        return np.arange(len(genomes))
    first = screen_members(space, genomes, model.subset(FIRST_MEMBERS)).mean(0)
    return np.argsort(-first, kind="stable")[:wanted]
