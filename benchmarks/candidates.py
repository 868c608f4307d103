"""Generate, encode, predict: how many random candidates a second pass through each, and through all three.

    python benchmarks/candidates.py --json OUT.json

`candidates_per_second` is with a predictor of the original's size (two LSTMs of 32, one network, bits alone),
`candidates_per_second_default` with the default ensemble, which also sees the facts. Compiling is not in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from common import HASHES, report, run
from tables import read

from jnas._runtime.compilation_cache import use_compilation_cache
from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.screening import chunks, encode
from jnas.predict import OriginalLSTM, Predictor, Regressor
from jnas.space import Space, to_bits


@fast_compile_jit(static_argnums=0)
def encode_bits(space: Space, genomes: jax.Array) -> jax.Array:
    """What the original sees."""
    return to_bits(genomes)


def screen(space: Space, genomes: np.ndarray, model: Regressor, encoder: Callable) -> np.ndarray:
    """The mean that a model predicts for each genome."""
    mean = np.empty(len(genomes), np.float32)
    for rows, part, used in chunks(genomes):
        mean[rows] = model.predict(np.asarray(encoder(space, part)), used)[0][: len(rows)]
    return mean


def seconds(work: Callable[[int], object], repeats: int) -> list[float]:
    """How long `work` of a number takes, each time; the first call, which compiles, does not count."""
    jax.block_until_ready(work(0))
    found = []
    for i in range(1, repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(work(i))
        found.append(time.perf_counter() - start)
    return found


def measure(space: Space, model: Regressor, encoder, count: int, repeats: int) -> dict:
    """Candidates a second: all three steps in one, and each alone."""

    def generate(i):
        return space.sample(jax.random.key(i), count)

    genomes = np.asarray(generate(0))

    def encode(i):
        return [encoder(space, part) for _, part, _ in chunks(genomes)]

    encoded = [(np.asarray(encoder(space, part)), used) for _, part, used in chunks(genomes)]

    def predict(i):
        return [model.predict(sequences, used) for sequences, used in encoded]

    def everything(i):
        return screen(space, np.asarray(generate(i)), model, encoder)

    found = {"candidates_per_second": everything, "generate": generate, "encode": encode, "predict": predict}
    result = {}
    for name, work in found.items():
        rates = [count / s for s in seconds(work, repeats)]
        result |= {name: statistics.median(rates), f"{name}_runs": rates}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default=HASHES, help="a table with a column hash to fit the predictors on")
    parser.add_argument("--candidates", type=int, default=32768, help="how many pass through at a time")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", help="where to write everything")
    options = parser.parse_args()
    use_compilation_cache()
    table = read(options.table)
    space = Space()
    original = OriginalLSTM().fit(table.bits, table.lengths, table.targets)
    default = Predictor().fit(table.sequences, table.lengths, table.targets)
    small = measure(space, original, encode_bits, options.candidates, options.repeats)
    large = measure(space, default, encode, options.candidates, options.repeats)
    result = {
        "candidates_per_second": small["candidates_per_second"],
        "candidates_per_second_default": large["candidates_per_second"],
        "parts": {
            key: {name: value for name, value in found.items() if not name.endswith("_runs")}
            for key, found in (("original_size", small), ("default", large))
        },
        "runs": {"original_size": small, "default": large},
    }
    report(result, options, ("candidates_per_second", "candidates_per_second_default", "parts"))


if __name__ == "__main__":
    run(main)
