"""The predictor beside the original's LSTM, ridge regression and gradient boosting, on a table of accuracies.

    python benchmarks/predictor.py --table FILE.csv --target COLUMN --train N --epochs-seen K --seeds S --json OUT.json

Reads tables with a column `hash`, a column `net` (MetaQNN's notation), or columns `gene_*`. Each of S times, N random
rows train and the others test. All models see the same rows; `sophius_lstm` sees bits alone, the others facts as well.
`jnas` starts from the prior that ships, `lstm_ensemble` is the same without one; `--train 0` is the prior alone. The
prior has seen `data/table.csv.gz`: on that table, `--prior-rows P` trains one on P other rows of each split.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import report, run, splits
from predictors import MODELS, cross_validate, learning_curve
from tables import Table, read

import jnas
from jnas.predict import EnsembleConfig, LSTMEnsemble, Predictor, Prior, Regressor, calibration, score

ABLATIONS = {
    "as it is": {},
    "one member": {"members": 1},
    "without dropout": {"dropout": 0.0},
    "all features shown": {"input_dropout": 0.0},
}


def evaluate(model: Regressor, table: Table, sequences: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict:
    """Scores of a model that trains on some rows, on others."""
    early = table.early if table.early.shape[1] else None

    def rows(which):
        return sequences[which], table.lengths[which]

    def epochs(which):
        return None if early is None else early[which]

    start = time.perf_counter()
    if len(train):
        model.fit(*rows(train), table.targets[train], epochs(train))
    fitted = time.perf_counter()
    mean, std = model.predict(*rows(test), epochs(test))
    done = time.perf_counter()
    scores = score(table.scored[test], mean)
    found = {"r2": scores.r2, "tau": scores.kendall_tau, "spearman": scores.spearman}
    if not np.array_equal(table.scored, table.targets):
        found["tau_target"] = score(table.targets[test], mean).kendall_tau
    found |= calibration(table.scored[test], mean, std)._asdict()
    return found | {"seconds": fitted - start, "predict_seconds": done - fitted}


def with_oracle(sequences: np.ndarray, table: Table, quality: float, seed: int) -> np.ndarray:
    """`[N, T, D + 1]`: an estimate of the target beside the features, in all steps.

    It is the target with normal errors that no model can foresee, as large as they are where the best linear use of the
    estimate has the R² `quality`.
    """
    noise = np.random.default_rng([seed, 1]).normal(size=len(table.targets))
    z = (table.targets - table.targets.mean()) / table.targets.std() + noise * np.sqrt(1 / quality - 1)
    there = np.arange(sequences.shape[1]) < table.lengths[:, None]
    return np.concatenate([sequences, (there * z[:, None])[..., None]], -1).astype(np.float32)


def compare(
    table: Table,
    models: dict[str, tuple],
    train: int,
    seeds: int,
    first_seed: int = 0,
    oracle: float | None = None,
    prior_rows: int = 0,
) -> dict:
    """Mean, spread and single values of each score of each model, over splits.

    `models` maps a name to a function of the seed that makes the model, and to the sequences that it sees. With
    `oracle`, each sees an estimate of the target as well, which has that R² by itself: another one in each split. With
    `prior_rows`, `Predictor` starts from a prior of so many rows of a split, which neither train nor test.
    """
    if oracle is not None and not 0 < oracle < 1:
        raise jnas.JnasError(f"--oracle {oracle} is no R² of an estimate: give one between 0 and 1.")
    results: dict[str, list[dict]] = {name: [] for name in models}
    for seed, rows in enumerate(splits(len(table.targets), train, seeds, first_seed), first_seed):
        prior = None
        if prior_rows:
            if len(rows[1]) < prior_rows + 2:
                raise jnas.JnasError(f"--prior-rows must be <= {len(rows[1]) - 2}, got {prior_rows}.")
            of_prior, rows = rows[1][:prior_rows], (rows[0], rows[1][prior_rows:])
            prior = Prior.fit(table.sequences[of_prior], table.lengths[of_prior], table.targets[of_prior], seed)
        for name, (make, sequences) in models.items():
            shown = sequences if oracle is None else with_oracle(sequences, table, oracle, seed)
            model = Predictor(seed, prior=prior) if prior is not None and make is Predictor else make(seed)
            found = evaluate(model, table, shown, *rows)
            results[name].append(found)
            print(
                f"seed {seed} {name}: R² {found['r2']:.3f}, tau {found['tau']:.3f}, {found['seconds']:.1f} s",
                flush=True,
            )
    return {name: summarised(runs) for name, runs in results.items()}


def summarised(runs: list[dict]) -> dict:
    """Each score's mean, with its standard deviation over runs and its single values beside it."""
    found: dict = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        found |= {key: float(np.mean(values)), f"{key}_std": float(np.std(values)), f"{key}_runs": values}
    return found


def reports(table: Table, sizes: list[int], seeds: int) -> dict:
    """Learning curves and 5-fold cross validation of the predictor."""
    rows = (table.sequences, table.lengths, table.targets, table.early if table.early.shape[1] else None)
    return {
        "learning_curve": learning_curve(Predictor, *rows, sizes=sizes, repeats=seeds),
        "cross_validation": cross_validate(Predictor, *rows, folds=5, repeats=1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="the CSV file")
    parser.add_argument("--target", help="the column to learn (default: val_acc, acc_20 or reward)")
    parser.add_argument("--against", help="the column to score against (default: test, where there is one)")
    parser.add_argument("--train", type=int, default=400, help="rows to train on")
    parser.add_argument("--epochs-seen", type=int, default=0, help="early epochs to see, columns acc_1, acc_2, ...")
    parser.add_argument("--seeds", type=int, default=10, help="splits, and seeds of the models")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--oracle",
        type=float,
        metavar="R2",
        help="what would better knowledge bring? Show an estimate of the target that has this R² (not to --curve)",
    )
    parser.add_argument("--prior-rows", type=int, default=0, metavar="P", help="train a prior on P rows of each split")
    parser.add_argument("--ablate", action="store_true", help="leave out one thing after the other, instead")
    parser.add_argument("--curve", type=int, nargs="+", help="learning curve of these sizes, and cross validation")
    parser.add_argument("--picture", help="draw predicted against measured on the first split to this file")
    parser.add_argument("--json", help="where to write everything")
    options = parser.parse_args()
    table = read(options.table, options.target, options.epochs_seen, options.against)
    if options.ablate:
        models = {
            name: (lambda seed, change=change: LSTMEnsemble(seed, EnsembleConfig(**change)), table.sequences)
            for name, change in ABLATIONS.items()
        }
        models["bits alone"] = (LSTMEnsemble, table.bits)
    else:
        models = {
            name: (MODELS[name], table.bits if name == "sophius_lstm" else table.sequences)
            for name in (options.models if options.train else [Predictor.name])
        }
    shown = options.oracle, options.prior_rows
    found = compare(table, models, options.train, options.seeds, options.first_seed, *shown)
    width = max(map(len, found))
    print(
        f"\n{options.train} rows train, {len(table.targets) - options.train} test; mean ± standard deviation of "
        f"{options.seeds} splits\n{'':{width}} {'R²':>14} {'tau':>14} {'Spearman':>14} {'seconds':>14}"
    )
    for name, row in found.items():
        cells = (f"{row[key]:.3f} ± {row[f'{key}_std']:.3f}" for key in ("r2", "tau", "spearman", "seconds"))
        print(f"{name:{width}} " + " ".join(f"{cell:>14}" for cell in cells))
    result = {"rows": len(table.targets), "table": table.notes, "models": found}
    if options.curve:
        result |= reports(table, options.curve, options.seeds)
    if options.picture:
        draw(table, options)
    report(result, options)


def draw(table: Table, options: argparse.Namespace) -> None:
    """Predicted against measured on the test rows of the first split."""
    ((train, test),) = splits(len(table.targets), options.train, 1, options.first_seed)
    early = (lambda which: table.early[which]) if table.early.shape[1] else (lambda which: None)
    model = Predictor(options.first_seed)
    model.fit(table.sequences[train], table.lengths[train], table.targets[train], early(train))
    mean, std = model.predict(table.sequences[test], table.lengths[test], early(test))
    jnas.plot_predictions(table.scored[test], mean, std, options.picture)


if __name__ == "__main__":
    run(main)
