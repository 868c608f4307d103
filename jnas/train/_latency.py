"""How long a template takes to classify, measured on this device."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas.space import Template

_REPEATS = 7
_MIN_SECONDS = 0.01


def latency_ms(template: Template, batch_size: int = 1) -> float:
    """Returns the milliseconds that the logits of a batch take, in evaluation mode, without compiling.

    The median of 7 repeats of at least 10 ms each. Weights are untrained: they do not change the time.
    """
    module = template.build(nnx.Rngs(0))
    module.eval()
    graph, state = nnx.split(module)
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    channels, height, width = template.in_shape
    x = jnp.zeros((batch_size, height, width, channels))
    jax.block_until_ready(forward(state, x))
    calls, seconds_per_call = 1, []
    while len(seconds_per_call) < _REPEATS:
        start = time.perf_counter()
        for _ in range(calls):
            result = forward(state, x)
        jax.block_until_ready(result)
        seconds = time.perf_counter() - start
        if seconds < _MIN_SECONDS and not seconds_per_call:
            calls = max(2 * calls, int(1.2 * calls * _MIN_SECONDS / max(seconds, 1e-9)))
            continue
        seconds_per_call.append(seconds / calls)
    return 1e3 * float(np.median(seconds_per_call))
