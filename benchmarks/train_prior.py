"""Trains the prior that ships with jnas, on the table that does.

    python benchmarks/train_prior.py [--table data/table.csv.gz] [--out data/prior.npz] [--json OUT.json]

`python benchmarks/predictor.py --train 0` says how well it orders the rows of another table.
"""

from __future__ import annotations

import argparse
import time

from common import ROOT, report, run
from tables import read

from jnas.predict import Prior, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default=ROOT / "data" / "table.csv.gz", help="a CSV file with columns hash, val_acc")
    parser.add_argument("--out", default=ROOT / "data" / "prior.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    table, start = read(options.table, "val_acc"), time.perf_counter()
    prior = Prior.fit(table.sequences, table.lengths, table.targets, options.seed)
    seconds = time.perf_counter() - start
    prior.save(options.out)
    fitted = score(table.targets, prior.predict(table.sequences, table.lengths)[0])
    print(f"{len(table.targets)} templates, {seconds:.0f} s; on the same rows R² is {fitted.r2:.3f}")
    report({"rows": len(table.targets), "seconds": seconds, "r2_of_training": fitted.r2}, options, ("rows", "seconds"))


if __name__ == "__main__":
    run(main)
