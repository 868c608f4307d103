"""Gains in validation accuracy of each ingredient of a recipe: trained with it and without it.

    python benchmarks/recipe.py --data PATH.npz --seeds 5 --json OUT.json [--hashes FILE.csv --limit N]
        [--recipe fast]

Each line is the recipe of `--recipe` (by default `standard`) with one thing changed, on the same images. Gains are over
the unchanged recipe (the first line), training by training: one training a seed of a template with two convolutions
(1.4 M MACs, 30,000 parameters), or, with FILE, of its first N templates with each seed. What `--base` names is changed
in all lines. `val_acc` is the validation accuracy after the last epoch. Test images are not looked at.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import read_templates, report, run

import jnas
from jnas.data import Dataset, load_data
from jnas.space import _layers as lt
from jnas.train import RECIPES, Trial

TEMPLATE = [
    *(lt.Conv2d(32, 3, 2, True), lt.ReLU(), lt.MaxPool2d(2, 2, False), lt.BatchNorm2d()),
    *(lt.Conv2d(64, 3, 1, True), lt.ReLU(), lt.MaxPool2d(2, 2, False), lt.BatchNorm2d()),
    *(lt.Flatten(), lt.Linear(10)),
]
CHANGES = {
    "no label smoothing": {"label_smoothing": 0.0},
    "label smoothing 0.2": {"label_smoothing": 0.2},
    "no flips": {"flip": False},
    "flips by chance": {"alternating_flip": False},
    "alternating flips": {"alternating_flip": True},
    "no shifts": {"shift": 0},
    "shifts of 4 pixels": {"shift": 4},
    "cut-out of 8 pixels": {"cut_out": 8},
    "cut-out of 12 pixels": {"cut_out": 12},
    "constant learning rate": {"schedule": "constant"},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "learning rate 5e-3": {"learning_rate": 5e-3},
    "learning rate 1e-2": {"learning_rate": 1e-2},
    "weight decay 0.1": {"weight_decay": 0.1},
    "Nesterov SGD, rate 0.05": {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 5e-4},
    "Nesterov SGD, rate 0.2": {"optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 5e-4},
    "flips when testing": {"test_flip": True},
    "no flips when testing": {"test_flip": False},
    "bfloat16": {"precision": "bfloat16"},
    "Muon, rate 1e-2": {"optimizer": "muon", "learning_rate": 1e-2},
    "AdamW, rate 1e-2": {"optimizer": "adamw", "learning_rate": 1e-2},
    "whitened first patches": {"whiten": True},
    "no whitened first patches": {"whiten": False},
    "identity at the start": {"init": "dirac"},
    "no identity at the start": {"init": "default"},
    "moved images when testing": {"test_shift": 1},
    "no moved images when testing": {"test_shift": 0},
    "no rate of their own for biases": {"norm_bias_rate": 1.0},
    "one cycle": {"schedule": "one_cycle"},
    "batches of 128": {"batch_size": 128},
    "batches of 64": {"batch_size": 64},
    "batches of 256": {"batch_size": 256},
    "learning rate 2e-2": {"learning_rate": 2e-2},
}


def images(path: str, train: int, validation: int) -> Dataset:
    """The first images of the training set; nothing of the test set."""
    data = load_data(path)
    count = train + validation
    if count > len(data.x_train):
        raise jnas.JnasError(f"{count} images are asked for, and {data.name} has {len(data.x_train)}: ask for fewer.")
    return load_data({"x_train": data.x_train[:count], "y_train": data.y_train[:count]})


def merged(names: list[str]) -> dict:
    """Several changes as one."""
    return {key: value for name in names for key, value in CHANGES[name].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", choices=list(RECIPES), default="standard")
    parser.add_argument("--hashes")
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--images", type=int, default=10_000, help="to train on")
    parser.add_argument("--validation", type=int, default=10_000, help="images to validate on")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--base", nargs="+", choices=list(CHANGES), default=[], help="the first line has all of these")
    parser.add_argument("--together", nargs="+", choices=list(CHANGES), help="all of these at once, as a last line")
    parser.add_argument("--json")
    options = parser.parse_args()
    data = images(options.data, options.images, options.validation)
    templates = [jnas.Template(TEMPLATE, data.in_shape)]
    if options.hashes:
        templates = read_templates(options.hashes, options.limit)
    trials = [Trial(template, seed) for template in templates for seed in range(options.seeds)]
    share = options.validation / (options.images + options.validation)
    changes: dict[str, dict] = {options.recipe: {}} | {name: CHANGES[name] for name in options.only}
    if options.together:
        changes["together"] = merged(options.together)
    found: dict[str, dict] = {}
    width = max(map(len, changes))
    for name, change in changes.items():
        start = time.perf_counter()
        recipe = RECIPES[options.recipe](epochs=options.epochs, val_fraction=share, **merged(options.base) | change)
        rows = jnas.evaluate(trials, data, recipe, progress=False)
        accuracies = np.array([row.epochs[-1].val_acc for row in rows])
        gains = accuracies - np.array(found[options.recipe]["val_acc"]) if found else np.zeros(len(rows))
        found[name] = {
            "val_acc": accuracies.tolist(),
            "val_acc_mean": float(accuracies.mean()),
            "val_acc_std": float(accuracies.std()),
            "gain_mean": float(gains.mean()),
            "gain_std": float(gains.std()),
            "train_acc_mean": float(np.mean([row.epochs[-1].train_acc for row in rows])),
            "seconds": time.perf_counter() - start,
        }
        print(
            f"{name:{width}} {accuracies.mean():.4f} ± {accuracies.std():.4f}, gain {gains.mean():+.4f} ± "
            f"{gains.std():.4f}, {found[name]['seconds']:.0f} s",
            flush=True,
        )
        report({"trials": len(trials), "recipes": found}, options)


if __name__ == "__main__":
    run(main)
