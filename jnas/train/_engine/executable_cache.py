"""Compiled programs on disk, beside JAX's persistent cache: one that is taken from here is not even traced.

JAX's own cache knows a program by what it came out as, after tracing and lowering; which for a GPU take as long as
training a small template for some epochs, and hold Python's lock. Here the key is what the program is made from.
JNAS_PROCESSES=0 in the environment leaves JAX's cache alone at work.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
from jax.experimental import serialize_executable

from jnas._runtime.versions import versions

_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")


def load(made_from: Any, trees: Callable[[], list[tuple]]) -> list[jax.stages.Compiled] | None:
    """The programs that `compile_and_save` kept for the same; None where there are none, or none that can be used.

    Args:
      made_from: whatever determines the programs, with a `repr` that tells all of it; device, versions, jnas' own
        source and JAX's settings need not be in it.
      trees: gives the structures of each program's arguments, as `((arguments), {})`, and of its result.
    """
    if not kept(made_from):
        return None
    device = jax.local_devices()[0]
    try:  # JAX reads machine code there, as from its own cache: like that one it must be the user's folder
        with zipfile.ZipFile(_path(made_from)) as file:
            contents = [file.read(name) for name in sorted(file.namelist())]
        return [
            serialize_executable.deserialize_and_load(content, *pair, backend=device.client, execution_devices=[device])
            for content, pair in zip(contents, trees(), strict=True)
        ]
    except Exception:  # of whatever kind: it is only a cache
        return None


def compile_and_save(made_from: Any, lowered: Sequence[jax.stages.Lowered], options: dict) -> list[jax.stages.Compiled]:
    """Compiles programs, and keeps them for `load`, all or none."""
    before = _hits.count
    programs = [one.compile(options) for one in lowered]
    # What JAX took from its own cache cannot be serialised again, on a CPU: it lacks the machine code then.
    if _hits.count == before:
        _save(made_from, programs)
    return programs


def _save(made_from: Any, programs: list[jax.stages.Compiled]) -> None:
    path = _path(made_from)
    if path is None:
        return
    with contextlib.suppress(Exception):  # not all programs can be serialised, nor all folders written to
        contents = [serialize_executable.serialize(one)[0] for one in programs]
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for number, content in enumerate(contents):
                archive.writestr(str(number), content)
        os.replace(file.name, path)


def kept(made_from: Any) -> bool:
    """Whether there are programs for `load`."""
    path = _path(made_from)
    return path is not None and path.is_file()


def folder() -> Path | None:
    """Where programs are kept; None where the cache is off or not on a disk, or a device has been chosen."""
    cache = jax.config.jax_compilation_cache_dir
    off = os.environ.get("JNAS_PROCESSES") == "0" or not jax.config.jax_enable_compilation_cache
    if off or not cache or "://" in cache or jax.config.jax_default_device is not None:
        return None
    return Path(cache) / "jnas"


def _path(made_from: Any) -> Path | None:
    here = folder()
    if here is None:
        return None
    return here / hashlib.sha256(repr((made_from, settings(), _surroundings())).encode()).hexdigest()


def settings() -> dict[str, Any]:
    """What a user may have told JAX that changes programs."""
    return {name: getattr(jax.config, name) for name in _SETTINGS}


def apply(found: dict[str, Any]) -> None:
    """Sets JAX as it was where `settings` was called."""
    for name, value in found.items():
        jax.config.update(name, value)


@functools.cache
def _surroundings() -> tuple:
    """What programs depend on beside what they are made from."""
    device = jax.local_devices()[0]
    source = hashlib.sha256()
    for file in sorted(Path(__file__).parents[2].rglob("*.py")):  # all of jnas
        source.update(file.read_bytes())
    return (
        *(device.device_kind, device.client.platform_version, os.environ.get("XLA_FLAGS")),
        os.environ.get("PJRT_NPROC"),  # the threads of a CPU, among which XLA divides loops when it compiles
        *(sorted(versions().items()), source.hexdigest()),
        _instructions() if device.platform == "cpu" else None,
    )


def _instructions() -> str | None:
    """The instruction sets of the CPU, where the system tells: machines of several kinds may share a home folder."""
    with contextlib.suppress(OSError):
        found = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return found and found[0]
    return None


class _Hits(threading.local):
    """How often JAX took a program from its cache, in this thread."""

    count = 0


_hits = _Hits()


def _hear(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _hits.count += 1


jax.monitoring.register_event_listener(_hear)
