"""How many individuals a second a generation handles: ask (breed, repair, reject what is known), encode, predict, tell.

    python benchmarks/generations.py --json OUT.json

Genomes are those of `jnas.Space()` (38 rows of 6), without limits, or with those of `--max-macs` and `--max-params`.
Encoding makes the bit vectors, `[N, 38, 32]` uint8. The predictor is that of `jnas.Predictor`, fitted to invented
accuracies: it takes the same time as one fitted to real ones, and computes the facts that it sees beside the bits
itself. The fitness is the logarithm of the MACs. Each time is the median of `--repeats` generations, without
compiling; each generation is bred from the one before, and the archive holds all of them.
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import report, run

import jnas
from jnas._search.screening import encode, predict
from jnas.evolve import GeneticAlgorithm
from jnas.space import Space, infer_shapes, lengths, to_bits


def measure(size: int, space: Space, repeats: int, predictor) -> dict:
    """One population size."""
    algorithm = GeneticAlgorithm(space, archive_capacity=size * (repeats + 4))
    shape = space.in_shape, space.classes
    cost = jax.jit(lambda genomes: -jnp.log(infer_shapes(genomes, *shape).macs.to_float()))
    ask, tell = jax.jit(algorithm.ask), jax.jit(algorithm.tell, donate_argnums=0)
    encode_bits, unique = jax.jit(to_bits), jax.jit(lambda state: state.archive.count)
    genomes = space.sample(jax.random.key(0), size)
    state = jax.jit(algorithm.init)(jax.random.key(1), genomes, cost(genomes))
    parts = {"ask": [], "encode": [], "tell": []}
    for number in range(repeats + 1):
        before = int(unique(state))
        start = time.perf_counter()
        children, state = jax.block_until_ready(ask(state))
        asked = time.perf_counter()
        jax.block_until_ready(encode_bits(children))
        done = time.perf_counter()
        fitness = jax.block_until_ready(cost(children))
        told = time.perf_counter()
        state = jax.block_until_ready(tell(state, children, fitness))
        if number:  # the first one compiles
            for name, value in zip(parts, (asked - start, done - asked, time.perf_counter() - told), strict=True):
                parts[name].append(value)
    new = (int(unique(state)) - before) / size
    result = {f"{name}_seconds": float(np.median(values)) for name, values in parts.items()}
    result["seconds_without_predict"] = float(np.median(np.sum(list(parts.values()), 0)))
    result["new_and_valid_share"] = new
    valid = jax.jit(space.valid)(children).mean()
    result["valid_share"] = float(valid)
    result["programs"] = {"ask": ask._cache_size(), "tell": tell._cache_size()}
    if predictor is not None:
        predict(space, np.asarray(children[:2048]), predictor)  # compiles
        start = time.perf_counter()
        predict(space, np.asarray(children), predictor)
        result["predict_seconds"] = time.perf_counter() - start
        result["individuals_per_second"] = size / (result["seconds_without_predict"] + result["predict_seconds"])
    result["individuals_per_second_without_predict"] = size / result["seconds_without_predict"]
    return result


def fitted(space: Space) -> jnas.Predictor:
    """A predictor of made-up accuracies."""
    genomes = space.sample(jax.random.key(2), 128)
    accuracies = np.random.default_rng(0).uniform(0.1, 0.6, len(genomes))
    return jnas.Predictor(0).fit(np.asarray(encode(space, genomes)), np.asarray(lengths(genomes)), accuracies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000", help="populations")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--max-params", type=int)
    parser.add_argument("--max-macs", type=int)
    parser.add_argument("--no-predict", action="store_true", help="leave the predictor out")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    space = Space(max_params=arguments.max_params, max_macs=arguments.max_macs)
    predictor = None if arguments.no_predict else fitted(space)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    result = {str(size): measure(size, space, arguments.repeats, predictor) for size in sizes}
    report(result, arguments, tuple(result))


if __name__ == "__main__":
    run(main)
