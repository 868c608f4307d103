"""How many lanes to train side by side: a cost model of a structure's training step, and the device's memory.

A step takes as long as its arithmetic, its memory traffic, or its launches, whichever is longest. Lanes in one vmapped
program share the launches; convolutions then lay out their patches, which costs traffic and memory. So a GPU that small
models leave idle trains them side by side, and a CPU, which one model fills, trains them in turn.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import jax

from jnas.nn.lowering import Structure

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
"""Lanes a program may have: a short ladder, so that programs recur."""

_BACKWARD = 3
"""A training step's arithmetic in forward passes: forward, gradient of the input, gradient of the weights."""
_TOUCHED = 8
"""How often a step reads or writes each feature map: a mean over the space's layers."""
_KEPT = 3
"""Feature maps that are in memory at once, each as often as this: value, gradient, temporary."""
_PARAMETERS = 6
"""Copies of the parameters: value, gradient, two moments, and room for the update."""


@dataclass(frozen=True)
class Device:
    """What the cost model knows of a device.

    Attributes:
      memory: bytes that training may take.
      macs: multiply-accumulates a second that training steps reach.
      bandwidth: bytes a second.
      launch: seconds for each operation of a step, however small.
    """

    memory: int
    macs: float
    bandwidth: float
    launch: float

    @classmethod
    def here(cls, memory: int | None = None) -> Device:
        """JAX's default device; `memory` bytes, or what is free."""
        device = jax.local_devices()[0]
        memory = int(free_memory(device) * 0.9) if memory is None else memory
        if device.platform == "cpu":
            cores = os.cpu_count() or 1
            # Measured with benchmarks/steps.py on 2 cores of an AMD EPYC.
            return cls(memory, macs=40e9 * cores, bandwidth=10e9 * cores, launch=5e-6)
        # An H200's order of magnitude, from its data sheet: not measured.
        return cls(memory, macs=15e12, bandwidth=3e12, launch=5e-6)


def free_memory(device: jax.Device) -> int:
    """Bytes that are free on a GPU; on a CPU, those of the machine, or of the container where it has a limit."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return 8 << 30
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
    limits = [pages]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(name).read_text().strip() if Path(name).is_file() else "max"
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


@dataclass(frozen=True)
class Plan:
    """How to train the lanes of a structure.

    Attributes:
      width: lanes side by side in one program; 1 is in turn.
      memory: bytes that the model expects it to take.
      seconds: for one step of all lanes, as the model expects.
    """

    width: int
    memory: int
    seconds: float


def plan(structure: Structure, batch_size: int, lanes: int, device: Device) -> Plan | None:
    """The fastest way to train `lanes` lanes of a structure, or None where not even one fits into memory."""
    plans = []
    for width in WIDTHS:
        if width >= 2 * lanes:
            break
        memory = _memory(structure, batch_size, width)
        if memory <= device.memory:
            chunks = -(-lanes // width)
            plans.append(Plan(width, memory, chunks * _seconds(structure, batch_size, width, device)))
    return min(plans, key=lambda plan: plan.seconds, default=None)


def required_memory(structure: Structure, batch_size: int) -> int:
    """Bytes that training one lane takes, as the model expects."""
    return _memory(structure, batch_size, 1)


def _memory(structure: Structure, batch_size: int, width: int) -> int:
    cost = structure.footprint
    patches = max(cost.patches, default=0) if width > 1 or cost.gathers else 0
    return 4 * width * (batch_size * (_KEPT * cost.maps + 2 * patches) + _PARAMETERS * cost.params)


def _seconds(structure: Structure, batch_size: int, width: int, device: Device) -> float:
    cost = structure.footprint
    patches = sum(cost.patches) if width > 1 or cost.gathers else 0
    traffic = 4 * (batch_size * (_TOUCHED * cost.maps + 4 * patches) + 2 * _PARAMETERS * cost.params)
    arithmetic = _BACKWARD * cost.macs * batch_size
    launches = 12 * cost.layers * device.launch
    return max(width * arithmetic / device.macs, width * traffic / device.bandwidth) + launches
