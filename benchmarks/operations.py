"""Which way to compute a convolution is fastest for which shape, and what jnas' own ways bring to a whole step.

    python benchmarks/operations.py [--hashes FILE.csv] [--limit N] [--steps K] [--peer torch] [--json OUT.json]

First part: each distinct convolution of the first N templates of FILE (column `hash`; 3x32x32 images, 10 classes), at
batch 256: milliseconds of the forward pass and of both gradients in each way that `jnas.nn.ops.conv._conv2d` knows, and
which one its rule takes. `lost` is the time of the rule's choices over that of the fastest ways, `gained` the time of
XLA's own convolution everywhere over that of the rule's choices; both over all shapes together, and as a geometric
mean. With `--peer torch` PyTorch's time stands beside them, and `torch_over_fastest` is PyTorch's over that of the
fastest ways, all shapes together: what is left to gain from choosing better.

Second part: a whole training step of the first K templates with one of jnas' ways left out: `xla` takes XLA's
convolution for everything, `plain` compiles without jnas' compiler options. Run it once more with JNAS_KEEP_MEMORY=0 to
see what keeping freed memory in large pages brings.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from common import HASHES, geometric_mean, read_templates, report, run
from steps import clocked, jnas_steps, timed

import jnas
from jnas._runtime.compile_options import compiler_options
from jnas.nn.ops.conv import _conv2d as convolution
from jnas.nn.ops.conv import _im2col as patches
from jnas.nn.ops.conv._shape import Geometry
from jnas.space import _layers as lt
from jnas.train import Recipe, Trainer, Trial
from jnas.train import _trainer as trainer

BATCH = 256
WAYS = {
    "window": convolution._WINDOW,
    "patches": convolution._PATCHES,
    "dense": convolution._DENSE,
    "phases": {"input": convolution._phases_input},
    "padded": {"forward": convolution._padded_forward},
    "neighbours": {"forward": convolution._neighbours_forward},
    "taps": {"kernel": patches.kernel_gradient_by_taps},
    "spectral": convolution._SPECTRAL,
}
LARGEST = 2 << 30
"""Bytes of patches from which a way is not tried."""


def geometries(templates: list[jnas.Template]) -> list[Geometry]:
    """The distinct convolutions of templates."""
    found = {}
    for template in templates:
        for layer, (channels, *sides) in zip(
            template.layers, (template.in_shape, *map(tuple, template.shapes)), strict=False
        ):
            if isinstance(layer, lt.Conv2d):
                sizes = layer.out_channels, layer.kernel_size, layer.stride, layer.pad
                found[Geometry(*sides, channels, *sizes)] = None
    return list(found)


def milliseconds(function: Callable, *arrays: jax.Array) -> float:
    """The median of a few calls."""
    compiled = jax.jit(function).lower(*arrays).compile(compiler_options("train"))
    jax.block_until_ready(compiled(*arrays))
    times = []
    begun = time.perf_counter()
    while len(times) < 3 or (len(times) < 9 and time.perf_counter() - begun < 0.2):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure(geometry: Geometry, torch: bool = False) -> dict:
    """Milliseconds of each way, the rule's, and PyTorch's."""
    generator = np.random.default_rng(0)
    shapes = {
        "x": (BATCH, geometry.height, geometry.width, geometry.channels),
        "kernel": (geometry.size, geometry.size, geometry.channels, geometry.out_channels),
        "y": (BATCH, *geometry.out, geometry.out_channels),
    }
    arrays = {name: jnp.asarray(generator.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    operands = {"forward": ("x", "kernel"), "input": ("y", "kernel"), "kernel": ("x", "y")}
    matrix = 4 * BATCH * np.prod(geometry.out) * geometry.size**2 * geometry.channels
    row = {"geometry": geometry._asdict(), "ways": {}, "rule": {}}
    if torch:
        row["torch"] = torch_milliseconds(geometry)
    for name, (one, other) in operands.items():
        if name == "input" and geometry.channels == 3:
            continue  # images have no gradient
        rule = convolution._rule(name, geometry)
        row["ways"][name] = {}
        for way, operations in WAYS.items():
            operation = operations.get(name)
            unsuited = {
                "patches": matrix > LARGEST,
                "dense": not geometry.suits_dense(6),
                "neighbours": geometry.stride > 1,
                "taps": geometry.channels > 16,
            }
            if operation is None or (unsuited.get(way, False) and operation is not rule):
                continue
            taken = milliseconds(lambda a, b, f=operation: f(a, b, geometry), arrays[one], arrays[other])
            row["ways"][name][way] = taken
            if operation is rule:
                row["rule"][name] = way
    return row


def torch_milliseconds(geometry: Geometry) -> dict[str, float]:
    """The same by PyTorch, with channels last."""
    import torch

    shape = (BATCH, geometry.channels, geometry.height, geometry.width)
    last = {"memory_format": torch.channels_last}
    x = torch.randn(shape).contiguous(**last)
    kernel = torch.randn(geometry.out_channels, geometry.channels, geometry.size, geometry.size).contiguous(**last)
    stride, pad = [geometry.stride] * 2, [geometry.pad] * 2
    gradient = torch.randn_like(torch.nn.functional.conv2d(x, kernel, None, stride, pad))

    def backward(*wanted: bool) -> None:
        torch.ops.aten.convolution_backward(
            *(gradient, x, kernel, None, stride, pad, [1, 1], False, [0, 0], 1, [*wanted, False])
        )

    runs = {
        "forward": lambda: torch.nn.functional.conv2d(x, kernel, None, stride, pad),
        "input": lambda: backward(True, False),
        "kernel": lambda: backward(False, True),
    }

    def repeated(run: Callable) -> Callable:
        return lambda count: [run() for _ in range(count)]

    return timed({name: clocked(repeated(run)) for name, run in runs.items()}, 5, 0.04, 1)


def steps(templates: list[jnas.Template]) -> list[dict]:
    """Milliseconds of whole steps, as they are and with something left out."""
    split = jnas.load_data().split(0.2)
    recipe = Recipe.sophius(epochs=1)
    without = {
        "jnas": {},
        "xla": {"target": convolution, "attribute": "_rule", "new": lambda name, _: convolution._WINDOW[name]},
        "plain": {"target": trainer, "attribute": "compiler_options", "new": lambda brief=False: {}},
    }
    rows = []
    for template in templates:
        runs, compiling = {}, {}
        for name, change in without.items():
            convolution._operation.cache_clear()
            jax.clear_caches()
            made = Trainer(template, recipe, split)
            with mock.patch.object(**change) if change else mock.MagicMock():
                compiling[name] = made.compile()
            runs[name] = clocked(jnas_steps(made, Trial(template)))
        rows.append({"hash": template.hash, "ms": timed(runs, 3, 0.4, 2), "compile_seconds": compiling})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", default=HASHES)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peer", choices=["torch", "none"], default="none")
    parser.add_argument("--json")
    options = parser.parse_args()
    templates = read_templates(options.hashes, options.limit)
    rows = []
    for geometry in geometries(templates):
        rows.append(measure(geometry, options.peer == "torch"))
        shape = "{height}x{width}x{channels} -> {out_channels}, {size}x{size} / {stride}, pad {pad}".format(
            **geometry._asdict()
        )
        ways = "; ".join(
            f"{name} " + " ".join(f"{'*' * (way == rows[-1]['rule'][name])}{way} {ms:.2f}" for way, ms in found.items())
            for name, found in rows[-1]["ways"].items()
        )
        print(f"{shape}: {ways}", flush=True)
    triples = [
        (found[row["rule"][name]], min(found.values()), found["window"])
        for row in rows
        for name, found in row["ways"].items()
    ]
    chosen, fastest, window = np.array(triples).T
    result = {
        "convolutions": len(rows),
        "lost": {"together": float(chosen.sum() / fastest.sum()), "geomean": geometric_mean(chosen / fastest)},
        "gained": {"together": float(window.sum() / chosen.sum()), "geomean": geometric_mean(window / chosen)},
        "rows": rows,
    }
    brief = ["convolutions", "lost", "gained"]
    if options.peer == "torch":
        peers = [row["torch"][name] for row in rows for name in row["ways"]]
        result["torch_over_fastest"] = float(sum(peers) / fastest.sum())
        brief.append("torch_over_fastest")
    if options.steps:
        result["steps"] = steps(templates[: options.steps])
        result["steps_ratio"] = {
            name: geometric_mean([row["ms"][name] / row["ms"]["jnas"] for row in result["steps"]])
            for name in ("xla", "plain")
        }
        brief.append("steps_ratio")
    report(result, options, brief)


if __name__ == "__main__":
    run(main)
