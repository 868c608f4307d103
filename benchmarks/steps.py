"""A training step of jnas and of PyTorch on the same templates, on the device at hand.

    python benchmarks/steps.py --hashes FILE.csv --limit N --json OUT.json [--rounds R] [--seconds S]

Milliseconds of a whole step at batch 256 under the recipe `sophius`: gathering the batch, forward, backward, AdamW;
jnas also normalises it, which PyTorch has done once for all images. FILE has a column `hash` (3x32x32 images, 10
classes). The two take turns, R rounds of about S seconds each, and the median round counts. Each has a process of its
own, as in one process either would be left the memory that the other had cut to pieces. PyTorch runs with channels-last
and with contiguous memory, and the faster of the two counts for each template. `geomean_ratio` is PyTorch's time over
jnas'. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import torch
from common import HASHES, about, geometric_mean, read_templates, report, run_program
from torch_peer import TorchTrainer

import jnas
from jnas.train import Recipe, Run, Trainer, Trial
from jnas.train import _input_pipeline as batches
from jnas.train._step import Metrics

LONG = 1000
"""Epochs: so many that programs are compiled to run quickly, as in any long training, and not to compile quickly."""
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def jnas_steps(trainer: Trainer, trial: Trial) -> Callable[[int], None]:
    """A function that trains that many steps."""
    trainer.compile()
    run = Run.start(trainer, trial)
    split, recipe = trainer.split, trainer.program.recipe
    order = batches.order(
        run.hyper.seed, np.int32(0), images=len(split.x_train), steps=trainer.steps, batch_size=recipe.batch_size
    )
    rates = recipe.rates(trainer.steps)[0]

    def steps(count: int) -> None:
        while count > 0:
            # Whole epochs on a GPU, where an epoch is one program.
            taken = trainer.steps if trainer.scan else min(count, trainer.steps)
            metrics = Metrics(np.zeros(1, np.float32), np.zeros(1, np.int32))
            run.state, metrics = trainer._run_epoch(run.state, metrics, run.hyper, order, rates[:taken], 0)
            np.asarray(metrics.loss)
            count -= taken

    return steps


def torch_steps(trainer: TorchTrainer) -> Callable[[int], None]:
    """The same of PyTorch."""
    order, rates = trainer.order(0), trainer.rates[0]

    def steps(count: int) -> None:
        while count > 0:
            taken = min(count, len(order))
            trainer.run_steps(order[:taken], rates[:taken])
            count -= taken

    return steps


def clocked(steps: Callable[[int], None]) -> Callable[[int], float]:
    """The seconds that so many steps take."""

    def run(count: int) -> float:
        start = time.perf_counter()
        steps(count)
        return time.perf_counter() - start

    return run


def serve(connection: Connection) -> None:
    """PyTorch's process: a hash makes the trainers of a template, a layout and a number time so many steps."""
    split, recipe, runs = jnas.load_data().split(0.2), Recipe.sophius(epochs=LONG), {}
    while (asked := connection.recv()) is not None:
        if isinstance(asked, str):
            template = jnas.Template.from_hash(asked)
            runs = {
                name: clocked(torch_steps(TorchTrainer(template, recipe, split, memory_format=layout)))
                for name, layout in LAYOUTS.items()
            }
            connection.send(True)
        else:
            name, count = asked
            connection.send(runs[name](count))


def remote(connection: Connection, name: str) -> Callable[[int], float]:
    """The seconds that so many steps take in PyTorch's process."""

    def run(count: int) -> float:
        connection.send((name, count))
        return connection.recv()

    return run


def timed(runs: dict[str, Callable[[int], float]], rounds: int, seconds: float, at_least: int) -> dict[str, float]:
    """Milliseconds a step of each: the median of rounds, in which they take turns."""
    counts = {}
    for name, run in runs.items():
        run(at_least)  # warm-up
        counts[name] = at_least * max(1, round(seconds / run(at_least)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run(counts[name]) / counts[name] * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json")
    options = parser.parse_args()
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=LONG)
    rows = []
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # two processes share a GPU
    connection, far = multiprocessing.Pipe()
    peer_process = multiprocessing.get_context("spawn").Process(target=serve, args=(far,), daemon=True)
    peer_process.start()
    far.close()
    for template in read_templates(options.hashes, options.limit):
        trainer = Trainer(template, recipe, split)
        seconds = trainer.compile()
        connection.send(template.hash)
        connection.recv()
        runs = {"jnas": clocked(jnas_steps(trainer, Trial(template)))}
        runs |= {f"torch {name}": remote(connection, name) for name in LAYOUTS}
        at_least = trainer.steps if trainer.scan else 2
        times = timed(runs, options.rounds, options.seconds, at_least)
        peer = min(times[f"torch {name}"] for name in LAYOUTS)
        row = {"ratio": peer / times["jnas"], **times, "compile_seconds": seconds, "macs": template.cost.macs}
        rows.append({"hash": template.hash, **row})
        print(*(f"{key} {value:.2f}" for key, value in row.items()), repr(template), flush=True)
    connection.send(None)
    ratios = [row["ratio"] for row in rows]
    result = {
        "geomean_ratio": geometric_mean(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "about": about() | {"batch": recipe.batch_size, "rounds": options.rounds, "templates": len(rows)},
        "rows": rows,
    }
    report(result, options.json, ("geomean_ratio", "lowest_ratio", "highest_ratio", "about"))


if __name__ == "__main__":
    run_program(main)
