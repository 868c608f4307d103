"""How many trials of a program train side by side: as many as the device gains by, and its memory holds."""

from __future__ import annotations

import jax

from jnas._runtime.devices import available_memory
from jnas.nn import CostEstimate

LANE_COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Lanes that a program may have: few values, so that programs recur."""

_MEMORY_FRACTION = 0.9
_LIVE_ACTIVATION_COPIES = 3
"""Each feature map is in memory this often at once: value, gradient, temporary."""
_PARAMETER_COPIES = 6
"""Value, gradient, two moments, and room for the update."""
_BYTES = 4


def training_memory(limit: int | None = None) -> int:
    """Returns the bytes that training may use: `limit`, or 90 % of what the device has."""
    return int(available_memory(jax.local_devices()[0]) * _MEMORY_FRACTION) if limit is None else limit


def choose_num_lanes(cost: CostEstimate, batch_size: int, num_trials: int, max_memory: int) -> int:
    """Returns how many trials train side by side; 0 if not even one fits into memory.

    Small networks leave a GPU idle, so there it is the smallest power of two that holds all trials, or the largest that
    fits into memory. A CPU gains nothing from lanes, whose convolutions lay out their patches: there it is 1.
    """
    is_cpu = jax.default_backend() == "cpu"
    lane_counts = [n for n in LANE_COUNTS if n == 1 or (not is_cpu and n < 2 * num_trials)]
    return max((n for n in lane_counts if required_memory(cost, batch_size, n) <= max_memory), default=0)


def required_memory(cost: CostEstimate, batch_size: int, num_lanes: int = 1) -> int:
    """Returns an estimate of the bytes that training takes.

    A single lane on a CPU convolves without laying out patches; several lanes, and a GPU, lay out those of one
    convolution at a time, and its gradient's.
    """
    uses_im2col = num_lanes > 1 or jax.default_backend() != "cpu"
    im2col = max(cost.im2col, default=0) if uses_im2col else 0
    per_image = _LIVE_ACTIVATION_COPIES * cost.activations + 2 * im2col
    return _BYTES * num_lanes * (batch_size * per_image + _PARAMETER_COPIES * cost.params)
