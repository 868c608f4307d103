"""Trains random templates and writes the table of their accuracies, losses and costs that ships with jnas.

    python benchmarks/make_table.py --data PATH.npz --store table.duckdb
        [--rows 3300] [--minutes 170] [--csv data/chains.csv.gz]

Half of the templates are of each generator ("sophius", "modern"), up to 10 M multiply-accumulates. All are trained by
the recipe `fast` for 4 epochs on the same 4,000 images of CIFAR-10, and measured on the same 3,000 others; test images
are not looked at. Every tenth template is trained under two more seeds, so that the noise of an accuracy is known. Rows
that the store has are not trained again: kill it whenever you like, and say the same again to go on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from common import report, run

import jnas
from jnas.train import EngineOptions, Recipe, Trial

IMAGES, VAL_IMAGES, EPOCHS, MAX_MACS = 4000, 3000, 4, 10_000_000
SEEDS_OF_TENTH = (0, 1, 2)
CHUNK = 20
"""Templates of one call of `evaluate`: what is lost of a search for time is at most these."""


def images(path: str) -> jnas.Dataset:
    """Returns the table's images: the first ones of the training images, in a fixed random order."""
    data = jnas.load_data(path)
    order = np.random.default_rng(0).permutation(len(data.x_train))[: IMAGES + VAL_IMAGES]
    train, val = order[:IMAGES], order[IMAGES:]
    return jnas.load_data(
        {
            **{"x_train": data.x_train[train], "y_train": data.y_train[train]},
            **{"x_val": data.x_train[val], "y_val": data.y_train[val]},
        }
    )


def trials(rows: int) -> list[Trial]:
    """Returns the table's trainings, both generators in turns; the first ones are the same for each number of rows."""
    batches, size = [], 1000
    for first in range(0, rows, 2 * size):
        both = []
        for style in ("sophius", "modern"):
            space = jnas.Space(style=style, max_macs=MAX_MACS)
            genomes = np.asarray(space.sample_valid(jax.random.key(first), size))
            both.append([space.template(genome) for genome in genomes])
        batches += [template for pair in zip(*both, strict=True) for template in pair]
    templates = list({template.hash: template for template in batches}.values())[:rows]
    return [
        Trial(template, seed)
        for number, template in enumerate(templates)
        for seed in (SEEDS_OF_TENTH if number % 10 == 0 else SEEDS_OF_TENTH[:1])
    ]


def write_csv(store: jnas.Store, path: Path) -> int:
    """Writes a line for each training of the store that ended; returns how many."""
    rows = store.sql(
        "SELECT hash, seed, status, params, macs, flops, val_acc_final, "
        "list(round(val_acc, 5) ORDER BY epoch) AS val_acc, list(round(train_acc, 5) ORDER BY epoch) AS train_acc, "
        "list(round(train_loss, 4) ORDER BY epoch) AS train_loss "
        "FROM evaluations JOIN architectures USING (hash, in_shape, num_classes) "
        "JOIN epochs USING (hash, in_shape, num_classes, recipe_id, dataset_fingerprint, split_seed, seed) "
        "WHERE status IN ('ok', 'nan') GROUP BY ALL ORDER BY hash, seed"
    )
    for name in ("val_acc", "train_acc", "train_loss"):
        rows[name] = [" ".join(map(str, values)) for values in rows[name]]
    rows.to_csv(path, index=False)
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--rows", type=int, default=3300, help="templates")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many")
    parser.add_argument("--csv", type=Path, help="write the table here at the end")
    parser.add_argument("--json")
    options = parser.parse_args()
    start, recipe, data, store = (
        time.monotonic(),
        Recipe.fast(epochs=EPOCHS, test_flip=False),
        images(options.data),
        jnas.Store(options.store),
    )
    left = trials(options.rows)
    done = 0
    while left and time.monotonic() - start < 60 * options.minutes:
        chunk, left = left[:CHUNK], left[CHUNK:]
        rows = jnas.evaluate(
            chunk, data, recipe, store=store, progress=False, options=EngineOptions(compile_timeout=120)
        )
        done += len(rows)
        accuracies = [row.val_acc_final for row in rows if row.val_acc_final is not None]
        mean = sum(accuracies) / max(len(accuracies), 1)
        print(f"{(time.monotonic() - start) / 60:.1f} min: {done:,} rows, these {mean:.3f} on average", flush=True)
    count = write_csv(store, options.csv) if options.csv else None
    report({"rows": done, "left": len(left), "lines": count}, options, ("rows", "left", "lines"))


if __name__ == "__main__":
    run(main)
