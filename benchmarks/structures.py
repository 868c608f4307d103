"""Seconds to compile a structure, and milliseconds a training step of 1, 8 and 32 lanes side by side.

    python benchmarks/structures.py [--hashes FILE.csv] [--limit N] [--threads T] [--xla NAME=VALUE ...]
        [--lanes 1 8 32] [--policies exact folded envelope] [--profile FOLDER] [--json OUT.json]

First part: the training programs of the first N templates of FILE (column `hash`; 3x32x32 images, 10 classes; batch
256) are compiled by T threads, without any cache; wall clock of all together over their number. Options of XLA are
those of jnas with those given. On a GPU, `xla_gpu_autotune_level` is 4 by default, and 0 is none; XLA remembers what
it has tuned, so each setting needs a process of its own.

Second part (`--lanes` without a number leaves it out): milliseconds a step of that many lanes of one structure, in one
vmapped program, over the number of lanes; `share` is the true arithmetic over half of what matrix products reach here
(by `jnas.calibrate`, which is called where it never was), `padded_share` that with the padding of the program's hull,
`bandwidth_share` the feature maps and patches that the cost model counts, over the speed of a pass over memory. With
FOLDER, one epoch of each is profiled there, for TensorBoard or Perfetto.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import jax
import numpy as np
from common import HASHES, about, read_templates, report, run_program

import jnas
from jnas._runtime.compile_options import compiler_options
from jnas.nn._signature import lower
from jnas.train import Recipe, Run, Trainer, Trial, calibrate
from jnas.train import _input_pipeline as batches
from jnas.train import _trainer as trainer
from jnas.train._engine.memory_plan import Device, kept, traffic
from jnas.train._step import Metrics


def compile_all(templates, recipe, split, threads: int) -> float:
    """Seconds a structure."""
    made = [Trainer(template, recipe, split) for template in templates]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(Trainer.compile, made))
    return (time.perf_counter() - start) / len(templates)


def step_of_lanes(template, recipe, split, lanes: int, policy: str, profile: str | None) -> dict:
    """Milliseconds a step and lane, and shares of the device's speeds."""
    structure, _ = lower(template, policy)
    made = Trainer(structure, recipe, split, lanes=lanes)
    seconds = made.compile()
    run = Run.stack([Run.start(made, Trial(template, seed)) for seed in range(lanes)])
    size = recipe.batch_size
    order = batches.order(run.hyper.seed, np.int32(0), images=len(split.x_train), steps=made.steps, batch_size=size)
    times = []
    for _ in range(4):
        metrics = Metrics(np.zeros(lanes, np.float32), np.zeros(lanes, np.int32))
        start = time.perf_counter()
        run.state, metrics = made._run_epoch(run.state, metrics, run.hyper, order, recipe.rates(made.steps)[0], 0)
        np.asarray(metrics.loss)
        times.append((time.perf_counter() - start) / made.steps / lanes)
        if profile and len(times) == 3:
            jax.profiler.start_trace(profile)
    if profile:
        jax.profiler.stop_trace()
    taken = float(np.median(times[1:3]))
    device, cost = Device.here(), structure.footprint
    return {
        "ms": taken * 1e3,
        "share": 3 * template.cost.macs * size / taken / device.macs,
        "padded_share": 3 * cost.macs * size / taken / device.macs,
        "bandwidth_share": traffic(cost, size, lanes, device) / taken / device.bandwidth,
        "compile_seconds": seconds,
        "memory": made.memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--xla", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--lanes", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--policies", nargs="*", default=["exact", "folded", "envelope"])
    parser.add_argument("--profile")
    parser.add_argument("--json")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    if options.lanes and not kept(jax.devices()[0].device_kind):
        calibrate()
    xla = compiler_options() | dict(option.split("=", 1) for option in options.xla)
    with mock.patch.object(trainer, "compiler_options", lambda brief=False: xla):
        result = measure(options)
    report(result, options.json, ("about", "compile_seconds"))


def measure(options: argparse.Namespace) -> dict:
    """Both parts."""
    templates = read_templates(options.hashes, options.limit)
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=1)
    seconds = compile_all(templates, recipe, split, options.threads)
    print(f"{seconds:.2f} s a structure, {options.threads} threads", flush=True)
    settings = {"templates": len(templates), "threads": options.threads, "xla": options.xla}
    result = {"about": about() | settings, "compile_seconds": seconds, "steps": []}
    for template in templates:
        for policy in options.policies:
            for lanes in options.lanes:
                row = step_of_lanes(template, recipe, split, lanes, policy, options.profile)
                row |= {"hash": template.hash, "macs": template.cost.macs, "policy": policy, "lanes": lanes}
                result["steps"].append(row)
                print(
                    policy,
                    f"{lanes} lanes: {row['ms']:.2f} ms a step and lane, {row['macs'] / 1e6:.2f} M MACs",
                    flush=True,
                )
    return result


if __name__ == "__main__":
    run_program(main)
