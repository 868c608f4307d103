"""Measuring the device: the speeds that the cost model goes by, once for each device."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jnas._runtime.compile_options import compiler_options
from jnas.data import Dataset
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train._engine.memory_plan import Device, keep
from jnas.train._recipe import Recipe
from jnas.train._trainer import Trainer

_ROWS, _DEPTH, _COLUMNS = 65_536, 576, 64
"""A matrix product as convolutions of such networks have it: 3x3 windows on 64 channels."""
_REACHED = 0.5
"""What training steps reach of it: gradients of convolutions are slower (benchmarks/RESULTS.md)."""
_CHAIN = 64


def calibrate() -> Device:
    """Measures JAX's default device in half a minute, keeps the result for later runs, and returns it.

    Measured are a typical matrix product, a pass over memory, windows by a gather and by slices, the time that an
    operation takes however small it is, and compiling a short and a long template, with the cache switched off.
    Without this, `Device.here` has rough defaults.
    """
    left = jnp.ones((_ROWS, _DEPTH))
    right = jnp.ones((_DEPTH, _COLUMNS))
    large = jnp.ones(1 << (25 if jax.default_backend() == "cpu" else 28))
    product = _seconds(lambda a, b: a @ b, left, right)
    traffic = _seconds(lambda a: a * 2 + 1, large)
    # Windows of four taps: as a gather, and as slices.
    maps = jnp.ones((64, 1024, 32))
    index = (jnp.arange(1024)[:, None] + jnp.arange(4)) % 1024
    gathered = _seconds(lambda x, index: x[:, index].sum(2), maps, index)
    sliced = _seconds(lambda x: sum(jnp.roll(x, -tap, 1) for tap in range(4)), maps)
    chain = _seconds(_chain, jnp.ones((8, 8)))
    _compiling(1)  # what happens only once, such as imports
    short, long = (_compiling(depth) for depth in (1, 4))
    layer = max((long[1] - short[1]) / (long[0] - short[0]), 1e-3)
    found = dataclasses.replace(
        Device.here(),
        macs=_REACHED * _ROWS * _DEPTH * _COLUMNS / product,
        bandwidth=2 * large.nbytes / traffic,
        launch=chain / _CHAIN,
        gather=max(gathered / sliced, 1.0),
        compile_base=max(short[1] - short[0] * layer, 1e-3),
        compile_layer=layer,
    )
    keep(found)
    return found


def _chain(x: jax.Array) -> jax.Array:
    """Operations that wait for one another, each a launch of its own."""
    for _ in range(_CHAIN):
        x = jax.lax.optimization_barrier(x @ x * 0.1)
    return x


def _seconds(function: Callable, *arrays: Any) -> float:
    """The fastest of a few calls."""
    compiled = jax.jit(function).lower(*arrays).compile(compiler_options())
    jax.block_until_ready(compiled(*arrays))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        times.append(time.perf_counter() - start)
    return min(times)


def _compiling(depth: int) -> tuple[int, float]:
    """Layers of a template of so many convolutions, and the seconds that its training takes to compile."""
    block = [lt.Conv2d(32, 3), lt.ReLU(), lt.BatchNorm2d(), lt.MaxPool2d(2)]
    template = Template([*block * depth, lt.Flatten(), lt.Linear(10)], (3, 32, 32))
    images, labels = np.zeros((64, 32, 32, 3), np.uint8), np.arange(64, dtype=np.int32) % 10
    split = Dataset("zeros", images, labels, images, labels, 10).split(0.5)
    cached = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX looks at the switch only once
    try:
        return len(template.layers), Trainer(template, Recipe.sophius(epochs=1, batch_size=32), split).compile()
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
        compilation_cache.reset_cache()
