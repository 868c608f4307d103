"""Scores of a model on rows that it has not seen: cross validation, learning curves and the ceiling of noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jnas import JnasError
from jnas.predict import Regressor, Scores, calibration, score

MIN_ROWS = 10


def cross_validate(
    make: Callable[[int], Regressor],
    sequences: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    early: np.ndarray | None = None,
    folds: int = 5,
    repeats: int = 1,
) -> dict[str, tuple[float, float]]:
    """Returns mean and standard deviation of each score of a k-fold cross validation, over folds and repeats.

    Args:
      make: makes a model from a seed, such as the class `Predictor`.
      sequences, lengths, targets, early: as in `Regressor.fit`.
      folds: number of parts, each of which is left out once.
      repeats: number of runs, each with another seed and split.

    Raises:
      JnasError: there are fewer than two folds, or too few rows for them.
    """
    count = len(targets)
    if folds < 2 or count - -(-count // folds) < MIN_ROWS:
        raise JnasError(f"folds must be >= 2 and leave {MIN_ROWS} of {count} rows, got {folds}.")
    found = []
    for seed in range(repeats):
        fold = np.random.default_rng(seed).permutation(count) % folds
        for left_out in range(folds):
            train, test = np.flatnonzero(fold != left_out), np.flatnonzero(fold == left_out)
            found.append(_scores(make(seed), (sequences, lengths, targets, early), train, test))
    return _mean_std(found)


def learning_curve(
    make: Callable[[int], Regressor],
    sequences: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    early: np.ndarray | None = None,
    sizes: Sequence[int] = (50, 100, 200, 400),
    repeats: int = 3,
) -> dict[int, dict[str, tuple[float, float]]]:
    """Returns, for each number of training rows, mean and standard deviation of each score over splits.

    In each split all sizes are tested on the rows that the largest one leaves. Arguments as in `cross_validate`.

    Raises:
      JnasError: the largest size leaves fewer than two rows.
    """
    count, largest = len(targets), max(sizes)
    if count - largest < 2:
        raise JnasError(f"sizes must be <= {count - 2} with {count} rows, got {largest}.")
    found: dict[int, list[dict]] = {size: [] for size in sizes}
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(count)
        for size in sizes:
            rows = (sequences, lengths, targets, early)
            found[size].append(_scores(make(seed), rows, order[:size], order[largest:]))
    return {size: _mean_std(runs) for size, runs in found.items()}


def noise_ceiling(runs: np.ndarray) -> Scores:
    """Returns the scores that a predictor could reach that knew the true means.

    The seeds' variance v is estimated within rows. Against a single seed, R² cannot exceed 1 - v / variance of a seed.
    Kendall's tau and Spearman's correlation are those of each seed with the mean of the others, averaged: a lower
    bound, since that mean is noisy, too.

    Args:
      runs: `[N, S]` the same N architectures measured under S >= 2 seeds.
    """
    runs = np.asarray(runs, float)
    noise = runs.var(1, ddof=1).mean()
    pairs = [score(runs[:, i], np.delete(runs, i, 1).mean(1)) for i in range(runs.shape[1])]
    r2 = 1 - noise / runs.var(0).mean()
    tau, rank = (float(np.mean([getattr(pair, name) for pair in pairs])) for name in ("kendall_tau", "spearman"))
    return Scores(float(r2), tau, rank, len(runs))


def _scores(model: Regressor, rows: tuple, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    sequences, lengths, targets, early = rows
    part = [None if early is None else early[which] for which in (train, test)]
    model.fit(sequences[train], lengths[train], targets[train], part[0])
    mean, std = model.predict(sequences[test], lengths[test], part[1])
    agreement = score(targets[test], mean)._asdict()
    del agreement["num_rows"]
    return agreement | calibration(targets[test], mean, std)._asdict() | {"seconds": model.seconds}


def _mean_std(runs: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    return {key: (float(np.mean([r[key] for r in runs])), float(np.std([r[key] for r in runs]))) for key in runs[0]}
