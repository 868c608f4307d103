"""How long the search takes to an accuracy, how good its winner is, and random search for as many minutes.

    python benchmarks/record.py --minutes 45 --json OUT.json --picture OUT.png [options of the search]

Runs `python -m jnas.search --preset record` in a folder of its own, from a cold start (an empty compilation cache), and
the same with random templates alone, all trained to the end: so it lacks what filters, evolves and stops early. Times
are those at which rows were written; `seconds_to_target` is that of the first validation accuracy of .90. Validation
images choose, test images are looked at once, for each winner.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import about, run_program

import jnas

SMALL = 500_000
"""Parameters under which an architecture counts as small."""


def searched(folder: Path, minutes: float, target: float, options: list[str]) -> dict:
    """A search in a new process, by its store."""
    store, log = folder / "jnas.duckdb", folder / "log.txt"
    command = [sys.executable, "-m", "jnas.search", "--preset", "record", "--store", str(store)]
    command += ["--max-minutes", str(minutes), *options]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    begun, clock = time.time(), time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    seconds = time.monotonic() - clock
    told = log.read_text().splitlines()
    if done.returncode:
        raise jnas.JnasError(f"The search ended with {done.returncode}: {' / '.join(told[-3:])}")
    return {"seconds": seconds, "last_lines": told[-60:], **facts(jnas.Store(store), begun, target)}


def facts(store: jnas.Store, begun: float, target: float) -> dict:
    """What a store says of its one search, which began at `begun` (seconds since 1970)."""
    (search,) = store.experiments_df().itertuples()
    rows = store.sql(
        "SELECT hash, status, params, macs, val_acc_final, test_acc_final, compile_seconds, train_seconds, "
        "recipe = ? AS short, epoch(finished) AS at FROM evaluations "
        "JOIN architectures USING (hash, in_shape, classes) ORDER BY finished",
        [search.recipe],
    )
    rows["at"] -= begun
    short = rows[rows.short & (rows.status == "ok")]
    final = rows[~rows.short & (rows.hash == search.winner) & (rows.status == "ok")]
    there = rows[(rows.status == "ok") & (rows.val_acc_final >= target)]
    small = short[(short.params < SMALL)].val_acc_final
    best = short.val_acc_final.cummax()
    rising = best > best.shift(fill_value=-1)
    return {
        "seconds_to_target": None if there.empty else float(there["at"].iloc[0]),
        "val_acc_final_best": float(short.val_acc_final.max()),
        "val_acc_final_best_small": None if small.empty else float(small.max()),
        "winner": search.winner,
        "winner_params": final.params.tolist()[:1],
        "winner_macs": final.macs.tolist()[:1],
        "winner_val_acc_final": final.val_acc_final.tolist(),
        "winner_test_acc_final": final.test_acc_final.tolist(),
        "statuses": rows[rows.short].status.value_counts().to_dict(),
        "train_seconds": float(rows.train_seconds.sum()),
        "compile_seconds": float(rows.compile_seconds.sum()),
        "share_compiling": float(rows.compile_seconds.sum() / (rows.compile_seconds + rows.train_seconds).sum()),
        "curve": list(zip(short["at"][rising].round(1).tolist(), best[rising].tolist(), strict=True)),
    }


def draw(found: dict[str, dict], target: float, path: str) -> None:
    """The best validation accuracy so far against minutes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, run in found.items():
        seconds, best = np.array(run["curve"]).T
        axes.step([*seconds / 60, run["seconds"] / 60], [*best, best[-1]], where="post", label=name)
    axes.axhline(target, color="0.7", linewidth=0.8)
    axes.set(xlabel="minutes since the start", ylabel="best validation accuracy so far (last epoch)")
    axes.set(xlim=(0, None), title="Search and random search, until their winners are trained")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--target", type=float, default=0.90, help="the validation accuracy to be reached")
    parser.add_argument(
        "--most", type=int, default=2000, help="templates of the random search: more than the minutes allow for"
    )
    parser.add_argument("--only", choices=["full", "random"], help="one of the two searches")
    parser.add_argument("--json")
    parser.add_argument("--picture")
    options, others = parser.parse_known_args()
    random = ["--random", str(options.most), "--filtered", "0", "--generations", "0"]
    found = {}
    with tempfile.TemporaryDirectory(prefix="jnas-record-") as folder:
        for name, more in {"full": [], "random": random}.items():
            if options.only in (None, name):
                place = Path(folder) / name
                place.mkdir()
                found[name] = searched(place, options.minutes, options.target, [*others, *more])
                if options.json:
                    result = {"about": about() | vars(options) | {"options": others}, **found}
                    Path(options.json).write_text(json.dumps(result, indent=1))
                brief = {key: value for key, value in found[name].items() if key not in ("last_lines", "curve")}
                print(json.dumps({name: brief}, indent=1), flush=True)
    if options.picture:
        draw(found, options.target, options.picture)


if __name__ == "__main__":
    run_program(main)
