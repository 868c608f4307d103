"""Measures what it costs to train by Ray in place of pipes, and how many trials a second one driver serves.

    python benchmarks/cluster.py --json OUT.json [--templates 64] [--workers 1000]

First some small templates are trained by two processes of this machine, then by a Ray cluster of a head and two
machines of one CPU, all of them processes of this machine, after four others for which the workers were started. Both
compile: caches are off. Then workers that only sleep stand for a large cluster: as many trials are asked of 1, 10, 100
and 1,000 of them as they can do in some seconds, with a store and without.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import jax
from common import report, run

import jnas
from jnas._runtime.devices import Place
from jnas.data import Split
from jnas.store import Epoch
from jnas.train import EngineOptions, Recipe, TrainingRequest, _request, run_trials
from jnas.train._engine.executor import Executor
from jnas.train._engine.group_trainer import CompileReply, GroupSpec, Outcome
from jnas.train._engine.worker import TrainRequest
from jnas.train._engine.workers import WorkerPool

LOOPBACK = "127.0.0.2"
"""An address of this machine only. Ray takes 127.0.0.1 for the machine's outer address."""
SLEEP = 2.0
"""Seconds of a trial of a worker that sleeps."""
SECONDS = 8.0
"""That such workers are busy, if the driver can serve them."""


class SleepingWorker:
    """Answers as a worker does, after some sleep; the driver cannot tell the difference."""

    place = Place("nowhere", "none")

    def __init__(self) -> None:
        self.num_programs = 0
        self._replies = []

    def send(self, message) -> None:
        match message:
            case GroupSpec():
                self._replies = [CompileReply(None, 1, 1)]
            case TrainRequest():
                outcome = Outcome([Epoch(1.0, 0.5, 0.5)] * message.until, None, None)
                self._replies = [*range(1, message.until + 1), *([outcome] for _ in message.runs)]
                time.sleep(SLEEP)

    def send_images(self, split: Split) -> None:
        pass

    def receive(self):
        return self._replies.pop(0)

    def kill(self) -> None:
        pass

    def is_usable(self) -> bool:
        self.num_programs = 0
        return True


def served(count: int, templates: list, data: jnas.Dataset, store: Path | None) -> float:
    """Returns trials a second that a driver serves of so many workers that sleep."""
    pool = WorkerPool(lambda slot: SleepingWorker())
    pool.start(count)
    executor = Executor(train_pool=pool, count_devices=lambda: count)
    original, _request.choose_executor = _request.choose_executor, lambda *_: executor
    try:
        asked = templates[: int(count * SECONDS / SLEEP)]
        request = TrainingRequest.of(asked, data, Recipe(epochs=2, batch_size=64), 0, 0, store)
        start = time.perf_counter()
        rows = list(run_trials(request))
        seconds = time.perf_counter() - start
    finally:
        _request.choose_executor = original
    assert len(rows) == len(asked) and {row.status for row in rows} == {"ok"}
    return len(rows) / seconds


def trained(workers: str, templates: list, data: jnas.Dataset) -> float:
    """Returns the seconds of training templates, the workers being there."""
    recipe = Recipe.fast(epochs=2)
    jnas.evaluate(templates[:4], data, recipe, progress=False, options=EngineOptions(workers=workers))
    start = time.perf_counter()
    rows = jnas.evaluate(templates[4:], data, recipe, progress=False, options=EngineOptions(workers=workers))
    assert {row.status for row in rows} == {"ok"}
    return time.perf_counter() - start


def by_ray(templates: list, data: jnas.Dataset) -> float:
    """Returns the seconds of `trained` on a cluster that is started for it."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_ip_address": LOOPBACK, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        return trained("ray", templates, data)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=64, help="trained by pipes and by Ray; 0 leaves that out")
    parser.add_argument("--workers", type=int, default=1000, help="that sleep, at most")
    parser.add_argument("--json")
    options = parser.parse_args()
    os.environ |= {"JNAS_EXECUTABLE_CACHE": "0", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    data, figures = jnas.load_data("excerpt"), {"sleep_seconds": SLEEP, "served": []}
    space = jnas.Space(style="modern", max_macs=1_000_000)
    num_asked = int(options.workers * SECONDS / SLEEP)
    genomes = space.sample_valid(jax.random.key(0), max(num_asked, options.templates + 4))
    templates = list({template.hash: template for template in map(space.template, genomes)}.values())
    if options.templates:
        some = templates[: options.templates + 4]
        figures |= {"pipes_seconds": trained("2", some, data), "ray_seconds": by_ray(some, data)}
        figures["ray_to_pipes"] = figures["ray_seconds"] / figures["pipes_seconds"]
    with tempfile.TemporaryDirectory() as folder:
        counts = itertools.takewhile(lambda count: count <= options.workers, (10**power for power in range(9)))
        for count in counts:
            store = Path(folder) / f"{count}.duckdb"
            line = {"workers": count, "asked": count / SLEEP}
            line["with_store"] = served(count, templates, data, store)
            line["without"] = served(count, templates, data, None)
            figures["served"].append(line)
            print(line, flush=True)
    report(figures, options, ("pipes_seconds", "ray_seconds", "ray_to_pipes"))


if __name__ == "__main__":
    run(main)
