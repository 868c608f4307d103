"""Milliseconds of training steps in one precision or two, or seconds of processes that train side by side, for gpu.py.

    python benchmarks/gpu_steps.py --hashes HASH ... [--precisions float32 bfloat16] [--direct] [--seconds 0.3]
        [--json OUT.json]
    python benchmarks/gpu_steps.py --hashes HASH ... --side-by-side 2 4 [--seconds 2] [--json OUT.json]

First form: a step at batch 256 under the recipe `sophius`, precisions in turns, and what its backward pass reads of the
forward pass (see saved_bytes.py). With `--direct` convolutions are XLA's own.

Second form: a process for each template. `alone_seconds` is what so many of them take one after the other, each for
about `--seconds`, `together_seconds` what the same work takes at once, and `gain` the former over the latter.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from common import report, run
from operations import left_out
from saved_bytes import saved_bytes
from steps import LONG, Server, clocked, jnas_steps, timed, tune_process

import jnas
from jnas.train import Recipe, Trainer, Trial

ROUNDS = 3


def time_steps(template: jnas.Template, precisions: list[str], seconds: float) -> dict:
    """Returns milliseconds a step, seconds to compile, and saved bytes of each precision."""
    split, clocks, least = jnas.load_data().split(0.2), {}, 2
    row: dict = {"hash": template.hash, "macs": template.cost.macs, "compile_seconds": {}, "saved": {}}
    for precision in precisions:
        trainer = Trainer(template, Recipe.sophius(epochs=LONG, precision=precision), split)
        row["compile_seconds"][precision] = trainer.compile()
        row["saved"][precision] = saved_bytes(trainer.programs.train.as_text())
        clocks[precision] = clocked(jnas_steps(trainer, Trial(template)))
        least = trainer.spec.steps_per_epoch if trainer.spec.scan else 2
    return row | {"ms": timed(clocks, ROUNDS, seconds, least)}


def time_side_by_side(hashes: list[str], numbers: list[int], seconds: float) -> dict:
    """Returns seconds of so many processes one after the other and at once, and their ratio, for each number."""
    servers = [Server("jnas") for _ in hashes]
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            prepared = list(pool.map(Server.prepare, servers, hashes))
            clocks = [found["jnas"] for found, _ in prepared]
            least = [about["least_steps"] for _, about in prepared]
            list(pool.map(lambda clock, count: clock(count), clocks, least))  # warm-up
            counts = [count * max(1, round(seconds / clock(count))) for clock, count in zip(clocks, least, strict=True)]
            alone = [clock(count) for clock, count in zip(clocks, counts, strict=True)]
            found = {"each_alone_seconds": alone}
            for number in numbers:
                start = time.perf_counter()
                list(pool.map(lambda clock, count: clock(count), clocks[:number], counts[:number]))
                together, apart = time.perf_counter() - start, sum(alone[:number])
                found[str(number)] = {
                    "alone_seconds": apart,
                    "together_seconds": together,
                    "gain": apart / together,
                }
    finally:
        for server in servers:
            server.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", nargs="+", required=True)
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--direct", action="store_true", help="XLA's own convolutions")
    parser.add_argument("--side-by-side", type=int, nargs="+", default=[], metavar="N")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.side_by_side:
        report(time_side_by_side(options.hashes, options.side_by_side, options.seconds), options)
        return
    tune_process()
    figures: dict = {"rows": []}
    with left_out("algorithms") if options.direct else contextlib.nullcontext():
        for hash in options.hashes:
            figures["rows"].append(time_steps(jnas.Template.from_hash(hash), options.precisions, options.seconds))
            report(figures, options)  # a run that is ended later keeps these


if __name__ == "__main__":
    run(main)
