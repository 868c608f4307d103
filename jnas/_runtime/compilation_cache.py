"""What is kept between runs, in the user's cache folder.

JAX's persistent compilation cache is on by default: a second run of the same structures compiles nothing. Beside it
lie small JSON files, such as what was measured of a device.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax


def use_compilation_cache() -> None:
    """Switches the cache on, in the user's cache folder, unless the user has chosen a folder or none.

    A folder is chosen with JAX_COMPILATION_CACHE_DIR or `jax.config`; JAX_ENABLE_COMPILATION_CACHE=false means none.
    """
    if jax.config.jax_compilation_cache_dir is not None or not jax.config.jax_enable_compilation_cache:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder() / "xla"))
    # Nearly all that a search compiles takes less than the default threshold of one second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def folder() -> Path:
    """Where jnas keeps things: "jnas" in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jnas"


def read_json(name: str, default: Any) -> Any:
    """What a file of the folder says; `default` where there is none, or none that can be read."""
    try:
        return json.loads((folder() / name).read_text())
    except (OSError, ValueError):
        return default


def write_json(name: str, value: Any) -> None:
    """Writes a file of the folder, whole or not at all; where that cannot be, it is only a cache."""
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder(), suffix=".part", delete=False) as file:
            json.dump(value, file)
        os.replace(file.name, folder() / name)
