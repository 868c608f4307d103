"""A training step of jnas and of PyTorch on the same templates, on the device at hand.

    python benchmarks/steps.py --hashes FILE.csv --limit N --json OUT.json [--rounds R] [--seconds S]

Milliseconds of a whole step at batch 256 under the recipe `sophius`: gathering and normalising the batch, forward,
backward, AdamW. FILE has a column `hash` (3x32x32 images, 10 classes). The two libraries take turns, R rounds of about
S seconds each, and the median round counts. PyTorch runs with channels-last and with contiguous memory, and the faster
of the two counts for each template. `geomean_ratio` is PyTorch's time over jnas'.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import pathlib
import platform
import statistics
import time

import jnas  # before JAX and PyTorch allocate
import jax
import numpy as np
import torch
from torch_peer import TorchTrainer

from jnas.train import Recipe, Trainer, lanes

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=FOLDER.parent / "tests" / "sophius_runs.csv")
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--json")
    options = parser.parse_args()
    templates = read_hashes(options.hashes, options.limit)
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=1)
    rows = []
    for template in templates:
        ours = Ours(template, recipe, split)
        runs = {"jnas": ours.steps}
        for name, layout in (("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)):
            peer = TorchTrainer(template, recipe, split, memory_format=layout)
            runs[f"torch {name}"] = peer.steps
        times = {name: milliseconds(run, options) for name, run in interleave(runs, options).items()}
        row = {"hash": template.hash, "macs": template.cost.macs, "compile s": ours.compile_seconds} | times
        row["torch"] = min(times["torch channels_last"], times["torch contiguous"])
        row["ratio"] = row["torch"] / row["jnas"]
        rows.append(row)
        print(*(f"{k} {v:.2f}" for k, v in row.items() if k != "hash"), repr(template), flush=True)
    ratios = np.array([row["ratio"] for row in rows])
    result = {
        "geomean_ratio": float(np.exp(np.log(ratios).mean())),
        "worst_ratio": float(ratios.min()),
        "total_ratio": sum(row["torch"] for row in rows) / sum(row["jnas"] for row in rows),
        "about": about() | {"batch": recipe.batch_size, "rounds": options.rounds},
        "rows": rows,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1))
