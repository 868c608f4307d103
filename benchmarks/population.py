"""A population trained by jnas and, in the same run, by a plain PyTorch loop: seconds and accuracies.

    python benchmarks/population.py --hashes FILE.csv --limit N --epochs E --images M --data PATH.npz --peer torch
        --json OUT.json [--policy exact|folded|envelope|auto] [--precision float32|bfloat16] [--peer-seeds K]

FILE has a column `hash` (3x32x32 images, 10 classes). Both train the same templates under the recipe `sophius` on the
same M images in the same batches, and measure validation accuracy after each epoch, on up to 5,000 other training
images.

jnas runs twice: cold, with an empty compilation cache, and warm, with the programs of the cold run. `seconds` is the
cold run's wall clock, compiling included; `compile_seconds` are those of all compiling threads together, most of them
hidden behind training; `train_seconds` is the warm run's training, when nothing else needs the processors. PyTorch runs
between the two, with channels-last memory, in a process of its own, as in one process either would be left the memory
that the other had cut to pieces. `ratio_total` and `ratio_train` are PyTorch's seconds over jnas'. With `--cold-only`
there is no warm run, and `train_seconds` are the cold run's.
With `--peer-seeds 2` PyTorch trains all once more under another seed, and Spearman correlations say how far jnas
agrees with PyTorch, and PyTorch with itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from common import HASHES, about, read_templates, report, run_program
from scipy.stats import spearmanr

import jnas
from jnas.data import Dataset
from jnas.nn._signature import POLICIES
from jnas.train import Recipe, Watch

VALIDATION = 5_000


def take(data: Dataset, images: int) -> tuple[Dataset, float]:
    """A data set of `images` training images and up to `VALIDATION` more, and the share of the latter."""
    held = min(VALIDATION, len(data.x_train) - images)
    if held < 1:
        raise SystemExit(f"--images {images} leaves none of the {len(data.x_train)} for validation: give fewer.")
    chosen = np.random.default_rng(0).permutation(len(data.x_train))[: images + held]
    part = Dataset(data.name, data.x_train[chosen], data.y_train[chosen], data.x_test, data.y_test, data.classes)
    return part, held / (images + held)


def train_jnas(templates, data, recipe, options) -> dict:
    """One run of the whole population."""
    watch = Watch()
    rows = jnas.evaluate(templates, data, recipe, policy=options.policy, progress=False, watch=watch)
    seconds = watch.seconds
    return {
        "seconds": seconds,
        "compile_seconds": watch.compiling,
        "waiting_seconds": watch.waiting,
        "train_seconds": sum(row.train_seconds for row in rows),
        "each_train_seconds": [row.train_seconds for row in rows],
        "programs": watch.programs,
        "reports": [dataclasses.asdict(one) for one in watch.reports],
        "val_acc": [row.val_acc_final for row in rows],
        "status": [row.status for row in rows],
    }


def train_torch(hashes, data, recipe, seed) -> dict:
    """The same population by the peer."""
    from torch_peer import TorchTrainer

    split = data.split(recipe.validation)
    start = time.perf_counter()
    training, accuracies = [], []
    for hash in hashes:
        trainer = TorchTrainer(jnas.Template.from_hash(hash), recipe, split, seed)
        begun = time.perf_counter()
        accuracies.append(trainer.train()[-1])
        training.append(time.perf_counter() - begun)
        print(f"PyTorch, {len(training)}: {training[-1]:.2f} s", flush=True)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "compile_seconds": 0.0,
        "train_seconds": sum(training),
        "each_train_seconds": training,
        "val_acc": accuracies,
    }


def train_peers(seeds, *arguments) -> list[dict]:
    """The peer under so many seeds, in a process of its own."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # there it only draws the order of the images
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return [process.submit(train_torch, *arguments, seed).result() for seed in range(seeds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--data", default="excerpt")
    parser.add_argument("--peer", choices=["torch", "none"], default="torch")
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--cold-only", action="store_true", help="leave the warm run out: for accuracies only")
    parser.add_argument("--policy", choices=POLICIES, default="exact")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json")
    options = parser.parse_args()
    templates = read_templates(options.hashes, options.limit)
    data, share = take(jnas.load_data(options.data), options.images)
    recipe = Recipe.sophius(epochs=options.epochs, validation=share, precision=options.precision)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # the compilation cache and what is remembered beside it
        cold = train_jnas(templates, data, recipe, options)
        print(f"jnas, cold: {cold['seconds']:.1f} s", flush=True)
        seeds = options.peer_seeds if options.peer == "torch" else 0
        peers = train_peers(seeds, [template.hash for template in templates], data, recipe)
        warm = cold
        if not options.cold_only:
            warm = train_jnas(templates, data, recipe, options)
            print(f"jnas, warm: {warm['seconds']:.1f} s", flush=True)
    seen = len(templates) * options.epochs * (options.images // recipe.batch_size) * recipe.batch_size
    ours = cold | {"train_seconds": warm["train_seconds"], "train_seconds_cold": cold["train_seconds"]}
    ours |= {"images_per_second": seen / warm["train_seconds"]}
    if not options.cold_only:
        ours |= {"warm_seconds": warm["seconds"], "waiting_seconds_warm": warm["waiting_seconds"]}
    failed = sorted(set(cold["status"]) - {"ok", "nan"})
    if failed:
        raise SystemExit(f"Some templates were not trained ({', '.join(failed)}): the times could not be compared.")
    settings = {
        "templates": len(templates),
        "batch": recipe.batch_size,
        "validation_images": round(share * len(data.x_train)),
    }
    settings |= {name: getattr(options, name) for name in ("epochs", "images", "policy", "precision")}
    result = {"about": about() | settings, "jnas": ours}
    if peers:
        peer = peers[0] | {"images_per_second": seen / peers[0]["train_seconds"]}
        result |= {
            "torch": peer,
            "ratio_total": peer["seconds"] / ours["seconds"],
            "ratio_train": peer["train_seconds"] / ours["train_seconds"],
        }
        if not options.cold_only:
            result["ratio_total_warm"] = peer["seconds"] / ours["warm_seconds"]
        fine = [i for i, accuracy in enumerate(ours["val_acc"]) if accuracy is not None]
        columns = [ours["val_acc"], *(peer["val_acc"] for peer in peers)]
        ranks = [[column[i] for i in fine] for column in columns]
        result["agreement"] = {"jnas_torch": float(spearmanr(ranks[0], ranks[1]).statistic)}
        if len(peers) > 1:
            result["agreement"] |= {
                "torch_torch": float(spearmanr(ranks[1], ranks[2]).statistic),
                "jnas_torch_other_seed": float(spearmanr(ranks[0], ranks[2]).statistic),
            }
            result["torch_other_seed"] = peers[1]
    result["times"] = {
        who: {key: value for key, value in result[who].items() if isinstance(value, float)}
        for who in ("jnas", "torch", "torch_other_seed")
        if who in result
    }
    brief = ("about", "times", "ratio_total", "ratio_total_warm", "ratio_train", "agreement")
    report(result, options.json, tuple(key for key in brief if key in result))


if __name__ == "__main__":
    run_program(main)
