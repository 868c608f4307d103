"""What the operations of `jnas.nn` and the allocator's setting bring, on the device at hand.

    python benchmarks/operations.py [--json OUT.json] [--hashes FILE.csv] [--limit N] [--rounds R]

Milliseconds of a whole training step at batch 128 for each template: as it is, with XLA's own gradient of the
convolution kernel, with fusion across poolings, and both. The variants of a template are timed in turn, R rounds, and
compared as ratios of medians. FILE has a column `hash` (3x32x32 images, 10 classes). Run it once more with
JNAS_KEEP_MEMORY=0 to see what keeping freed memory brings.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import pathlib
import platform
import statistics
import time
from unittest import mock

import jax
import numpy as np

import jnas
from jnas.nn import convolution
from jnas.train import Recipe, Trainer, lanes, trainer

FOLDER = pathlib.Path(__file__).parent
VARIANTS = {
    "jnas": (),
    "xla kernel gradient": ("gradient",),
    "fused poolings": ("fusion",),
    "both": ("gradient", "fusion"),
}


def compiled(template, recipe, split, changes):
    """A trainer whose program is compiled with some of jnas' own ways left out."""
    patches = {
        "gradient": mock.patch.object(convolution, "_convolve_by_taps", convolution._convolve),
        "fusion": mock.patch.object(trainer, "COMPILER_OPTIONS", {}),
    }
    made = Trainer(template, recipe, split)
    with contextlib.ExitStack() as stack:
        for change in changes:
            stack.enter_context(patches[change])
        return made, made.compile()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=FOLDER.parent / "tests" / "sophius_runs.csv")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)  # compile seconds are reported
    with open(options.hashes) as file:
        templates = [jnas.Template.from_hash(row["hash"]) for row in csv.DictReader(file)]
    templates = [template for template in templates if template.cost.macs < 2e7][: options.limit]
    split = jnas.load_data().split(0.2)
    recipe = Recipe.standard(epochs=1)
    rows = []
    for template in templates:
        made = {name: compiled(template, recipe, split, changes) for name, changes in VARIANTS.items()}
        times = {name: [] for name in VARIANTS}
        for round in range(options.rounds + 1):
            for name, (one, _) in made.items():
                start = time.perf_counter()
                one.train([Trial(template)])
                if round:  # the first is a warm-up
                    times[name].append((time.perf_counter() - start) / one.steps * 1e3)
        row = {"hash": template.hash, "macs": template.cost.macs}
        row |= {f"{name} ms": statistics.median(found) for name, found in times.items()}
        row |= {f"{name} compile s": seconds for name, (_, seconds) in made.items()}
        rows.append(row)
        print(*(f"{key} {value:.2f}" for key, value in row.items() if key != "hash"), flush=True)
    ratios = {}
    for name in list(VARIANTS)[1:]:
        logs = [np.log(row[f"{name} ms"] / row["jnas ms"]) for row in rows]
        ratios[name] = {"geomean_ratio": float(np.exp(np.mean(logs))), "worst": float(np.exp(max(logs)))}
    total = {name: sum(row[f"{name} ms"] for row in rows) for name in VARIANTS}
    about = {
        "device": jax.devices()[0].device_kind,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "keep_memory": os.environ.get("JNAS_KEEP_MEMORY") != "0",
        "rounds": options.rounds,
    }
    result = {"about": about, "ratios": ratios, "total_ms": total, "rows": rows}
    print(json.dumps({key: result[key] for key in ("about", "ratios", "total_ms")}, indent=1))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
