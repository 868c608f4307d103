"""Milliseconds of a training step of jnas and of PyTorch on the same templates, on the device at hand.

    python benchmarks/steps.py --hashes FILE.csv --limit 32 --json OUT.json [--rounds 3] [--seconds 0.4]
        [--baseline CHECKOUT] [--no-torch]

A step gathers the batch and does forward, backward and AdamW, at batch 256 under the recipe `sophius`; jnas also
normalises the batch, which PyTorch has done once for all images. FILE has a column `hash` (3x32x32 images, 10 classes).
Each competitor has a process of its own; they take turns in rounds of about `--seconds` each, and the median round
counts. PyTorch runs with channels-last and with contiguous memory, and the faster counts for each template.

With `--baseline` another checkout of jnas takes part. `ratio_torch` is PyTorch's time over jnas', `ratio_baseline` the
other checkout's time over jnas', so above 1 jnas is faster. Both are geometric means over the templates.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from common import HASHES, ROOT, commit, geometric_mean, read_templates, report, run

import jnas
from jnas._runtime.malloc import tune_malloc
from jnas.train import Recipe, Trainer, TrainingRun, Trial
from jnas.train._input_pipeline import epoch_permutation
from jnas.train._step import Metrics

LONG = 1000
"""Epochs: so many that programs compile to run quickly, as in any long training, and not to compile quickly."""
SIZES = {"all": (0, np.inf), "below 1 M MACs": (0, 1e6), "1 to 4 M": (1e6, 4e6), "above 4 M": (4e6, np.inf)}
SERVER = pathlib.Path(__file__).with_name("step_server.py")


def jnas_steps(trainer: Trainer, *trials: Trial) -> Callable[[int], None]:
    """Returns a function that trains so many steps of trials side by side; on a GPU, whole epochs."""
    trainer.compile()
    run = TrainingRun.stack([trainer.start(trial) for trial in trials])
    spec, recipe, images, labels = trainer.spec, trainer.steps.recipe, trainer.split.x_train, trainer.split.y_train
    num_steps, train = spec.steps_per_epoch, trainer.programs.train
    lr_factors = recipe.learning_rates(num_steps)[0]
    order = epoch_permutation(
        run.hyperparams.seed,
        np.int32(0),
        num_images=len(images),
        steps=num_steps,
        batch_size=recipe.batch_size,
    )
    order_on_host = np.asarray(order)

    def one_epoch(metrics: Metrics) -> Metrics:
        arguments = (images, labels, order, lr_factors, np.int32(0))
        run.state, metrics = train(run.state, metrics, run.hyperparams, *arguments)
        return metrics

    def one_step(metrics: Metrics, index: int) -> Metrics:
        batch = spec.augment_batch(run.hyperparams.seed, np.int32(index), images, labels, order_on_host[:, index])
        run.state, metrics = train(run.state, metrics, run.hyperparams, *batch, lr_factors[index])
        return metrics

    def steps(count: int) -> None:
        while count > 0:
            metrics = Metrics(np.zeros(len(trials), np.float32), np.zeros(len(trials), np.int32))
            if spec.scan:
                metrics = one_epoch(metrics)
            else:
                for index in range(min(count, num_steps)):
                    metrics = one_step(metrics, index)
            np.asarray(metrics.loss)
            count -= num_steps

    return steps


@functools.cache
def tune_process() -> None:
    """Sets up this process as jnas sets up those in which it trains."""
    tune_malloc()


def jnas_competitors(template: jnas.Template) -> tuple[dict[str, Callable[[int], None]], dict]:
    """Returns jnas' steps of a template by name, and what is known of their compilation."""
    tune_process()
    trainer = Trainer(template, Recipe.sophius(epochs=LONG), jnas.load_data().split(0.2))
    seconds = trainer.compile()
    about = {"compile_seconds": seconds, "least_steps": trainer.spec.steps_per_epoch if trainer.spec.scan else 2}
    return {"jnas": jnas_steps(trainer, Trial(template))}, about


def torch_competitors(template: jnas.Template) -> tuple[dict[str, Callable[[int], None]], dict]:
    """Returns PyTorch's steps of a template in both memory formats, by name."""
    import torch
    from torch_peer import TorchTrainer

    split, recipe = jnas.load_data().split(0.2), Recipe.sophius(epochs=LONG)

    def steps_of(memory_format: torch.memory_format) -> Callable[[int], None]:
        trainer = TorchTrainer(template, recipe, split, memory_format=memory_format)
        order, lr_factors = trainer.order(0), trainer.lr_factors[0]

        def steps(count: int) -> None:
            while count > 0:
                batch_count = min(count, len(order))
                trainer.run_steps(order[:batch_count], lr_factors[:batch_count])
                count -= batch_count

        return steps

    formats = {"torch channels_last": torch.channels_last, "torch contiguous": torch.contiguous_format}
    return {name: steps_of(memory_format) for name, memory_format in formats.items()}, {}


def clocked(steps: Callable[[int], None]) -> Callable[[int], float]:
    """Returns a function of the seconds that so many steps take."""

    def run(count: int) -> float:
        start = time.perf_counter()
        steps(count)
        return time.perf_counter() - start

    return run


class Server:
    """A process that makes the competitors of one kind and times their steps (see step_server.py).

    Args:
      kind: "jnas" or "torch".
      root: the checkout of jnas that it imports.
    """

    def __init__(self, kind: str, root: pathlib.Path = ROOT):
        paths = os.pathsep.join([str(root), str(root / "benchmarks")])
        environment = os.environ | {"PYTHONPATH": paths, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        command = [sys.executable, "-P", str(SERVER), kind]
        self._pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, cwd=root, **self._pipes)

    def ask(self, message: dict) -> dict:
        """Returns the answer to a message.

        Raises:
          JnasError: if the process has ended.
        """
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise jnas.JnasError(f"A process that times steps ended with exit code {self._process.wait()}.")
        return json.loads(answer)

    def prepare(self, hash: str) -> tuple[dict[str, Callable[[int], float]], dict]:
        """Returns clocks of a template's steps by name, and what is known of their compilation."""
        answer = self.ask({"hash": hash})
        clocks = {
            name: (lambda count, name=name: self.ask({"name": name, "steps": count})["seconds"])
            for name in answer["names"]
        }
        return clocks, answer["about"]

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def timed(clocks: dict[str, Callable[[int], float]], rounds: int, seconds: float, at_least: int) -> dict[str, float]:
    """Returns milliseconds a step of each: the median of rounds, in which they take turns."""
    counts = {}
    for name, clock in clocks.items():
        clock(at_least)  # warm-up
        counts[name] = at_least * max(1, round(seconds / clock(at_least)))
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, clock in clocks.items():
            times[name].append(clock(counts[name]) / counts[name] * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(template: jnas.Template, servers: dict[str, Server], rounds: int, seconds: float) -> dict:
    """Returns milliseconds and ratios of one template."""
    clocks, least, row = {}, 2, {"hash": template.hash, "macs": template.cost.macs}
    for kind, server in servers.items():
        found, about = server.prepare(template.hash)
        clocks |= {kind if name == "jnas" else name: clock for name, clock in found.items()}
        least = max(least, about.get("least_steps", least))
        if kind == "jnas":
            row["compile_seconds"] = about["compile_seconds"]
    row["ms"] = timed(clocks, rounds, seconds, least)
    torch_times = [ms for name, ms in row["ms"].items() if name.startswith("torch")]
    if torch_times:
        row["ratio_torch"] = min(torch_times) / row["ms"]["jnas"]
    if "baseline" in servers:
        row["ratio_baseline"] = row["ms"]["baseline"] / row["ms"]["jnas"]
    return row


def summary(rows: list[dict]) -> dict:
    """Returns the geometric mean, lowest and highest of each ratio, in all and by size of the templates."""
    sizes = {
        "all": (0, np.inf),
        "below 1 M MACs": (0, 1e6),
        "1 to 4 M MACs": (1e6, 4e6),
        "above 4 M MACs": (4e6, np.inf),
    }
    result: dict = {}
    for name in ("ratio_torch", "ratio_baseline"):
        for size, (low, high) in sizes.items():
            ratios = [row[name] for row in rows if name in row and low <= row["macs"] < high]
            if ratios:
                found = {
                    "n": len(ratios),
                    "mean": geometric_mean(ratios),
                    "lowest": min(ratios),
                    "highest": max(ratios),
                }
                result.setdefault(name, {})[size] = found
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--baseline", type=pathlib.Path, help="another checkout of jnas to time beside this one")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--json")
    options = parser.parse_args()
    templates = read_templates(options.hashes, options.limit)
    servers = {"jnas": Server("jnas")}
    if options.baseline:
        if not (options.baseline / "jnas").is_dir():
            raise jnas.JnasError(f"--baseline must be a checkout of jnas, got {options.baseline}.")
        servers["baseline"] = Server("jnas", options.baseline.resolve())
    if not options.no_torch:
        servers["torch"] = Server("torch")
    figures: dict = {"rows": []}
    if options.baseline:
        figures["baseline_commit"] = commit(options.baseline)
    for template in templates:
        row = measure(template, servers, options.rounds, options.seconds)
        figures["rows"].append(row)
        print(json.dumps(row), flush=True)
        figures |= summary(figures["rows"])
        report(figures, options)
    for server in servers.values():
        server.close()
    report(figures, options, ("ratio_torch", "ratio_baseline"))


if __name__ == "__main__":
    run(main)
