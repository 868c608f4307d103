"""How much of an accuracy after an epoch is chance of that epoch alone, and what it keeps the first ones from telling.

    python benchmarks/jitter.py --table FILE.csv --target acc_20 --train 400 --epochs-seen 5 --seeds 10 --json OUT.json

All by linear regressions, which need nothing but the accuracies, on the splits of benchmarks/predictor.py:

- `epochs`: R² on test rows, of the last accuracy, by a regression on the epochs seen.
- `jitter`: how far the accuracy after each of these epochs is from what all other epochs of its run tell, those before
  and those after it and the last one (root mean square on test rows). It says nothing about the last accuracy.
- `more_jitter`: R² with more noise of that size in the epochs seen, as multiples of its variance; `no_jitter` is the
  parabola through these, continued to none at all (simulation and extrapolation: Cook and Stefanski 1994).
"""

from __future__ import annotations

import argparse

import numpy as np
from common import report, run, splits
from tables import read

from jnas import JnasError

MULTIPLES = (0.5, 1.0, 1.5, 2.0)
REPEATS = 20
"""How often noise is drawn."""


def errors(inputs: np.ndarray, target: np.ndarray, rows: list) -> list[np.ndarray]:
    """Of a linear regression that is fitted to some rows, on the others, for each split."""
    design = np.column_stack([np.ones(len(target)), inputs])
    weights = [np.linalg.lstsq(design[train], target[train], rcond=None)[0] for train, _ in rows]
    return [target[test] - design[test] @ w for (_, test), w in zip(rows, weights, strict=True)]


def r2(inputs: np.ndarray, target: np.ndarray, rows: list) -> np.ndarray:
    """R² of each split's test rows."""
    found = zip(errors(inputs, target, rows), rows, strict=True)
    return np.array([1 - np.square(error).mean() / target[test].var() for error, (_, test) in found])


def jitter(curves: np.ndarray, seen: int, rows: list) -> np.ndarray:
    """`[seen]` root mean squares of what an epoch does not share with the others of its run, `[N, epochs]` curves."""
    left = [errors(np.delete(curves, epoch, 1), curves[:, epoch], rows) for epoch in range(seen)]
    return np.array([np.sqrt(np.mean(np.square(np.concatenate(one)))) for one in left])


def with_noise(inputs: np.ndarray, scale: np.ndarray, target: np.ndarray, rows: list) -> float:
    """Mean R² with noise of some size in the inputs, drawn several times."""
    noise = np.random.default_rng(0).normal(size=(REPEATS, *inputs.shape))
    return float(np.mean([r2(inputs + scale * part, target, rows) for part in noise]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="CSV file with columns acc_1, acc_2, ...")
    parser.add_argument("--target", default="acc_20", help="the last accuracy of a run, a column acc_N")
    parser.add_argument("--train", type=int, default=400, help="rows to train on")
    parser.add_argument("--epochs-seen", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10, help="splits")
    parser.add_argument("--json", help="where to write everything")
    options = parser.parse_args()
    number = options.target.removeprefix("acc_")
    if not number.isdecimal() or not 0 < options.epochs_seen < int(number):
        raise JnasError(
            f"{options.epochs_seen} epochs of runs that end with {options.target!r} tell nothing: give 1 or more, "
            "fewer than the number of an accuracy acc_N."
        )
    curves = read(options.table, options.target, int(number)).early.astype(float)
    if len(wrong := np.flatnonzero(~np.isfinite(curves).all(1))):
        raise JnasError(f"Row {wrong[0]} of {options.table} lacks an accuracy: leave out runs that ended early.")
    target, seen = curves[:, -1], curves[:, : options.epochs_seen]
    if options.train <= curves.shape[1]:
        raise JnasError(f"--train {options.train} rows tell nothing of {number} epochs: give more rows than epochs.")
    rows = splits(len(target), options.train, options.seeds)
    plain, sizes = r2(seen, target, rows), jitter(curves, options.epochs_seen, rows)
    more = {0.0: float(plain.mean())}
    more |= {multiple: with_noise(seen, np.sqrt(multiple) * sizes, target, rows) for multiple in MULTIPLES}
    result = {
        "epochs": more[0.0],
        "epochs_runs": plain.tolist(),
        "jitter": sizes.tolist(),
        "more_jitter": more,
        "no_jitter": float(np.polyval(np.polyfit(list(more), list(more.values()), 2), -1)),
        "rows": len(target),
    }
    report(result, options, ("epochs", "jitter", "more_jitter", "no_jitter"))


if __name__ == "__main__":
    run(main)
