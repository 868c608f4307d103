"""Compiled training programs on disk, by what they are made from: one that is loaded from here is not even traced.

JAX's own cache knows a program by its lowered form. Tracing and lowering take, for a GPU, as long as training a small
template for some epochs, and hold Python's lock. JNAS_EXECUTABLE_CACHE=0 in the environment switches this cache off.
"""

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

from jnas._runtime.compilation_cache import MAX_EXECUTABLE_CACHE_BYTES, cache_dir, remove_oldest
from jnas._runtime.jax_config import read_jax_config, snapshot_jax_config
from jnas._runtime.versions import versions

# Parts of jnas that decide on a training program.
_SOURCES = ("nn", "data/_augment.py", "train/_step.py", "train/_optimizer.py", "train/_compiled.py")
_SOURCES += ("train/_whitening.py", "train/_input_pipeline.py", "_runtime/random.py", "_runtime/compile_options.py")


def load(cache_key: Any, in_out_trees: Callable[[], list[tuple]]) -> list[jax.stages.Compiled] | None:
    """Returns the programs that `compile_and_save` stored under this key; None if there are none that can be used.

    The key is whatever determines the programs, with a complete `repr`; device, versions, jnas' source and JAX's
    settings are added. `in_out_trees` returns for each program the tree structures of its arguments, as
    `((arguments), {})`, and of its result.
    """
    path = _path(cache_key)
    if path is None or not path.is_file():
        return None
    device = jax.local_devices()[0]
    placement = {"backend": device.client, "execution_devices": [device]}
    try:  # JAX reads machine code here, as from its own cache: like that one it must be the user's folder
        with zipfile.ZipFile(path) as file:
            contents = [file.read(name) for name in sorted(file.namelist())]
        programs = [
            serialize_executable.deserialize_and_load(content, *trees, **placement)
            for content, trees in zip(contents, in_out_trees(), strict=True)
        ]
        os.utime(path)  # the entries that were used the longest time ago are removed first
        return programs
    except Exception:  # of whatever kind: it is only a cache
        return None


def compile_and_save(cache_key: Any, lowered: Sequence[jax.stages.Lowered], options: dict) -> list[jax.stages.Compiled]:
    """Compiles programs and stores them for `load`, all or none."""
    hits = _cache_hits.count
    programs = [one.compile(options) for one in lowered]
    path = _path(cache_key)
    # What JAX loads from its own cache cannot be serialised again on a CPU: it lacks the machine code.
    if path is not None and _cache_hits.count == hits:
        _save(path, programs)
    return programs


def _save(path: Path, programs: list[jax.stages.Compiled]) -> None:
    with contextlib.suppress(Exception):  # not all programs can be serialised, nor all folders written to
        contents = [serialize_executable.serialize(one)[0] for one in programs]
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as folder:  # gone also if the disk is full
            file = Path(folder) / path.name
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for index, content in enumerate(contents):
                    archive.writestr(str(index), content)
            os.replace(file, path)
        remove_oldest(path.parent, MAX_EXECUTABLE_CACHE_BYTES)


def is_cached(cache_key: Any) -> bool:
    """Returns whether `load` would find programs."""
    path = _path(cache_key)
    return path is not None and path.is_file()


def _path(cache_key: Any) -> Path | None:
    """The file of a key; None where the cache is off, or a device was chosen, which serialised programs do not keep."""
    off = os.environ.get("JNAS_EXECUTABLE_CACHE") == "0" or not read_jax_config("jax_enable_compilation_cache")
    if off or read_jax_config("jax_default_device") is not None:
        return None
    if (folder := cache_dir("executables")) is None:
        return None
    text = repr((cache_key, snapshot_jax_config(), _environment()))
    return folder / hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _environment() -> tuple:
    """What programs depend on besides their key."""
    device = jax.local_devices()[0]
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for name in _SOURCES:
        for file in sorted((root / name).rglob("*.py")) or [root / name]:
            digest.update(file.read_bytes())
    return (
        *(device.device_kind, device.client.platform_version, os.environ.get("XLA_FLAGS")),
        os.environ.get("PJRT_NPROC"),  # XLA:CPU divides loops among threads when it compiles
        *(sorted(versions().items()), digest.hexdigest()),
        _cpu_features() if device.platform == "cpu" else None,
    )


def _cpu_features() -> str | None:
    """The instruction sets of the CPU, where the system tells: machines of several kinds may share a home folder."""
    with contextlib.suppress(OSError):
        match = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return match and match[0]
    return None


class _CacheHits(threading.local):
    count = 0  # how often JAX loaded a program from its cache in this thread


_cache_hits = _CacheHits()


def _on_event(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _cache_hits.count += 1


jax.monitoring.register_event_listener(_on_event)
