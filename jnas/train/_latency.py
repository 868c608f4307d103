"""How long a template takes to classify, measured on this device."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas.space import Template

_TURNS = 7
_LEAST_SECONDS = 0.01


def latency_ms(template: Template, images: int = 1) -> float:
    """Milliseconds for the logits of `images` images at once, in evaluation mode, without compiling.

    The median of 7 turns of at least 10 ms each. Weights are untrained: they do not change the time.
    """
    graph, state = nnx.split(_evaluated(template))
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    channels, height, width = template.in_shape
    x = jnp.zeros((images, height, width, channels))
    jax.block_until_ready(forward(state, x))
    calls, turns = 1, []
    while len(turns) < _TURNS:
        start = time.perf_counter()
        for _ in range(calls):
            result = forward(state, x)
        jax.block_until_ready(result)
        seconds = time.perf_counter() - start
        if seconds < _LEAST_SECONDS and not turns:
            calls = max(2 * calls, int(1.2 * calls * _LEAST_SECONDS / max(seconds, 1e-9)))
            continue
        turns.append(seconds / calls)
    return 1e3 * float(np.median(turns))


def _evaluated(template: Template) -> nnx.Module:
    module = template.build(nnx.Rngs(0))
    module.eval()
    return module
