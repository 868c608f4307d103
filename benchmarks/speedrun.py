"""Seconds from the start of Python to an accuracy on CIFAR-10, for one known chain.

    python benchmarks/speedrun.py --target 0.9 --data PATH.npz [--max-params 150000] [--seeds 3] [--json OUT.json]
        [--hash HASH] [--epochs N] [--all-images]

Each seed is a process of its own with an empty compilation cache, so everything counts: imports, reading, compiling,
training, measuring. Nine tenths of the training images train and a tenth measures the validation accuracy after each
epoch (the last one by the recipe's `views`); `seconds_to_target` is when it is first as high as the target, or null.
With `--all-images`, as for the chain of 0.94, all of them train, nothing is measured on other images before the end,
and the target is one of test accuracy: for chains, recipes and epochs that were chosen before on validation images.
The chain is that of `CHAINS` for the target and the limit of parameters, unless `--hash` names another.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from common import report, run

import jnas
from jnas.train import Recipe, Trainer, Trial, accuracy, trained_module

VAL_FRACTION = 0.1
NUM_MONITORED = 1_000
"""Training images whose accuracy is measured after each epoch where no others are left for that."""


@dataclasses.dataclass(frozen=True)
class Chain:
    """A chain that reaches a target: its hash, epochs, and what its recipe has other than `Recipe.fast`."""

    target: float
    hash: str
    epochs: int
    changes: dict[str, Any]
    all_images: bool = False
    """Whether the target is one of test accuracy, after training on all training images."""

    @property
    def template(self) -> jnas.Template:
        """The architecture, for 3x32x32 images and 10 classes."""
        return jnas.Template.from_hash(self.hash)


CHAINS = [
    Chain(
        0.90,  # conv32-pool-conv64-conv64-pool-conv128-conv128-pool-conv192-pool
        "00820422004890002000000000810422400000002000000000810422004890004000000020000000008044224000000020000000"
        "008044220048900040000000200000000080242240000000200000000043100001000000",
        7,
        {"batch_size": 128},
    ),
    Chain(
        0.94,  # conv32-conv64-pool-conv64-conv192-pool-conv192-conv192-pool-conv192-pool
        "00820821200000000081042200489000400000002000000000810422400000002000000000802422004890004000000020000000"
        "008024224000000020000000008024220048900040000000200000000080242240000000200000000045100001000000",
        22,
        {"batch_size": 256, "learning_rate": 0.014},
        all_images=True,
    ),
]


def choose_chain(target: float, max_params: int | None) -> Chain:
    """Returns the first chain of the table for a target under a limit of parameters.

    Raises:
      JnasError: if there is none.
    """
    for chain in CHAINS:
        if chain.target >= target and chain.template.cost.params <= (max_params or float("inf")):
            return chain
    raise jnas.JnasError(
        f"No chain of the table is for --target {target} and --max-params {max_params}: give a --hash."
    )


def train_once(chain: Chain, path: str, seed: int, start: float) -> dict[str, Any]:
    """Returns the accuracies of one training, and the seconds since `start` (of `time.time`) after each epoch."""
    data, all_images = jnas.load_data(path), chain.all_images
    if all_images:
        monitor = {"x_val": data.x_train[:NUM_MONITORED], "y_val": data.y_train[:NUM_MONITORED]}
        data = dataclasses.replace(data, **monitor)
    recipe = Recipe.fast(epochs=chain.epochs, val_fraction=VAL_FRACTION, **chain.changes)
    trainer = Trainer(chain.template, recipe, data.split(VAL_FRACTION))
    compile_seconds, seconds = trainer.compile(), []
    result = trainer.train([Trial(chain.template, seed=seed)], lambda _: seconds.append(time.time() - start))
    curve = [epoch.val_acc for epoch in result.history[0]]
    test_acc = accuracy(trained_module(result), data.x_test, data.y_test, recipe.views)
    measured, seconds = ([test_acc], [time.time() - start]) if all_images else (curve, seconds)
    reached = [at for at, acc in zip(seconds, measured, strict=True) if acc >= chain.target]
    return {
        "seed": seed,
        "seconds_to_target": reached[0] if reached else None,
        "seconds": seconds[-1],
        "compile_seconds": compile_seconds,
        "val_acc": None if all_images else curve[-1],
        "test_acc": test_acc,
        "curve": None if all_images else curve,
        "train_losses": [epoch.train_loss for epoch in result.history[0]],
    }


def in_new_process(chain: Chain, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Returns `train_once` from a new process that finds no compiled program.

    Raises:
      JnasError: if it fails.
    """
    start = time.time()
    words = [
        __file__,
        *sys.argv[1:],
        "--child",
        json.dumps([*dataclasses.astuple(chain), seed, start]),
    ]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise jnas.JnasError(f"The training of seed {seed} ended with {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--data", required=True, help=".npz file, or whatever jnas.load_data takes")
    parser.add_argument("--max-params", type=int)
    parser.add_argument("--hash")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--changes", type=json.loads, default={}, help="fields of the recipe as JSON")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--all-images", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        *fields, seed, start = json.loads(options.child)
        print(json.dumps(train_once(Chain(*fields), options.data, seed, start)))
        return
    target, hash = options.target, options.hash
    known = Chain(target, hash, 0, {}) if hash else choose_chain(target, options.max_params)
    all_images = known.all_images or options.all_images
    epochs = options.epochs or known.epochs or 8
    chain = Chain(target, known.hash, epochs, known.changes | options.changes, all_images)
    runs = []
    for seed in range(options.seeds):
        runs.append(in_new_process(chain, options, seed))
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    reached = [one["seconds_to_target"] for one in runs]
    measured = "test_acc" if all_images else "val_acc"
    values = [one[measured] for one in runs]
    figures = {
        "target": chain.target,
        "seconds_to_target": None if None in reached else statistics.fmean(reached),
        "seconds": statistics.fmean(one["seconds"] for one in runs),
        "val_acc": None if all_images else float(np.mean(values)),
        "test_acc": float(np.mean([one["test_acc"] for one in runs])),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "params": chain.template.cost.params,
        "macs": chain.template.cost.macs,
        "hash": chain.hash,
        "epochs": chain.epochs,
        "recipe": chain.changes,
        "runs": runs,
    }
    report(figures, options, tuple(figures)[:8])


if __name__ == "__main__":
    run(main)
