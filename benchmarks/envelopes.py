"""How a random population groups into envelopes: programs, padding, and the seconds that the cost model expects.

    python benchmarks/envelopes.py [--hashes FILE.csv] [--limit N] [--epochs E] [--images M] [--json OUT.json]

FILE has a column `hash` (3x32x32 images, 10 classes). Three groupings of its first N templates:

`fewest`: as few envelopes as fit under three times the true multiply-accumulates. Its `envelopes` and `macs_ratio`,
padded over true, are the keys of the same names.
`gpu` and `cpu`: what the engine's policies "exact", "envelope" and "auto" choose for training all of them for E epochs
of M images, on a large GPU and on two cores, with the default constants of the cost model (`jnas.train`).

`bytes_ratio` is that of feature maps and parameters, padded over true; `patches_ratio` that of what convolutions lay
out. All sizes are rounded up to the ladder (`jnas.nn.envelope`). `again`: how many programs other populations would
compile when the first one's envelopes are known, and when they are not: the next templates of FILE, and children of the
first population, one mutation each.

With `--measure K` it also trains the first K templates of under a million multiply-accumulates for one epoch of 5,000
images on the device at hand, each under "exact" and "envelope", from an empty cache: compiles and wall clock.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import jax
import numpy as np
from common import HASHES, about, read_templates, report, run_program
from jax.experimental.compilation_cache import compilation_cache
from population import take

import jnas
from jnas.nn._cost import footprint
from jnas.space._genome import to_genomes
from jnas.space._operators import mutate
from jnas.space._shape_inference import trace
from jnas.train import Recipe, Watch
from jnas.train._engine.bucketing import Assignment, Workload, assign
from jnas.train._engine.memory_plan import cpu, gpu

BATCH = 256
TINY = 1_000_000
"""Multiply-accumulates of a tiny template, at most."""


def describe(groups: list[Assignment], templates: list[jnas.Template]) -> dict:
    """The sums of a grouping."""

    def sums(costs) -> tuple[int, int, int]:
        costs = list(costs)
        return (
            sum(cost.macs for cost in costs),
            sum(4 * (BATCH * cost.maps + cost.params) for cost in costs),
            sum(4 * BATCH * sum(cost.patches) for cost in costs),
        )

    padded = sums(group.structure.footprint for group in groups for _ in group.members)
    true = sums(footprint(template) for template in templates)
    policies = [group.structure.policy for group in groups]
    return {
        "programs": len(groups),
        "envelopes": policies.count("envelope"),
        "lanes": len(templates),
        "most_lanes": max(len(group.members) for group in groups),
        "macs_ratio": padded[0] / true[0],
        "bytes_ratio": padded[1] / true[1],
        "patches_ratio": padded[2] / true[2],
        "compile_seconds": sum(group.compile_seconds for group in groups),
        "train_seconds": sum(group.train_seconds for group in groups),
    }


def children(templates: list[jnas.Template]) -> list[jnas.Template]:
    """Valid templates, one mutation away from the given ones."""
    space = jnas.Space(conv_num=10, lin_num=4)
    genomes = to_genomes(templates, space.length)
    found = jax.vmap(mutate)(jax.random.split(jax.random.key(0), len(genomes)), genomes)
    fine = np.asarray(trace(found).valid)
    return [space.template(genome) for genome in np.asarray(found)[fine]]


def measure(templates: list[jnas.Template], data) -> dict:
    """One epoch of all of them under each policy, from an empty cache."""
    part, share = take(jnas.load_data(data), 5_000) if data != "excerpt" else (jnas.load_data(), 0.2)
    recipe = Recipe.sophius(epochs=1, validation=share)
    found = {}
    for policy in ("exact", "envelope"):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            jax.config.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()  # JAX looks where it is only once
            watch = Watch()
            rows = jnas.evaluate(templates, part, recipe, policy=policy, progress=False, watch=watch)
        found[policy] = {
            "seconds": watch.seconds,
            "programs": watch.programs,
            "compile_seconds": watch.compiling,
            "waiting_seconds": watch.waiting,
            "train_seconds": sum(row.train_seconds for row in rows),
            "status": sorted({row.status for row in rows}),
            "val_acc": [row.val_acc_final for row in rows],
        }
        print(policy, {name: value for name, value in found[policy].items() if name != "val_acc"}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--measure", type=int, default=0)
    parser.add_argument("--data", default="excerpt")
    parser.add_argument("--json")
    options = parser.parse_args()
    everything = read_templates(options.hashes, 2 * options.limit)
    templates, others = everything[: options.limit], everything[options.limit :]
    begun = time.perf_counter()
    fewest = assign(templates, "envelope", Workload(BATCH, 0, gpu()))
    result = {"about": about() | {"templates": len(templates)}, "grouping_seconds": time.perf_counter() - begun}
    result["fewest"] = describe(fewest, templates)
    result |= {name: result["fewest"][name] for name in ("envelopes", "macs_ratio")}
    steps = options.epochs * (options.images // BATCH)
    for name, device in (("gpu", gpu(cores=2)), ("gpu_16_cores", gpu(cores=16)), ("cpu", cpu(cores=2))):
        load = Workload(BATCH, steps, device)
        result[name] = {
            policy: describe(assign(templates, policy, load), templates) for policy in ("exact", "envelope", "auto")
        }
    load = Workload(BATCH, steps, gpu())
    known = [(group.structure.hull, group.width) for group in assign(templates, "envelope", load)]
    there = dict(known)
    result["again"] = {
        name: {
            "templates": len(population),
            "compiled": sum(g.structure.hull not in there for g in assign(population, "envelope", load, known=known)),
            "compiled_without": len(assign(population, "envelope", load)),
        }
        for name, population in (("others", others), ("children", children(templates)))
        if population
    }
    if options.measure:
        tiny = [one for one in everything if one.cost.macs < TINY][: options.measure]
        result["measured"] = measure(tiny, options.data)
    report(result, options.json, tuple(name for name in result if name != "measured"))


if __name__ == "__main__":
    run_program(main)
