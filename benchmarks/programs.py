"""Seconds to compile a template's programs, and milliseconds a training step of 1, 8 and 32 lanes side by side.

    python benchmarks/programs.py [--hashes FILE.csv] [--limit 8] [--threads 1] [--xla NAME=VALUE ...]
        [--lanes 1 8 32] [--profile FOLDER] [--json OUT.json]

First part: the training programs of the first templates of FILE (column `hash`; 3x32x32 images, 10 classes; batch 256)
are compiled by that many threads, without any cache; `compile_seconds` is the wall clock of all together over their
number. Options of XLA are those of jnas with those given. XLA remembers what it has tuned, so each setting needs a
process of its own.

Second part (`--lanes` without a number leaves it out): milliseconds a step and lane of that many lanes of one template
in one vmapped program, and `gmacs`, billions of multiply-accumulates a second, a step being three times the forward
pass. With FOLDER, one epoch of each is profiled there, for TensorBoard or Perfetto.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import jax
import numpy as np
from common import HASHES, read_templates, report, run
from steps import clocked, jnas_steps, tune_process

import jnas
from jnas._runtime.compile_options import compiler_options
from jnas.train import Recipe, Trainer, Trial, _compiled


def compile_all(templates: list[jnas.Template], recipe: Recipe, split, threads: int) -> float:
    """Returns seconds a template."""
    trainers = [Trainer(template, recipe, split) for template in templates]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(Trainer.compile, trainers))
    return (time.perf_counter() - start) / len(templates)


def step_of_lanes(template: jnas.Template, recipe: Recipe, split, lanes: int, profile: str | None) -> dict:
    """Returns milliseconds a step and lane, speed, and what compiling took."""
    trainer = Trainer(template, recipe, split, num_lanes=lanes)
    seconds = trainer.compile()
    epoch = clocked(jnas_steps(trainer, *(Trial(template, seed) for seed in range(lanes))))
    steps = trainer.spec.steps_per_epoch
    epoch(steps)  # warm-up
    step = float(np.median([epoch(steps) for _ in range(3)])) / steps / lanes
    if profile:
        with jax.profiler.trace(profile):
            epoch(steps)
    return {
        "hash": template.hash,
        "macs": template.cost.macs,
        "lanes": lanes,
        "ms": step * 1e3,
        "gmacs": 3 * template.cost.macs * recipe.batch_size / step / 1e9,
        "compile_seconds": seconds,
    }


def measure(options: argparse.Namespace) -> dict:
    """Returns both parts."""
    templates = read_templates(options.hashes, options.limit)
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=1)
    seconds = compile_all(templates, recipe, split, options.threads)
    print(f"{seconds:.2f} s a template, {options.threads} threads", flush=True)
    figures = {"templates": len(templates), "compile_seconds": seconds, "steps": []}
    for template in templates:
        for lanes in options.lanes:
            row = step_of_lanes(template, recipe, split, lanes, options.profile)
            figures["steps"].append(row)
            print(f"{lanes} lanes: {row['ms']:.2f} ms a step and lane, {row['macs'] / 1e6:.2f} M MACs", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--xla", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--lanes", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--profile")
    parser.add_argument("--json")
    options = parser.parse_args()
    tune_process()
    caching = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    more = dict(option.split("=", 1) for option in options.xla)
    try:
        with mock.patch.object(_compiled, "compiler_options", lambda purpose: compiler_options(purpose) | more):
            figures = measure(options)
    finally:
        jax.config.update("jax_enable_compilation_cache", caching)
    report(figures, options, ("templates", "compile_seconds"))


if __name__ == "__main__":
    run(main)
