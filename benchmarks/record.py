"""Seconds of a search to an accuracy, its winner, and random search for as many minutes.

    python benchmarks/record.py --minutes 45 --json OUT.json --picture OUT.png [options of the search]

Runs `python -m jnas.search --preset record` in a folder of its own, from an empty compilation cache, and the same with
random templates alone, all trained to the end: so it lacks what screens, evolves and stops early. Times are those at
which rows were written; `seconds_to_target` is that of the first validation accuracy of `--target`. Validation images
choose; test images are looked at once, for each winner.
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
from common import report, run

import jnas

SMALL = 500_000
"""Parameters under which an architecture counts as small."""


def searched(folder: Path, arguments: list[str], target: float) -> dict:
    """Returns what a search does in a new process, from an empty compilation cache, by its store.

    Raises:
      JnasError: if the search fails.
    """
    store, log = folder / "jnas.duckdb", folder / "log.txt"
    command = [sys.executable, "-m", "jnas.search", "--store", str(store), *arguments]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    start, clock = time.time(), time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    seconds = time.monotonic() - clock
    lines = log.read_text().splitlines()
    if done.returncode:
        raise jnas.JnasError(f"The search ended with {done.returncode}: {' / '.join(lines[-3:])}")
    return {"seconds": seconds, "last_lines": lines[-60:], **facts(jnas.Store(store), start, target)}


def facts(store: jnas.Store, start: float, target: float) -> dict:
    """Returns what a store says of its one search, which began at `start` (seconds since 1970)."""
    (search,) = store.experiments_df().itertuples()
    rows = store.sql(
        "SELECT hash, status, params, macs, val_acc_final, test_acc_final, compile_seconds, train_seconds, "
        "recipe_id = ? AS short, epoch(finished_at) AS at FROM evaluations "
        "JOIN architectures USING (hash, in_shape, num_classes) ORDER BY finished_at",
        [search.recipe_id],
    )
    rows["at"] -= start
    short = rows[rows.short & (rows.status == "ok")]
    final = rows[~rows.short & (rows.hash == search.winner_hash) & (rows.status == "ok")]
    reached = rows[(rows.status == "ok") & (rows.val_acc_final >= target)]
    small = short[(short.params < SMALL)].val_acc_final
    best = short.val_acc_final.cummax()
    rising = best > best.shift(fill_value=-1)
    return {
        "seconds_to_target": None if reached.empty else float(reached["at"].iloc[0]),
        "val_acc_final_best": float(short.val_acc_final.max()),
        "val_acc_final_best_small": None if small.empty else float(small.max()),
        "winner": search.winner_hash,
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
    """Draws the best validation accuracy so far against minutes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, one in found.items():
        seconds, best = np.array(one["curve"]).T
        axes.step([*seconds / 60, one["seconds"] / 60], [*best, best[-1]], where="post", label=name)
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
    random = ["--num-random", str(options.most), "--num-screened", "0", "--generations", "0"]
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory(prefix="jnas-record-") as name:
        for kind, more in {"full": [], "random": random}.items():
            if options.only in (None, kind):
                folder = Path(name) / kind
                folder.mkdir()
                arguments = ["--preset", "record", "--minutes", str(options.minutes), *others, *more]
                found[kind] = searched(folder, arguments, options.target)
                report(found, options)
                brief = {key: value for key, value in found[kind].items() if key not in ("last_lines", "curve")}
                print(json.dumps({kind: brief}, indent=1), flush=True)
    if options.picture:
        draw(found, options.target, options.picture)


if __name__ == "__main__":
    run(main)
