"""Which algorithm of a convolution is fastest for which shape, and what each optimisation brings to a whole step.

    python benchmarks/operations.py [--hashes FILE.csv] [--limit N] [--peer torch] [--json OUT.json]
    python benchmarks/operations.py --limit 0 --steps K [--chains] [--without fft dead_pixels] [--json OUT.json]

First part: each distinct convolution of the first N templates of FILE (column `hash`; 3x32x32 images, 10 classes) at
batch 256: milliseconds of the forward pass and of both gradients by each algorithm of `jnas.nn.ops.conv`, and the
algorithm that `choose_algorithm` returns. `lost` is the time of the chosen algorithms over that of the fastest ones,
`gained` the time of XLA's own convolution (`direct`) over that of the chosen ones; both over all shapes together, and
as a geometric mean. With `--peer torch` PyTorch's time stands beside them, and `torch_over_fastest` is PyTorch's over
that of the fastest algorithms, all shapes together: what is left to gain from choosing better.

Second part: a training step of the first K templates, or with `--chains` of chains of padded 3x3 convolutions, with
something left out, both in turns in one process: an algorithm (`direct` takes its place), `dead_pixels` (all pixels are
computed), `algorithms` (`direct` computes all convolutions), or `options` (jnas' compiler options). `step_ratios` is
the time without over the time with it: the geometric mean of the templates, and that of all steps together.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from common import HASHES, geometric_mean, read_templates, report, run
from steps import LONG, clocked, jnas_steps, timed, tune_process

import jnas
from jnas._runtime.compile_options import compiler_options
from jnas.nn import _build, _signature
from jnas.nn.ops.conv import _conv2d
from jnas.nn.ops.conv._conv2d import ALGORITHMS
from jnas.nn.ops.conv._dispatch import choose_algorithm
from jnas.nn.ops.conv._geometry import Geometry
from jnas.space import _layers as lt
from jnas.train import Recipe, Trainer, Trial, _compiled

BATCH = 256
MAX_IM2COL_BYTES = 2 << 30
MAX_DENSE_BYTES = 64 << 20
OPTIMISATIONS = ("algorithms", "dead_pixels", "options")
"""What can be left out of steps beside single algorithms."""
P, G = "max pooling", "global average pooling"
CHAINS = [
    [16, 16, P, 32, 32, P, 64, 64, P],
    [16, P, 32, 64, P, 128, P],
    [32, P, 64, 64, P, 128, 128, P],
    [32, 32, P, 64, 64, P, 128, 128, G],
    [64, P, 128, P, 128, P],
    [32, 32, 32, P, 64, 64, P],
    [16, 32, P, 64, 64, P, 96, 96, G],
    [64, P, 64, 64, P, 128, 128, P],
    [32, P, 32, 32, P, 64, 64, 64, G],
    [16, 16, 16, P, 32, 32, 32, P, 64, 64, 64, G],
]
"""Output channels of padded 3x3 convolutions, each with batch norm and ReLU, and poolings between: 5 to 40 M MACs."""


def chain(words: list) -> jnas.Template:
    """Returns the template of a chain."""
    layers: list[lt.LayerTemplate] = []
    for word in words:
        if word == P:
            layers.append(lt.MaxPool2d(2, 2))
        elif word == G:
            layers.append(lt.GlobalAvgPool2d())
        else:
            layers += [lt.Conv2d(word, 3, 1, True), lt.BatchNorm2d(), lt.ReLU()]
    return jnas.Template([*layers, lt.Flatten(), lt.Linear(10)], (3, 32, 32))


def geometries(templates: list[jnas.Template]) -> list[Geometry]:
    """Returns the distinct convolutions of templates."""
    found = {}
    for template in templates:
        inputs = (template.in_shape, *template.shapes)
        for layer, (channels, *sides) in zip(template.layers, inputs, strict=False):
            if isinstance(layer, lt.Conv2d):
                sizes = layer.out_channels, layer.kernel_size, layer.stride, layer.pad
                found[Geometry(*sides, channels, *sizes)] = None
    return list(found)


def milliseconds(function: Callable, *arrays: jax.Array) -> float:
    """Returns the median of a few calls."""
    compiled = jax.jit(function).lower(*arrays).compile(compiler_options("train"))
    jax.block_until_ready(compiled(*arrays))
    times = []
    begun = time.perf_counter()
    while len(times) < 3 or (len(times) < 9 and time.perf_counter() - begun < 0.2):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def is_tried(algorithm: str, geometry: Geometry) -> bool:
    """Returns whether an algorithm that is not chosen takes little enough memory and time to be measured."""
    pixels, out_pixels = geometry.height * geometry.width, int(np.prod(geometry.out_size))
    windows = 4 * BATCH * out_pixels * geometry.kernel_size**2 * geometry.in_channels
    matrix = 4 * pixels * geometry.in_channels * out_pixels * geometry.out_channels
    return {
        "im2col": windows <= MAX_IM2COL_BYTES,
        "im2col_planar": windows <= MAX_IM2COL_BYTES and geometry.in_channels <= 16,
        "dense_matrix": matrix <= MAX_DENSE_BYTES,
    }.get(algorithm, True)


def measure(geometry: Geometry, torch: bool = False) -> dict:
    """Returns milliseconds of each algorithm and of PyTorch, and the algorithms that are chosen."""
    generator = np.random.default_rng(0)
    size = geometry.kernel_size
    shapes = {
        "x": (BATCH, geometry.height, geometry.width, geometry.in_channels),
        "kernel": (size, size, geometry.in_channels, geometry.out_channels),
        "y": (BATCH, *geometry.out_size, geometry.out_channels),
    }
    arrays = {name: jnp.asarray(generator.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    operands = {"forward": ("x", "kernel"), "input_gradient": ("y", "kernel"), "kernel_gradient": ("x", "y")}
    row: dict[str, Any] = {"geometry": geometry._asdict(), "ms": {}, "chosen": {}}
    if torch:
        row["torch"] = torch_milliseconds(geometry)
    for conv_pass, (one, other) in operands.items():
        if conv_pass == "input_gradient" and geometry.in_channels == 3:
            continue  # images have no gradient
        chosen = row["chosen"][conv_pass] = choose_algorithm(geometry, conv_pass, jax.default_backend())
        row["ms"][conv_pass] = {
            algorithm: milliseconds(lambda a, b, f=function: f(a, b, geometry), arrays[one], arrays[other])
            for (algorithm, its_pass), function in ALGORITHMS.items()
            if its_pass == conv_pass and (algorithm == chosen or is_tried(algorithm, geometry))
        }
    return row


def torch_milliseconds(geometry: Geometry) -> dict[str, float]:
    """Returns the same by PyTorch, with channels last."""
    import torch

    shape = (BATCH, geometry.in_channels, geometry.height, geometry.width)
    size, last = geometry.kernel_size, {"memory_format": torch.channels_last}
    x = torch.randn(shape).contiguous(**last)
    kernel = torch.randn(geometry.out_channels, geometry.in_channels, size, size).contiguous(**last)
    stride, padding = [geometry.stride] * 2, [geometry.padding] * 2
    gradient = torch.randn_like(torch.nn.functional.conv2d(x, kernel, None, stride, padding))

    def backward(*wanted: bool) -> None:
        torch.ops.aten.convolution_backward(
            *(gradient, x, kernel, None, stride, padding, [1, 1], False, [0, 0], 1, [*wanted, False])
        )

    runs = {
        "forward": lambda: torch.nn.functional.conv2d(x, kernel, None, stride, padding),
        "input_gradient": lambda: backward(True, False),
        "kernel_gradient": lambda: backward(False, True),
    }

    def repeated(run: Callable) -> Callable:
        return lambda count: [run() for _ in range(count)]

    return timed({name: clocked(repeated(run)) for name, run in runs.items()}, 5, 0.04, 1)


def left_out(name: str) -> Any:
    """Returns a context in which programs are made without an algorithm or another optimisation."""
    if name == "options":
        return mock.patch.object(_compiled, "compiler_options", lambda *_, **__: {})
    if name == "dead_pixels":
        return mock.patch.object(_build, "required_regions", lambda layers, *_: [None] * len(layers))

    def choose(geometry, conv_pass, platform):
        algorithm = choose_algorithm(geometry, conv_pass, platform)
        return "direct" if name in (algorithm, "algorithms") else algorithm

    return mock.patch.object(_conv2d, "choose_algorithm", choose)


def steps(templates: list[jnas.Template], without: list[str]) -> list[dict]:
    """Returns milliseconds of whole steps, as they are and with something left out."""
    os.environ["JNAS_EXECUTABLE_CACHE"] = "0"  # the cache of programs does not know what is left out
    tune_process()
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=LONG)
    rows = []
    for template in templates:
        clocks, compiling = {}, {}
        for name in ["jnas", *without]:
            for cached in (_conv2d._operation, _signature.graph_defs):
                cached.cache_clear()
            jax.clear_caches()
            with left_out(name):
                made = Trainer(template, recipe, split)
                compiling[name] = made.compile()
            clocks[name] = clocked(jnas_steps(made, Trial(template)))
        rows.append({"hash": template.hash, "ms": timed(clocks, 7, 0.3, 2), "compile_seconds": compiling})
        print(rows[-1], flush=True)
    return rows


def convolution_figures(rows: list[dict]) -> dict:
    """Returns what the choice of algorithms loses and gains."""
    triples = [
        (times[row["chosen"][conv_pass]], min(times.values()), times["direct"])
        for row in rows
        for conv_pass, times in row["ms"].items()
    ]
    chosen, fastest, direct = np.array(triples).T
    figures = {
        "convolutions": len(rows),
        "lost": {"together": float(chosen.sum() / fastest.sum()), "geomean": geometric_mean(chosen / fastest)},
        "gained": {"together": float(direct.sum() / chosen.sum()), "geomean": geometric_mean(direct / chosen)},
    }
    peers = [row["torch"][conv_pass] for row in rows if "torch" in row for conv_pass in row["ms"]]
    if peers:
        figures["torch_over_fastest"] = float(sum(peers) / fastest.sum())
    return figures


def step_ratios(rows: list[dict], without: list[str]) -> dict:
    """Returns the time of steps without something over the time with it."""
    return {
        name: {
            "geomean": geometric_mean([row["ms"][name] / row["ms"]["jnas"] for row in rows]),
            "together": sum(row["ms"][name] for row in rows) / sum(row["ms"]["jnas"] for row in rows),
        }
        for name in without
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--chains", action="store_true", help="steps of chains, not of templates of FILE")
    names = sorted({algorithm for algorithm, _ in ALGORITHMS})
    parser.add_argument("--without", nargs="+", default=["algorithms"], choices=[*names, *OPTIMISATIONS])
    parser.add_argument("--peer", choices=["torch", "none"], default="none")
    parser.add_argument("--json")
    options = parser.parse_args()
    figures: dict[str, Any] = {"rows": []}
    for geometry in geometries(read_templates(options.hashes, options.limit)) if options.limit else ():
        figures["rows"].append(measure(geometry, options.peer == "torch"))
        print(figures["rows"][-1], flush=True)
    if figures["rows"]:
        figures |= convolution_figures(figures["rows"])
    if options.steps:
        templates = list(map(chain, CHAINS)) if options.chains else read_templates(options.hashes, options.steps)
        figures["steps"] = steps(templates[: options.steps], options.without)
        figures["step_ratios"] = step_ratios(figures["steps"], options.without)
    report(figures, options, ("convolutions", "lost", "gained", "torch_over_fastest", "step_ratios"))


if __name__ == "__main__":
    run(main)
