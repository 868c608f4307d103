"""Envelopes that were compiled before on this device.

Taken again, under the same recipe and on as many images, their programs come from the compilation cache.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import Any

import jax

from jnas._runtime.compilation_cache import read_json, write_json
from jnas.nn.envelope import Envelope, Slot, Stage

_LOCK = threading.Lock()
_MOST = 256
"""Envelopes that are remembered, the latest ones."""


def load() -> list[tuple[Envelope, int]]:
    """The envelopes that are remembered, each with its lanes side by side.

    None where the compilation cache is switched off.
    """
    if not jax.config.jax_enable_compilation_cache:
        return []
    found = read_json(_name(), [])
    try:
        return [(envelope(one), int(width)) for one, width in found]
    except (TypeError, KeyError, ValueError, AttributeError):
        return []  # not ours, or of another version: it is only a cache


def add(compiled: Envelope, width: int) -> None:
    """Remembers an envelope that was compiled for so many lanes side by side."""
    entry = compiled, width
    if not jax.config.jax_enable_compilation_cache:
        return
    with _LOCK:  # several threads compile
        known = [*(one for one in load() if one != entry), entry]
        write_json(_name(), [[dataclasses.asdict(one), lanes] for one, lanes in known[-_MOST:]])


def _name() -> str:
    """A file for each device and version of JAX, whose caches are not shared."""
    return re.sub(r"[^\w.]+", "-", f"envelopes-{jax.devices()[0].device_kind}-{jax.__version__}") + ".json"


def envelope(found: dict[str, Any]) -> Envelope:
    """The envelope of which `found` is what JSON left of `dataclasses.asdict`."""
    stages = tuple(
        Stage(**stage | {"slots": tuple(Slot(**slot) for slot in stage["slots"])}) for stage in found["stages"]
    )
    return Envelope(
        **found | {"stages": stages, "in_shape": tuple(found["in_shape"]), "hidden": tuple(found["hidden"])}
    )
