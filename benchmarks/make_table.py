"""Trains random templates and writes the table of their accuracies, losses and costs that ships with jnas.

    python benchmarks/make_table.py --data PATH.npz --store table.duckdb
        [--rows 3300] [--minutes 170] [--csv data/table.csv.gz]

Two fifths of the templates are of each generator ("sophius", "modern"), a fifth are relatives of networks that people
build by hand ("relatives"), as evolution makes them; all have up to 6 M multiply-accumulates. They are trained by the
recipe `fast` for 4 epochs on the same 3,000 images of CIFAR-10, and measured on the same 4,000 others; test images are
not looked at. Every tenth template is trained under two more seeds, so that the noise of an accuracy is known. Rows
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
from jnas.space import Candidate, known_networks
from jnas.train import EngineOptions, Recipe, Trial

IMAGES, VAL_IMAGES, EPOCHS, MAX_MACS = 3000, 4000, 4, 6_000_000
SOURCES = ("sophius", "modern", "relatives", "modern", "sophius")
"""Where templates come from, in turns."""
MAX_MUTATIONS = 4
"""Of a relative; each is one change or two."""
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


def relatives(space: jnas.Space, key: jax.Array, count: int) -> np.ndarray:
    """Returns genomes of valid templates that some mutations, and now and then a crossover, make of known networks."""
    known = [Candidate.from_template(template, space).genome for template in known_networks(space)]
    first, second, cross, changes, mutation = jax.random.split(key, 5)
    size = 4 * count
    ones, others = (np.stack(known)[np.asarray(jax.random.randint(k, (size,), 0, len(known)))] for k in (first, second))
    children = jax.vmap(space.crossover)(jax.random.split(cross, size), ones, others)
    children = np.where((np.arange(size) % 3 == 0)[:, None, None], np.asarray(children), ones)
    counts = np.asarray(jax.random.randint(changes, (size,), 1, MAX_MUTATIONS + 1))
    for index in range(MAX_MUTATIONS):
        keys = jax.random.split(jax.random.fold_in(mutation, index), size)
        mutated = space.repair(jax.vmap(space.mutate, (0, 0, None))(keys, children, 1.5))
        children = np.where((index < counts)[:, None, None], np.asarray(mutated), children)
    return children[np.asarray(space.valid(children))][:count]


def trials(rows: int) -> list[tuple[str, Trial]]:
    """Returns the table's trainings with their sources; the first ones are the same for each number of rows."""
    found: dict[str, tuple[str, jnas.Template]] = {}
    size = 1000
    for batch in range(-(-rows // (2 * size))):
        pools = {}
        for number, source in enumerate(("sophius", "modern", "relatives")):
            space = jnas.Space(style="sophius" if source == "sophius" else "modern", max_macs=MAX_MACS)
            key = jax.random.key(3 * batch + number)
            genomes = relatives(space, key, size) if source == "relatives" else space.sample_valid(key, size)
            pools[source] = iter([space.template(genome) for genome in np.asarray(genomes)])
        for turn in range(2 * size):
            source = SOURCES[turn % len(SOURCES)]
            template = next(pools[source], None)
            if template is not None:
                found.setdefault(template.hash, (source, template))
    return [
        (source, Trial(template, seed))
        for number, (source, template) in enumerate(list(found.values())[:rows])
        for seed in (SEEDS_OF_TENTH if number % 10 == 0 else SEEDS_OF_TENTH[:1])
    ]


def write_csv(store: jnas.Store, path: Path, sources: dict[str, str]) -> int:
    """Writes a line for each training of the store that ended, with its hash's source; returns how many."""
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
    rows.insert(1, "source", [sources[hash] for hash in rows.hash])
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
        Recipe.fast(epochs=EPOCHS),
        images(options.data),
        jnas.Store(options.store),
    )
    planned = trials(options.rows)
    left, done = [trial for _, trial in planned], 0
    while left and time.monotonic() - start < 60 * options.minutes:
        chunk, left = left[:CHUNK], left[CHUNK:]
        rows = jnas.evaluate(
            chunk, data, recipe, store=store, progress=False, options=EngineOptions(compile_timeout=120)
        )
        done += len(rows)
        accuracies = [row.val_acc_final for row in rows if row.val_acc_final is not None]
        mean = sum(accuracies) / max(len(accuracies), 1)
        print(f"{(time.monotonic() - start) / 60:.1f} min: {done:,} rows, these {mean:.3f} on average", flush=True)
    sources = {trial.template.hash: source for source, trial in planned}
    count = write_csv(store, options.csv, sources) if options.csv else None
    report({"rows": done, "left": len(left), "lines": count}, options, ("rows", "left", "lines"))


if __name__ == "__main__":
    run(main)
