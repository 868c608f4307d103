"""Seconds and accuracies of a population trained by jnas and, in the same run, by a plain PyTorch loop.

    python benchmarks/population.py --hashes FILE.csv --limit 32 --epochs 2 --images 10000 --data PATH.npz --peer torch
        --json OUT.json [--precision bfloat16] [--peer-seeds 2] [--cold-only] [--baseline CHECKOUT]

FILE has a column `hash` (3x32x32 images, 10 classes). Both train the same templates under the recipe `sophius` on the
same images in the same batches, and measure validation accuracy after each epoch on up to 5,000 other training images.

jnas runs twice: cold, with an empty compilation cache, and warm, with the programs of the cold run. `seconds` is the
cold run's wall clock, compiling included; `train_seconds` is the warm run's training alone. PyTorch runs between the
two, with channels-last memory, in a process of its own. `ratio_total` and `ratio_train` are PyTorch's seconds over
jnas'. With `--cold-only` there is no warm run, and `train_seconds` are the cold run's.

With `--peer-seeds 2` PyTorch trains all once more under another seed; `agreement` has Spearman correlations of final
validation accuracies between jnas and PyTorch, and between PyTorch's seeds. With `--baseline` the same program of
another checkout runs afterwards, without PyTorch; `baseline` has its seconds over jnas' in all, warm and training
alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import jax
import numpy as np
from common import HASHES, commit, read_templates, report, run
from jax.experimental.compilation_cache import compilation_cache
from scipy.stats import spearmanr

import jnas
from jnas.data import Dataset
from jnas.train import EngineOptions, Recipe

VALIDATION = 5_000
"""Validation images, at most."""


def subset(data: Dataset, images: int) -> tuple[Dataset, float]:
    """Returns a data set of `images` training images and up to `VALIDATION` more, and the share of the latter.

    Raises:
      JnasError: if none are left for validation.
    """
    held = min(VALIDATION, len(data.x_train) - images)
    if held < 1:
        raise jnas.JnasError(f"--images must leave some of the {len(data.x_train)} for validation, got {images}.")
    rows = np.random.default_rng(0).permutation(len(data.x_train))[: images + held]
    part = Dataset(data.name, data.x_train[rows], data.y_train[rows], data.x_test, data.y_test, data.classes)
    return part, held / (images + held)


def train_jnas(templates: list[jnas.Template], data: Dataset, recipe: Recipe) -> dict:
    """Returns seconds and accuracies of one run of the whole population."""
    options = EngineOptions()
    rows = jnas.evaluate(templates, data, recipe, progress=False, options=options)
    timing = options.timing
    seconds = timing.seconds
    return {
        "seconds": seconds,
        "compile_seconds": sum(report.compile_seconds for report in timing.reports),
        "waiting_seconds": timing.compile_wait_seconds,
        "train_seconds": sum(row.train_seconds for row in rows),
        "each_train_seconds": [row.train_seconds for row in rows],
        "val_acc": [row.val_acc_final for row in rows],
        "status": [row.status for row in rows],
    }


def train_torch(hashes: list[str], data: Dataset, recipe: Recipe, seed: int) -> dict:
    """Returns the same of the peer."""
    from torch_peer import TorchTrainer

    split = data.split(recipe.val_fraction)
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
        "train_seconds": sum(training),
        "each_train_seconds": training,
        "val_acc": accuracies,
    }


def train_peers(seeds: int, *arguments) -> list[dict]:
    """Returns what the peer did under so many seeds, in a process of its own."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # there it only draws the order of the images
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return [process.submit(train_torch, *arguments, seed).result() for seed in range(seeds)]


def baseline(options: argparse.Namespace) -> dict:
    """Returns what this program of another checkout measures of jnas, with the same options."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "baseline.json"
        command = [sys.executable, str(options.baseline.resolve() / "benchmarks" / "population.py"), "--peer", "none"]
        for name in ("hashes", "limit", "epochs", "images", "data", "precision"):
            value = getattr(options, name)
            path = pathlib.Path(str(value))
            command += [f"--{name}", str(path.resolve() if path.exists() else value)]
        command += ["--json", str(out)] + ["--cold-only"] * options.cold_only
        environment = os.environ | {"PYTHONPATH": str(options.baseline.resolve())}
        if subprocess.run(command, env=environment, cwd=folder).returncode:
            raise jnas.JnasError(f"The program of --baseline {options.baseline} failed.")
        result = json.loads(out.read_text())
    return result.get("figures", result)["jnas"]


def agreement(rows: list[list[float | None]]) -> dict:
    """Returns Spearman correlations of final accuracies: jnas and the peer, and the peer under two seeds."""
    done = [i for i, accuracy in enumerate(rows[0]) if accuracy is not None]
    ranks = [[row[i] for i in done] for row in rows]
    names = {"jnas_torch": (0, 1), "torch_torch": (1, 2), "jnas_torch_other_seed": (0, 2)}
    pairs = {name: pair for name, pair in names.items() if max(pair) < len(rows)}
    return {name: float(spearmanr(ranks[a], ranks[b]).statistic) for name, (a, b) in pairs.items()}


@contextlib.contextmanager
def empty_cache() -> Iterator[None]:
    """Uses a new folder for everything that is kept between runs, as long as the context lasts."""
    names, before = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"), dict(os.environ)
    folder_before = jax.config.jax_compilation_cache_dir
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = folder
            os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
            jax.config.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()  # JAX looks where its cache is only once
            yield
    finally:
        os.environ.update({name: before[name] for name in names if name in before})
        jax.config.update("jax_compilation_cache_dir", folder_before)
        compilation_cache.reset_cache()


def measure(options: argparse.Namespace) -> dict:
    """Returns all figures."""
    templates = read_templates(options.hashes, options.limit)
    data, share = subset(jnas.load_data(options.data), options.images)
    recipe = Recipe.sophius(epochs=options.epochs, val_fraction=share, precision=options.precision)
    with empty_cache():
        cold = warm = train_jnas(templates, data, recipe)
        print(f"jnas, cold: {cold['seconds']:.1f} s", flush=True)
        if options.peer == "torch":
            peers = train_peers(options.peer_seeds, [t.hash for t in templates], data, recipe)
        else:
            peers = []
        if not options.cold_only:
            warm = train_jnas(templates, data, recipe)
            print(f"jnas, warm: {warm['seconds']:.1f} s", flush=True)
    failed = sorted(set(cold["status"]) - {"ok", "diverged"})
    if failed:
        raise jnas.JnasError(f"Some templates were not trained ({', '.join(failed)}): times could not be compared.")
    images = len(templates) * options.epochs * (options.images // recipe.batch_size) * recipe.batch_size
    ours = cold | {"train_seconds": warm["train_seconds"], "images_per_second": images / warm["train_seconds"]}
    if not options.cold_only:
        ours |= {"warm_seconds": warm["seconds"]}
    figures = {"templates": len(templates), "validation_images": round(share * len(data.x_train)), "jnas": ours}
    if peers:
        figures |= {
            "torch": peers[0] | {"images_per_second": images / peers[0]["train_seconds"]},
            "ratio_total": peers[0]["seconds"] / ours["seconds"],
            "ratio_train": peers[0]["train_seconds"] / ours["train_seconds"],
            "agreement": agreement([ours["val_acc"], *(peer["val_acc"] for peer in peers)]),
        }
        if not options.cold_only:
            figures["ratio_total_warm"] = peers[0]["seconds"] / ours["warm_seconds"]
        if len(peers) > 1:
            figures["torch_other_seed"] = peers[1]
    if options.baseline:
        other = baseline(options)
        names = {"total": "seconds", "warm": "warm_seconds", "train": "train_seconds"}
        figures["baseline"] = {
            "commit": commit(options.baseline),
            **{f"ratio_{name}": other[key] / ours[key] for name, key in names.items() if key in ours},
            **{key: other[key] for key in names.values() if key in other},
        }
    return figures


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
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--baseline", type=pathlib.Path, help="another checkout of jnas to run beside this one")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.baseline and not (options.baseline / "benchmarks" / "population.py").exists():
        raise jnas.JnasError(f"--baseline must be a checkout of jnas, got {options.baseline}.")
    figures = measure(options)
    figures["times"] = {
        who: {key: value for key, value in figures[who].items() if isinstance(value, float)}
        for who in ("jnas", "torch", "torch_other_seed")
        if who in figures
    }
    report(figures, options, ("times", "ratio_total", "ratio_total_warm", "ratio_train", "agreement", "baseline"))


if __name__ == "__main__":
    run(main)
