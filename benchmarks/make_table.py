"""Trains random templates and writes the table of their accuracies, losses and costs that ships with jnas.

    python benchmarks/make_table.py --data PATH.npz --csv data/table.csv.gz [--templates 3000] [--minutes 170]

Two fifths of the templates are of each generator ("sophius", "modern"), a fifth are relatives of networks that people
build by hand ("relatives"), as evolution makes them; all have up to 6 M multiply-accumulates. They are trained by the
recipe `fast` for 4 epochs on the same 3,000 images of CIFAR-10, and measured on the same 4,000 others as they are,
before the last epoch on some 2,000 of them; test images are not looked at. Every tenth template is trained under two
more seeds, so that the noise of an accuracy is known. The file is written every few minutes, and what it has is not
trained again: kill it whenever you like, and say the same again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
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
CHUNK = 120
"""Trainings between two writes of the file."""
RETRIED = ("out_of_memory", "timeout", "too_large", "stopped", "error")
"""Statuses that are of this machine, not of the template: such a training has no line."""


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


def trials(count: int) -> list[tuple[str, Trial]]:
    """Returns the trainings of so many templates with their sources; the first are the same for each number."""
    found: dict[str, tuple[str, jnas.Template]] = {}
    size = 1000
    for batch in range(-(-count // (2 * size))):
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
        for number, (source, template) in enumerate(list(found.values())[:count])
        for seed in (SEEDS_OF_TENTH if number % 10 == 0 else SEEDS_OF_TENTH[:1])
    ]


def lines(rows: list[jnas.store.Evaluation], sources: dict[str, str]) -> pd.DataFrame:
    """Returns a line of the table for each training, see `jnas.load_table`."""
    return pd.DataFrame(
        {
            "hash": row.key.hash,
            "source": sources[row.key.hash],
            "seed": row.key.seed,
            "status": row.status,
            **{name: getattr(row, name) for name in ("params", "macs", "flops")},
            "val_acc": row.val_acc_final,
            **{
                f"{column}_{number}": round(getattr(epoch, name), 5)
                for column, name in (("acc", "val_acc"), ("train_acc", "train_acc"), ("train_loss", "train_loss"))
                for number, epoch in enumerate(row.epochs, 1)
            },
        }
        for row in rows
        if row.status not in RETRIED
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--csv", required=True, type=Path, help="the table; one ending in .gz is compressed")
    parser.add_argument("--templates", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many")
    parser.add_argument("--workers", help="where to train, as `jnas evaluate --workers`")
    parser.add_argument("--json")
    options = parser.parse_args()
    start, data = time.monotonic(), images(options.data)
    recipe = Recipe.fast(epochs=EPOCHS, test_flip=False, test_shift=0)
    planned = trials(options.templates)
    sources = {trial.template.hash: source for source, trial in planned}
    table = pd.read_csv(options.csv, dtype={"hash": str}) if options.csv.exists() else pd.DataFrame()
    there = set(zip(table.hash, table.seed, strict=True)) if len(table) else set()
    left = [trial for _, trial in planned if (trial.template.hash, trial.seed) not in there]
    while left and time.monotonic() - start < 60 * options.minutes:
        chunk, left = left[:CHUNK], left[CHUNK:]
        engine = EngineOptions(compile_timeout=120, workers=options.workers)
        rows = jnas.evaluate(chunk, data, recipe, progress=False, options=engine)
        table = pd.concat([table, lines(rows, sources)], ignore_index=True)
        part = options.csv.with_name(f"part-{options.csv.name}")  # with its ending, which says how it is compressed
        table.to_csv(part, index=False)
        part.replace(options.csv)
        minutes, mean = (time.monotonic() - start) / 60, table.val_acc[-len(rows) :].mean()
        seconds = [sum(getattr(row, name) for row in rows) / len(rows) for name in ("compile_seconds", "train_seconds")]
        print(
            f"{minutes:.1f} min: {len(table):,} lines; of the last {len(rows)} the mean is {mean:.3f}, "
            f"{seconds[0]:.1f} s of compiling and {seconds[1]:.1f} s of training",
            flush=True,
        )
    report({"lines": len(table), "left": len(left)}, options, ("lines", "left"))


if __name__ == "__main__":
    run(main)
