"""Algorithms on a table of categorical genes that holds every answer.

    python benchmarks/evolve.py --table FILE.csv --evaluations 100 --repeats 200 --algorithms all --json OUT.json

The table has the columns `gene_*`, `reward` (all that an algorithm sees; a query is one evaluation, asking again is
free) and `test` (by which the genome of the best reward is judged). All repeats of an algorithm are one vmapped
program; seconds include its compilation.
"""

from __future__ import annotations

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import report, run
from local_search import LocalSearch
from tabular import Table, run_on_table

from jnas.errors import JnasError
from jnas.evolve import (
    Categorical,
    GaussianProcess,
    GeneticAlgorithm,
    GuidedEvolution,
    RandomSearch,
    RegularizedEvolution,
)


def algorithms(space: Categorical, evaluations: int) -> dict[str, tuple]:
    """By name: the algorithm, and the random genomes that it starts from."""
    few = min(20, max(2, evaluations // 5))
    rows, capacity = 1 << max(evaluations - 1, 1).bit_length(), {"archive_capacity": 2 * evaluations}
    return {
        "random": (RandomSearch(space, batch_size=1, **capacity), 1),
        "regularized": (RegularizedEvolution(space, sample_size=10, **capacity), few),
        "local": (LocalSearch(space, **capacity), 1),
        "genetic": (GeneticAlgorithm(space, batch_size=1, stagnation_limit=None, **capacity), few),
        "jnas": (GuidedEvolution(space, GaussianProcess(), max_training_points=rows, **capacity), few),
    }


def measure(name: str, table: Table, evaluations: int, repeats: int, seed: int) -> dict:
    """One algorithm, all repeats."""
    algorithm, first = algorithms(table.space, evaluations)[name]
    scale = np.nanstd(table.reward) or 1.0
    reward = jnp.asarray((table.reward - np.nanmean(table.reward)) / scale, jnp.float32)
    one = functools.partial(
        run_on_table, algorithm, table.row_index, first=min(first, evaluations), evaluations=evaluations
    )
    keys = jax.random.split(jax.random.key(seed), repeats)
    start = time.perf_counter()
    runs = jax.block_until_ready(jax.jit(jax.vmap(one, (None, 0)))(reward, keys))
    seconds = time.perf_counter() - start
    best = np.asarray(runs.best)
    test, optimum = table.test[best], np.nanmax(table.reward)
    found = table.reward[best] >= optimum
    queries = np.where(found.any(1), found.argmax(1) + 1, np.nan)
    median = float(np.median(np.where(np.isnan(queries), np.inf, queries)))
    final = test[:, -1]
    return {
        "test_mean": float(final.mean()),
        "test_std": float(final.std()),
        "test_min": float(final.min()),
        "regret_mean": float((np.nanmax(table.test) - final).mean()),
        "reward_regret_mean": float((optimum - table.reward[best[:, -1]]).mean()),
        "optimum_share": float(found[:, -1].mean()),
        # None where more than half of the repeats did not find it.
        "queries_to_optimum_median": None if np.isinf(median) else median,
        "queries_mean": float(np.asarray(runs.queries).mean()),
        "test_mean_by_query": [round(float(value), 4) for value in test.mean(0)],
        "first": first,
        "seconds": round(seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--algorithms", default="all", help="all, or names with commas between them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    table = Table.read(arguments.table)
    rows = len(table.reward)
    if not 2 <= arguments.evaluations <= rows or arguments.repeats < 1:
        raise JnasError(
            f"--evaluations {arguments.evaluations} and --repeats {arguments.repeats} make no comparison: "
            f"give 2 to {rows} evaluations, which is all of the table, and a repeat."
        )
    known = list(algorithms(table.space, 2))
    names = known if arguments.algorithms == "all" else arguments.algorithms.split(",")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise JnasError(f"There is no algorithm {', '.join(unknown)}: choose among {', '.join(known)}.")
    best = int(np.nanargmax(table.reward))
    result = {
        "num_categories": table.space.num_categories,
        "test_best": float(np.nanmax(table.test)),
        "test_at_best_reward": float(table.test[best]),
        "algorithms": {},
    }
    for name in names:
        found = measure(name, table, arguments.evaluations, arguments.repeats, arguments.seed)
        result["algorithms"][name] = found
        print(
            f"{name:12} test {found['test_mean']:.4f} (sd {found['test_std']:.4f}), regret {found['regret_mean']:.4f}, "
            f"optimum found in {found['optimum_share']:.1%}, {found['seconds']} s",
            flush=True,
        )
    report(result, arguments, ("test_best", "test_at_best_reward"))


if __name__ == "__main__":
    run(main)
