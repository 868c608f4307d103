"""How well accuracies after a short training order those after one that is ten times as long, for several recipes.

    python benchmarks/fidelity.py --data PATH.npz [--templates 40] [--epochs 2] [--times 10] [--images 2000]
        [--recipes fast standard] [--json OUT.json]

Random templates of the modern generator, up to 5 M multiply-accumulates, are trained by each recipe for a few epochs
and anew for ten times as many, under another seed, on the same images. `kendall_tau` is the rank correlation of the two
validation accuracies after the last epoch, `std` its standard deviation by resampling templates. Test images are not
looked at.
"""

from __future__ import annotations

import argparse
import time

import jax
import numpy as np
from common import report, run
from recipe import images

import jnas
from jnas.predict import score
from jnas.train import RECIPES, Trial

MAX_MACS = 5_000_000
SAMPLES = 1000


def correlation(short: np.ndarray, long: np.ndarray) -> dict[str, float]:
    """Returns Kendall's tau of two measurements of the same templates, with its deviation by the bootstrap."""
    draws = np.random.default_rng(0).integers(len(short), size=(SAMPLES, len(short)))
    sampled = [score(short[draw], long[draw]).kendall_tau for draw in draws]
    return {"kendall_tau": score(short, long).kendall_tau, "std": float(np.nanstd(sampled))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--templates", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--validation", type=int, default=5000)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=["fast", "standard"])
    parser.add_argument("--json")
    options = parser.parse_args()
    data = images(options.data, options.images, options.validation)
    space = jnas.Space(style="modern", max_macs=MAX_MACS)
    genomes = np.asarray(space.sample_valid(jax.random.key(0), options.templates))
    templates = [space.template(genome) for genome in genomes]
    share = options.validation / (options.images + options.validation)
    figures: dict[str, dict] = {}
    for name in options.recipes:
        start, measured = time.perf_counter(), []
        for seed, epochs in enumerate((options.epochs, options.times * options.epochs)):
            recipe = RECIPES[name](epochs=epochs, val_fraction=share)
            rows = jnas.evaluate([Trial(template, seed) for template in templates], data, recipe, progress=False)
            measured.append(np.array([row.val_acc_final or 0.0 for row in rows]))
        short, long = measured
        figures[name] = correlation(short, long) | {
            "short": short.tolist(),
            "long": long.tolist(),
            "short_mean": float(short.mean()),
            "long_mean": float(long.mean()),
            "seconds": time.perf_counter() - start,
        }
        brief = {key: value for key, value in figures[name].items() if not isinstance(value, list)}
        print(name, {key: round(value, 3) for key, value in brief.items()}, flush=True)
        report(figures, options)


if __name__ == "__main__":
    run(main)
