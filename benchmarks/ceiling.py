"""How much of a predictor's errors could be foreseen at all: what it has missed in a table, and what is noise.

    python benchmarks/ceiling.py --table FILE.csv --target COLUMN --epochs-seen K --json OUT.json

The errors on rows left out (10 folds) are noise and what the predictor missed. A missed function of what it sees makes
the errors of similar rows similar, so kernel regressions of several kinds try to foresee the errors of some rows by
those of the others. `gain` is the share of the squared errors that the luckiest of them takes away. Whether that is
more than chance, shuffled errors tell. Whether a missed function would have been noticed is seen by planting some:
random functions that make a given share of the squares of otherwise shuffled errors. The ceiling is the R² of a
predictor that also knew exactly a function of the least share that is noticed 95 times of 100, of every kind that was
planted. Functions that are less smooth than these it says nothing of.

The rest of the errors is what the choice of the rows to train on did. `scatter` bounds that from above: half the mean
squared difference of what two models foresee that were fitted to different halves of the other rows, as a share of the
targets' variance. Without it, too, the ceiling is `ceiling_without_scatter`, for as many rows as one likes.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import about, run
from tables import Table, read

from jnas.predict import MODELS, score
from jnas.predict.lstm import Recurrence
from jnas.predict.scaling import moments
from jnas.predict.summary import summary

FOLDS = 10
WIDTHS = (0.1, 0.3, 1.0)
"""Widths of Gaussian kernels: shares of the median squared distance."""
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""What is added to a kernel's diagonal, whose mean is 1."""
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
NOTICED = 0.95


class Inputs(NamedTuple):
    """What an error may depend on, standardised.

    Attributes:
      summary: `[N, D]` each feature's last value, mean, maximum and minimum over the steps, the early accuracies, and
        the prediction itself.
      states: `[N, H]` what an untrained recurrent network makes of each sequence, in the order of its steps; the early
        accuracies and the prediction.
    """

    summary: np.ndarray
    states: np.ndarray


def left_out(table: Table, name: str, repeats: int) -> np.ndarray:
    """`[N]` each row's prediction by models of that name that have not seen it, the mean over repeats."""
    found = np.zeros((repeats, len(table.targets)))
    for seed in range(repeats):
        fold = np.random.default_rng(seed).permutation(len(table.targets)) % FOLDS
        for number in range(FOLDS):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            found[seed, test] = _foreseen(table, name, seed * FOLDS + number, train, test)
        print(f"repeat {seed}: R² on rows left out {score(table.targets, found[seed]).r2:.4f}", flush=True)
    return found.mean(0)


def _foreseen(table: Table, name: str, seed: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What a model that is fitted to some rows predicts of others."""
    sequences = table.bits if name == "sophius_lstm" else table.sequences
    early = [table.early[rows] if table.early.shape[1] else None for rows in (train, test)]
    model = MODELS[name](seed).fit(sequences[train], table.lengths[train], table.targets[train], early[0])
    return model.predict(sequences[test], table.lengths[test], early[1])[0]


def scatter(table: Table, name: str) -> float:
    """How much predictions depend on the rows that a model is fitted to, as a share of the targets' variance."""
    squares = []
    fold = np.random.default_rng(0).permutation(len(table.targets)) % FOLDS
    for number in range(FOLDS):
        test, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        halves = np.array_split(np.random.default_rng(number).permutation(others), 2)
        one, other = (_foreseen(table, name, seed, half, test) for seed, half in enumerate(halves, 2 * number))
        squares.append(np.square(one - other) / 2)
    return float(np.concatenate(squares).mean() / table.targets.var())


def inputs(table: Table, predicted: np.ndarray) -> Inputs:
    """What the errors of predictions `[N]` may depend on."""
    seen = np.nan_to_num(table.early), predicted[:, None]
    flat = summary(table.sequences, table.lengths, table.early)
    return Inputs(
        _standardised(np.concatenate([flat, predicted[:, None]], 1)),
        _standardised(np.concatenate([_states(table, 128, np.random.default_rng(0)), *seen], 1)),
    )


def smoothers(seen: Inputs, seed: int = 0) -> np.ndarray:
    """`[S, N, N]`: a kernel regression's matrix times errors is what it foresees of them, every row by other folds."""
    kernels = [_normal(seen.summary @ seen.summary.T), _trees(seen.summary, seed)]
    for x in seen:
        distance = _distances(x)
        kernels += [np.exp(-distance / (width * np.median(distance))) for width in WIDTHS]
    count = len(seen.summary)
    fold = np.random.default_rng(seed).permutation(count) % FOLDS
    found = []
    for kernel in kernels:
        for penalty in PENALTIES:
            matrix = np.zeros((count, count))
            for number in range(FOLDS):
                test, train = fold == number, fold != number
                rows = train.sum()
                penalised = kernel[np.ix_(train, train)] + penalty * np.eye(rows)
                slopes = np.linalg.solve(penalised, kernel[np.ix_(train, test)]).T
                # Errors less their mean, and this back again.
                matrix[np.ix_(test, train)] = slopes - slopes.mean(1, keepdims=True) + 1 / rows
            found.append(matrix)
    return np.stack(found)


def gain(matrices: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """`[M]` the largest share of the squares of errors `[N, M]` that one of the smoothers takes away."""
    total = np.square(errors - errors.mean(0)).sum(0)
    return np.max([1 - np.square(matrix @ errors - errors).sum(0) / total for matrix in matrices], 0)


def planted(table: Table, seen: Inputs) -> dict[str, Callable[[np.random.Generator], np.ndarray]]:
    """Random functions `[N]` of what the predictor sees, by kind."""
    x = seen.summary
    width = np.median(_distances(x))

    def features(rng):
        return x[:, rng.choice(x.shape[1], 5)] @ rng.normal(size=5)

    def regions(rng):
        total = np.zeros(len(x))
        for _ in range(3):
            columns = x[:, rng.choice(x.shape[1], 2)]
            edges = [np.quantile(column, rng.uniform(0.2, 0.8)) for column in columns.T]
            total += rng.normal() * (columns > edges).all(1)
        return total

    def smooth(rng):  # of a Gaussian process, by random Fourier features (Rahimi and Recht 2007)
        waves = x @ (rng.normal(size=(x.shape[1], 100)) * np.sqrt(2 / width))
        return np.cos(waves + rng.uniform(0, 2 * np.pi, 100)) @ rng.normal(size=100)

    def network(rng):
        return _standardised(_states(table, 16, rng)) @ rng.normal(size=32)

    return {"five features": features, "regions": regions, "smooth": smooth, "network": network}


def search(table: Table, predicted: np.ndarray, plants: int, bar: float | None, seed: int = 0) -> dict:
    """What can be foreseen of the errors of predictions `[N]`, and what would have been noticed."""
    errors, rng = table.targets - predicted, np.random.default_rng(seed)
    seen = inputs(table, predicted)
    matrices = smoothers(seen, seed)
    shuffled = gain(matrices, np.stack([rng.permutation(errors) for _ in range(1000)], 1))
    threshold, real = float(np.quantile(shuffled, 0.95)), float(gain(matrices, errors[:, None])[0])
    r2 = score(table.targets, predicted).r2
    found = {
        "r2": r2,
        "gain": real,
        "gain_of_shuffled_95": threshold,
        "p": float((1 + (shuffled >= real).sum()) / (1 + len(shuffled))),
        "planted": {},
    }
    for kind, draw in planted(table, seen).items():
        functions = list(_varying(draw, rng, plants))
        for share in SHARES:
            mixed = [
                np.sqrt(1 - share) * rng.permutation(errors) + np.sqrt(share) * errors.std() * f for f in functions
            ]
            gains = gain(matrices, np.stack(mixed, 1))
            row = {"noticed": float((gains > threshold).mean()), "gain": float(gains.mean())}
            found["planted"].setdefault(kind, {})[str(share)] = row
    tables = found["planted"].values()
    hidden = next((s for s in SHARES if all(rows[str(s)]["noticed"] >= NOTICED for rows in tables)), None)
    found |= {"hidden": hidden, "ceiling": None if hidden is None else 1 - (1 - r2) * (1 - hidden)}
    if bar is not None:
        found["share_for_bar"] = max(0.0, 1 - (1 - bar) / (1 - r2))
    total = np.square(table.targets - table.targets.mean()).sum()
    found["largest"] = [
        {
            "row": int(i),
            "target": float(table.targets[i]),
            "predicted": float(predicted[i]),
            "r2": float(errors[i] ** 2 / total),
        }
        for i in np.argsort(-np.abs(errors))[:10]
    ]
    return found


def _varying(draw: Callable, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """So many random functions of mean 0 and variance 1."""
    while count:
        values = draw(rng)
        if values.std() > 1e-6:
            count -= 1
            yield (values - values.mean()) / values.std()


def _states(table: Table, hidden: int, rng: np.random.Generator) -> np.ndarray:
    """`[N, 2 hidden]` the mean states of an untrained bidirectional LSTM on standardised sequences."""
    words = jnp.asarray(rng.integers(2**32, size=2, dtype=np.uint32))
    return np.asarray(_read(table.sequences, table.lengths, words, hidden))


@jax.jit(static_argnames="hidden")
def _read(sequences, lengths, words, hidden):
    there = (jnp.arange(sequences.shape[1]) < lengths[:, None])[..., None].astype(jnp.float32)
    width = sequences.shape[-1]
    mean, std = moments(sequences.reshape(-1, width), jnp.broadcast_to(there, sequences.shape).reshape(-1, width))
    steps = (sequences - mean) / jnp.where(std > 1e-6, std, 1) * there
    return Recurrence(width, hidden, words=words)(steps.swapaxes(0, 1), there.swapaxes(0, 1)).mean


def _standardised(x: np.ndarray) -> np.ndarray:
    x = x[:, x.std(0) > 1e-6]
    return (x - x.mean(0)) / x.std(0)


def _distances(x: np.ndarray) -> np.ndarray:
    squares = np.square(x).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)


def _normal(kernel: np.ndarray) -> np.ndarray:
    return kernel / np.diag(kernel).mean()


def _trees(x: np.ndarray, seed: int) -> np.ndarray:
    """The share of 1,000 random trees in which two rows are in the same leaf."""
    from sklearn.ensemble import RandomTreesEmbedding

    leaves = RandomTreesEmbedding(1000, max_depth=5, random_state=seed).fit_transform(x)
    return (leaves @ leaves.T).toarray() / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="the CSV file")
    parser.add_argument("--target", help="the column to learn (default: val_acc, acc_20 or reward)")
    parser.add_argument("--epochs-seen", type=int, default=0, help="early epochs to see, columns acc_1, acc_2, ...")
    parser.add_argument("--model", choices=list(MODELS), default="jnas", help="whose errors")
    parser.add_argument("--repeats", type=int, default=2, help="how often all rows are left out once")
    parser.add_argument("--plants", type=int, default=200, help="planted functions of each kind")
    parser.add_argument("--bar", type=float, help="an R² to compare with")
    parser.add_argument("--json", help="where to write everything")
    options = parser.parse_args()
    table = read(options.table, options.target, options.epochs_seen)
    found = search(table, left_out(table, options.model, options.repeats), options.plants, options.bar)
    found["scatter"] = scatter(table, options.model)
    print(
        f"R² on rows left out {found['r2']:.4f}. Of the squared errors {found['gain']:.4f} can be foreseen by those of "
        f"other rows; shuffled: up to {found['gain_of_shuffled_95']:.4f} 95 times of 100 (p = {found['p']:.3f})."
    )
    print(f"\nplanted functions: noticed (share of squares foreseen)\n{'':14}" + "".join(f"{s:>16.2f}" for s in SHARES))
    for kind, rows in found["planted"].items():
        cells = (f"{row['noticed']:.2f} ({row['gain']:.3f})" for row in rows.values())
        print(f"{kind:14}" + "".join(f"{cell:>16}" for cell in cells))
    print(f"\nScatter by the rows that train: at most {found['scatter']:.4f} of the variance.")
    if found["ceiling"] is None:
        print("No share is noticed so often for every kind: no ceiling is shown.")
    else:
        found["ceiling_without_scatter"] = 1 - (1 - found["r2"] - found["scatter"]) * (1 - found["hidden"])
        print(
            f"A function of {found['hidden']:.2f} would have been noticed: ceiling of R² {found['ceiling']:.4f}, "
            f"{found['ceiling_without_scatter']:.4f} without scatter."
        )
    if options.bar is not None:
        print(f"For R² {options.bar} a share of {found['share_for_bar']:.2f} would have to go.")
    if options.json:
        found["about"] = about() | {"arguments": vars(options), "rows": len(table.targets), "table": table.notes}
        pathlib.Path(options.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    run(main)
