"""How good a model is on rows that it has not seen: cross validation and learning curves, with spreads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jnas.errors import JnasError
from jnas.predict._base import LEAST_ROWS, Regressor
from jnas.predict._metrics import calibration, score


def cross_validate(
    make: Callable[[int], Regressor],
    sequences: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    early: np.ndarray | None = None,
    folds: int = 5,
    repeats: int = 1,
) -> dict[str, tuple[float, float]]:
    """Scores of k-fold cross validation: for each, its mean and standard deviation over folds and repeats.

    Args:
      make: a model from a seed, such as the class `Predictor`.
      sequences, lengths, targets, early: as in `Regressor.fit`.
      folds: parts, each of which is left out once.
      repeats: how often, under another seed and split.

    Raises:
      JnasError: there are fewer than two folds, or too few rows for them.
    """
    count = len(targets)
    if folds < 2 or count - -(-count // folds) < LEAST_ROWS:
        raise JnasError(
            f"{folds} folds cannot be made of {count} rows: give 2 or more, each leaving {LEAST_ROWS} rows."
        )
    found = []
    for seed in range(repeats):
        fold = np.random.default_rng(seed).permutation(count) % folds
        for left_out in range(folds):
            train, test = np.flatnonzero(fold != left_out), np.flatnonzero(fold == left_out)
            found.append(_scores(make(seed), (sequences, lengths, targets, early), train, test))
    return _summary(found)


def learning_curve(
    make: Callable[[int], Regressor],
    sequences: np.ndarray,
    lengths: np.ndarray,
    targets: np.ndarray,
    early: np.ndarray | None = None,
    sizes: Sequence[int] = (50, 100, 200, 400),
    repeats: int = 3,
) -> dict[int, dict[str, tuple[float, float]]]:
    """Scores by the number of rows that a model trains on: for each size, means and standard deviations over splits.

    In each split the same rows test all sizes: those that the largest leaves. Arguments as in `cross_validate`.

    Raises:
      JnasError: the largest size leaves fewer than two rows.
    """
    count, most = len(targets), max(sizes)
    if count - most < 2:
        raise JnasError(f"A learning curve up to {most} of {count} rows leaves none to test on: give smaller sizes.")
    found: dict[int, list[dict]] = {size: [] for size in sizes}
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(count)
        for size in sizes:
            rows = (sequences, lengths, targets, early)
            found[size].append(_scores(make(seed), rows, order[:size], order[most:]))
    return {size: _summary(runs) for size, runs in found.items()}


def _scores(model: Regressor, rows: tuple, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    sequences, lengths, targets, early = rows
    part = [None if early is None else early[which] for which in (train, test)]
    model.fit(sequences[train], lengths[train], targets[train], part[0])
    mean, std = model.predict(sequences[test], lengths[test], part[1])
    agreement = score(targets[test], mean)._asdict()
    del agreement["rows"]
    return agreement | calibration(targets[test], mean, std)._asdict() | {"seconds": model.seconds}


def _summary(runs: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    return {key: (float(np.mean([r[key] for r in runs])), float(np.std([r[key] for r in runs]))) for key in runs[0]}
