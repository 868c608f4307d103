"""What JAX computes on: its name, its memory, its cores."""

import functools
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jnas._runtime.latency import num_cores, processor_name
from jnas._validation import shown
from jnas.errors import JnasError


class Place(NamedTuple):
    """Where something is computed: the name of the machine, and what JAX computes on there."""

    host: str
    device: str


def check_device() -> None:
    """Raises a JnasError if JAX finds nothing to compute on."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where CUDA has no device
        platforms = os.environ.get("JAX_PLATFORM_NAME") or getattr(jax.config, "jax_platforms")  # noqa: B009
        reason = str(error).partition(" (set ")[0]  # the rest is advice
        because = f" ({shown(reason)})" if reason else ""
        message = f"must name platforms that JAX can use here, got {shown(platforms)}{because}"
        raise JnasError(f"JAX_PLATFORMS {message}; unset it, or set it to cpu.") from error


def device_name() -> str:
    """Returns what JAX computes on, such as "AMD EPYC 9654" or "NVIDIA H200"."""
    device = jax.devices()[0]
    return processor_name() if device.platform == "cpu" else device.device_kind


@functools.cache
def here() -> Place:
    """Returns where this process computes."""
    return Place(socket.gethostname(), device_name())


def describe_device() -> str:
    """Returns the platform and the number of cores, or the name of the GPU: "cpu (8 cores)", "gpu (NVIDIA H200)"."""
    platform, count = jax.default_backend(), num_cores()
    cores = f"{count} core{'s' * (count > 1)}"
    return f"{platform} ({cores if platform == 'cpu' else device_name()})"


def available_memory(device: Any) -> int:
    """Returns the bytes that training may use.

    On a GPU these are the bytes that are free; on a CPU those of the machine, or of the container where it has a
    limit: what other processes use there changes, and must not change which templates fit.
    """
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else 8 << 30
    return machine_memory()


def machine_memory() -> int:
    """Returns the bytes of memory of the machine, or of the container where it has a limit; 4 GiB if unknown."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (ValueError, OSError, AttributeError):
        return 4 << 30
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(name).read_text().strip() if Path(name).is_file() else "max"
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
