"""What a search of some minutes ends with, beside hand-made networks and random search with the same time.

    python benchmarks/outcome.py --minutes 3 --seeds 5 [--data PATH] [--kinds search known random]
        [--json OUT.json] [--picture OUT.png] [options of the search]

Each search is a process of its own from an empty compilation cache; those of several seeds run one after the other.
`search` is `python -m jnas.search --minutes M`; `known` trains the networks that people build by hand for a few epochs,
and the best of them for all the time that is left; `random` is the same loop with random templates alone. `seconds` is
wall clock with the start of Python. `val_acc` is what the winner was chosen by, after its longer training; its test
images are looked at once. With `--picture` the first search is drawn. Searches that OUT.json has already, of the same
options, are not run again: hours of seeds may be run one at a time. Each says which commit and device it is of.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import commit, device, provenance, report, run

import jnas

KINDS = {
    "search": [],
    "known": ["--num-random", "0", "--generations", "0"],
    "random": ["--no-known-networks", "--num-random", "100000", "--generations", "0"],
}
"""Options of each kind of search."""
FIGURES = ("seconds", "val_acc", "test_acc", "params", "macs", "trials")


def searched(folder: Path, options: list[str]) -> dict[str, Any]:
    """Returns what a search ends with, in a new process from an empty compilation cache.

    Raises:
      JnasError: if it fails.
    """
    store, log = folder / "jnas.duckdb", folder / "log.txt"
    command = [sys.executable, "-m", "jnas.search", "--store", str(store), *options]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    start = time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    seconds = time.monotonic() - start
    lines = log.read_text().splitlines()
    if done.returncode:
        raise jnas.JnasError(f"The search ended with {done.returncode}: {' / '.join(lines[-3:])}")
    return {"seconds": seconds, **facts(jnas.Store(store))}


def facts(store: jnas.Store) -> dict[str, Any]:
    """Returns what a store says of its one search."""
    (search,) = store.experiments_df().itertuples()
    rows = store.experiment_df(search.experiment_id)
    good = rows[rows.status == "ok"]
    known = good[good.phase == "known"].val_acc_final
    finals = store.sql(
        "SELECT val_acc_final, test_acc_final, params, macs, list_count(list(epoch)) AS epochs FROM evaluations "
        "JOIN architectures USING (hash, in_shape, num_classes) "
        "JOIN epochs USING (hash, in_shape, num_classes, recipe_id, dataset_fingerprint, split_seed, seed) "
        "WHERE hash = ? AND recipe_id = ? AND status = 'ok' GROUP BY ALL",
        [search.winner_hash, search.final_recipe_id],
    )
    promoted = store.promotions(search.experiment_id)
    again = [
        {"phase": row.phase, "macs": int(row.macs), "short": row.val_acc_final, "longer": longer.val_acc_final}
        for row in good.itertuples()
        if (longer := promoted.get(row.hash))
    ]
    return {
        "val_acc": float(finals.val_acc_final.mean()),
        "test_acc": float(finals.test_acc_final.mean()),
        "params": int(finals.params[0]),
        "macs": int(finals.macs[0]),
        "epochs": int(finals.epochs[0]),
        "winner": search.winner_hash,
        "winner_phase": rows[rows.hash == search.winner_hash].phase.iloc[0],
        "trials": len(rows),
        "search_val_acc_best": float(good.val_acc_final.max()),
        "search_val_acc_known": None if known.empty else float(known.max()),
        "trained_again": again,
        "statuses": rows.status.value_counts().to_dict(),
    }


def earlier_runs(options: argparse.Namespace) -> list[dict]:
    """Returns what `options.json` has of an earlier call whose options differ in the number of seeds alone."""
    path = Path(options.json or "")
    if not path.is_file():
        return []
    found, seeds = json.loads(path.read_text()), {"seeds": None}
    same = found["arguments"] | seeds == provenance(options)["arguments"] | seeds
    return found["figures"]["runs"] if same else []


def summary(runs: list[dict]) -> dict[str, dict]:
    """Returns mean and standard deviation over seeds of each figure of each kind, and how often `search` is ahead."""
    result: dict[str, dict] = {}
    for kind in dict.fromkeys(kind for one in runs for kind in one if kind in KINDS):
        found = [one[kind] for one in runs if kind in one]
        result[kind] = {name: _mean_std([float(one[name]) for one in found]) for name in FIGURES}
        both = [one for one in runs if kind in one and "search" in one]
        if kind != "search" and both:
            gains = [one["search"]["test_acc"] - one[kind]["test_acc"] for one in both]
            result[kind] |= {"gain": _mean_std(gains), "search_ahead": sum(gain > 0 for gain in gains), "of": len(both)}
    return result


def _mean_std(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", help="what the search takes; by default the excerpt that comes with jnas")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--picture")
    parser.add_argument("--json")
    options, others = parser.parse_known_args()
    data = [] if options.data is None else ["--data", str(Path(options.data).absolute())]
    options.others = others
    earlier = {one["seed"]: one for one in earlier_runs(options)}
    runs: list[dict] = []
    for seed in range(options.seeds):
        runs.append(earlier.get(seed, {"seed": seed}))
        for kind in options.kinds:
            if kind in runs[-1]:
                continue
            words = ["--minutes", str(options.minutes), "--seed", str(seed), *data, *KINDS[kind], *others]
            with tempfile.TemporaryDirectory(prefix="jnas-outcome-") as folder:
                runs[-1][kind] = searched(Path(folder), words) | {"commit": commit(), "device": device()}
                if options.picture and kind == "search" and not seed:
                    store = jnas.Store(Path(folder) / "jnas.duckdb")
                    jnas.plot_search(store.experiment_df(store.experiments_df().experiment_id[0]), options.picture)
            print(json.dumps({"seed": seed, "kind": kind} | runs[-1][kind]), flush=True)
            report({"minutes": options.minutes, "summary": summary(runs), "runs": runs}, options)
    print(json.dumps(summary(runs), indent=1))


if __name__ == "__main__":
    run(main)
