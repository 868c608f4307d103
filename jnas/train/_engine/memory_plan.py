"""How many lanes to train side by side: a cost model of a structure's training step, and the device's memory.

A step takes as long as its arithmetic or its memory traffic, whichever is longer, and its launches. Lanes in one
vmapped program share the launches; convolutions then lay out their patches, which costs traffic and memory. So a GPU
that small models leave idle trains them side by side, and a CPU, which one model fills, trains them in turn.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from jnas._runtime.compilation_cache import read_json, write_json
from jnas.nn._cost import Footprint
from jnas.nn._signature import Structure

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
"""Lanes a program may have: a short ladder, so that programs recur."""

_BACKWARD = 3
"""A training step's arithmetic in forward passes: forward, gradient of the input, gradient of the weights."""
_TOUCHED = 8
"""How often a step reads or writes each feature map: a mean over the space's layers."""
_KEPT = 3
"""Feature maps that are in memory at once, each as often as this: value, gradient, temporary."""
_ENVELOPE = 4
"""How much longer a layer takes to compile where its sizes are run-time data."""
_BRIEF = 2
"""Training that takes less than this many times as long as compiling is worth a program that compiles quickly."""
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
      gather: how many times as long memory traffic takes where positions are run-time data.
      compile_base, compile_layer: seconds to compile a program, and for each of its layers.
      compile_threads: programs that compile at the same time.
      programs: programs that train at the same time.
      patches: whether a lone lane's convolutions lay out their patches, as those of lanes side by side do.
      name: what JAX calls it.
    """

    memory: int
    macs: float
    bandwidth: float
    launch: float
    gather: float = 1.0
    compile_base: float = 0.0
    compile_layer: float = 0.0
    compile_threads: int = 1
    programs: int = 1
    patches: bool = False
    name: str = ""

    @classmethod
    def here(cls, memory: int | None = None) -> Device:
        """JAX's default device; `memory` bytes, or what is free.

        Speeds are those that `jnas.calibrate` measured here and kept, or else rough defaults.
        """
        device = jax.local_devices()[0]
        memory = int(free_memory(device) * 0.9) if memory is None else memory
        found = cpu(memory) if device.platform == "cpu" else gpu(memory)
        return dataclasses.replace(found, **kept(device.device_kind), name=device.device_kind)


def cpu(memory: int = 16 << 30, cores: int | None = None) -> Device:
    """A CPU's defaults, measured with benchmarks/steps.py on 2 cores of an AMD EPYC.

    Compiling and training share the cores, so compiling ahead hides nothing.
    """
    cores = cores or os.cpu_count() or 1
    speeds = {"macs": 40e9 * cores, "bandwidth": 10e9 * cores, "launch": 5e-7, "gather": 4}
    return Device(memory, **speeds, compile_base=0.3, compile_layer=0.06, programs=min(cores, 2))


def gpu(memory: int = 120 << 30, cores: int | None = None) -> Device:
    """A large GPU's defaults, measured on an H100 with benchmarks/structures.py, but for `gather`, which is a guess.

    Processes compile at the same time there; threads of one process hold one another up.
    """
    speeds = {"macs": 22e12, "bandwidth": 2.5e12, "launch": 2.2e-6, "gather": 1.5}
    threads = max(compile_processes("gpu", cores), 1)
    return Device(memory, **speeds, compile_base=0.8, compile_layer=0.1, compile_threads=threads, patches=True)


def compile_processes(platform: str, cores: int | None = None) -> int:
    """How many processes are to compile for a platform: half the cores for a CPU, a quarter for a GPU, 4 at most.

    For a GPU XLA keeps three to four cores busy with one program.
    """
    return min(4, (cores or os.cpu_count() or 1) // (2 if platform == "cpu" else 4))


MEASURED = ("macs", "bandwidth", "launch", "gather", "compile_base", "compile_layer")


def kept(name: str) -> dict[str, float]:
    """What was measured on a device of that name, if anything."""
    found = read_json(_profile(name), {})
    fine = isinstance(found, dict) and set(found) == set(MEASURED)
    return found if fine and all(isinstance(value, float) and value > 0 for value in found.values()) else {}


def keep(device: Device) -> None:
    """Keeps a device's speeds for later runs."""
    write_json(_profile(device.name), {name: getattr(device, name) for name in MEASURED})


def _profile(name: str) -> str:
    return "device-" + re.sub(r"\W+", "-", name).strip("-") + ".json"


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
        memory = _memory(structure, batch_size, width, device)
        if memory <= device.memory:
            chunks = -(-lanes // width)
            plans.append(Plan(width, memory, chunks * _seconds(structure, batch_size, width, device)))
    return min(plans, key=lambda plan: plan.seconds, default=None)


def required_memory(structure: Structure, batch_size: int, device: Device) -> int:
    """Bytes that training one lane takes, as the model expects."""
    return _memory(structure, batch_size, 1, device)


def _memory(structure: Structure, batch_size: int, width: int, device: Device) -> int:
    cost = structure.footprint
    patches = max(_patches(cost, width, device), default=0)
    return memory_of(cost.params, cost.maps, patches, batch_size, width)


def memory_of(params, maps, patches, batch_size, width):
    """Bytes that training takes, `patches` being those of one convolution; numbers, or arrays of them."""
    return 4 * width * (batch_size * (_KEPT * maps + 2 * patches) + _PARAMETERS * params)


def _seconds(structure: Structure, batch_size: int, width: int, device: Device) -> float:
    cost = structure.footprint
    patches = sum(_patches(cost, width, device))
    device = device if cost.gathers else dataclasses.replace(device, gather=1.0)
    return step_seconds(cost.macs, cost.params, cost.maps, patches, cost.layers, batch_size, width, device)


def step_seconds(macs, params, maps, patches, layers, batch_size, width, device: Device):
    """Seconds of a training step of `width` lanes; numbers, or arrays of them (see `Footprint`)."""
    memory = 4 * (device.gather * batch_size * (_TOUCHED * maps + 4 * patches) + 2 * _PARAMETERS * params)
    arithmetic = _BACKWARD * macs * batch_size
    launches = 12 * layers * device.launch
    return np.maximum(width * arithmetic / device.macs, width * memory / device.bandwidth) + launches


def brief(structure: Structure, batch_size: int, width: int, steps: int, device: Device) -> bool:
    """Whether so many steps take so little time that the program should rather compile quickly than run quickly."""
    cost = structure.footprint
    compiling = compile_seconds(cost.layers, device, envelope=cost.gathers)
    return bool(steps * _seconds(structure, batch_size, width, device) < _BRIEF * compiling)


def _patches(cost: Footprint, width: int, device: Device) -> tuple[int, ...]:
    """Elements of the patches that a step lays out for one image."""
    return cost.patches if width > 1 or cost.gathers or device.patches else ()


def traffic(cost: Footprint, batch_size: int, width: int, device: Device) -> int:
    """Bytes that one lane of a step reads and writes, as the model counts."""
    patches = sum(_patches(cost, width, device))
    return 4 * (batch_size * (_TOUCHED * cost.maps + 4 * patches) + 2 * _PARAMETERS * cost.params)


def compile_seconds(layers, device: Device, envelope: bool = False):
    """Wall clock to compile a program of so many layers; a number or an array.

    An envelope's layers take longer, each being a gather with an index map of its own.
    """
    seconds = device.compile_base + device.compile_layer * layers * (_ENVELOPE if envelope else 1)
    return seconds / device.compile_threads
