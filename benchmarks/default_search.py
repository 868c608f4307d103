"""Seconds and accuracies of the command `python -m jnas.search` in an empty folder, from an empty compilation cache.

    python benchmarks/default_search.py --seeds 3 --json OUT.json [--picture OUT.png] [options of the search]

`seconds` is wall clock with the start of Python. Accuracies are the winner's after its final training: `val_acc` and
`test_acc` are the means over the repeats of that training; the test images are looked at once, for the winner. With
`--picture` the search of the first seed is drawn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from common import report, run
from record import searched

import jnas


def summary(runs: list[dict]) -> dict:
    """Returns mean and standard deviation over seeds of each figure."""
    values = {
        "seconds": [one["seconds"] for one in runs],
        "val_acc": [np.mean(one["winner_val_acc_final"]) for one in runs],
        "test_acc": [np.mean(one["winner_test_acc_final"]) for one in runs],
    }
    return {name: {"mean": float(np.mean(found)), "std": float(np.std(found))} for name, found in values.items()}


def draw(store: jnas.Store, path: str) -> None:
    """Draws the only search of a store."""
    (experiment,) = store.experiments_df().itertuples()
    jnas.plot_search(store.experiment_df(experiment.experiment_id), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture")
    parser.add_argument("--json")
    options, others = parser.parse_known_args()
    runs: list[dict] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="jnas-default-") as folder:
            runs.append({"seed": seed} | searched(Path(folder), ["--seed", str(seed), *others], target=1.0))
            if options.picture and not seed:
                draw(jnas.Store(Path(folder) / "jnas.duckdb"), options.picture)
        print(json.dumps({key: value for key, value in runs[-1].items() if key != "last_lines"}), flush=True)
        report({"summary": summary(runs), "runs": runs}, options)
    print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    run(main)
