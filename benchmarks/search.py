"""Wins and gains of the search over random search, with equal budgets of real training on the embedded images.

    python benchmarks/search.py --seeds 10 --json OUT.json

For each seed, both train as many templates for as many epochs, on the same split; the random search trains the first
templates of the full one (their rows are shared, so they are trained once), and goes on at random. Compared are the
winners: by the validation accuracy after the last epoch that each search chose it by, and by the test accuracy of its
longer training, the mean of three seeds, which chose nothing. Ties count for neither.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np
from common import report, run

import jnas


def searched(kind: str, seed: int, store: str, arguments: argparse.Namespace) -> dict:
    """Returns what one search found, by its winner."""
    evolved = arguments.generations * arguments.trials_per_generation
    names = ("num_random", "num_screened", "generations", "trials_per_generation", "epochs", "final_epochs", "max_macs")
    settings = {name: getattr(arguments, name) for name in names}
    settings |= {"pool_size": arguments.pool_size, "population_size": arguments.pool_size}
    if kind == "random":
        num_random = arguments.num_random + arguments.num_screened + evolved
        settings |= {"num_random": num_random, "num_screened": 0, "generations": 0}
    start = time.perf_counter()
    result = jnas.search("excerpt", store=store, seed=seed, verbose=False, **settings)
    rows = result.to_df()
    generations = result.store.sql(
        "SELECT * FROM generations WHERE experiment_id = ? ORDER BY generation", [result.experiment]
    )
    return {
        "trained": len(rows),
        "val_acc_final": result.best.evaluation.val_acc_final,
        "test_acc_final": float(np.mean([row.test_acc_final for row in result.best.finals])),
        "mean_of_best_5": float(rows.val_acc_final.nlargest(5).mean()),
        "phase_of_best": result.best.phase,
        "generations": json.loads(generations.drop(columns="experiment_id").to_json(orient="records")),
        "seconds": time.perf_counter() - start,
    }


def summary(runs: list[dict]) -> dict:
    """Returns who won how often, and by how much."""
    result = {"seeds": len(runs)}
    for name in ("val_acc_final", "test_acc_final", "mean_of_best_5"):
        gain = np.array([run["full"][name] - run["random"][name] for run in runs])
        result[name] = {
            "full_mean": float(np.mean([run["full"][name] for run in runs])),
            "random_mean": float(np.mean([run["random"][name] for run in runs])),
            "wins": int((gain > 0).sum()),
            "losses": int((gain < 0).sum()),
            "gain_mean": float(gain.mean()),
            "gain_std": float(gain.std()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--num-random", type=int, default=12)
    parser.add_argument("--num-screened", type=int, default=4)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--trials-per-generation", type=int, default=3)
    parser.add_argument("--pool-size", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--final-epochs", type=int, default=12)
    parser.add_argument("--max-macs", type=int, default=300_000)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            store = str(pathlib.Path(folder) / f"{seed}.duckdb")
            runs.append({"seed": seed} | {kind: searched(kind, seed, store, arguments) for kind in ("full", "random")})
            line = {
                name: {k: runs[-1][kind][k] for k in ("val_acc_final", "test_acc_final")}
                for name, kind in (("full", "full"), ("random", "random"))
            }
            print(
                f"seed {seed}: {line}, {runs[-1]['full']['seconds'] + runs[-1]['random']['seconds']:.0f} s", flush=True
            )
            report({"summary": summary(runs), "runs": runs}, arguments)
    print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    run(main)
