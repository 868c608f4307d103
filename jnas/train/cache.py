"""JAX's persistent compilation cache, on by default: a second run of the same structures compiles nothing."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Switches the cache on, in the user's cache folder, unless the user has chosen a folder or none.

    A folder is chosen with JAX_COMPILATION_CACHE_DIR or `jax.config`; JAX_ENABLE_COMPILATION_CACHE=false means none.
    """
    if jax.config.jax_compilation_cache_dir is not None or not jax.config.jax_enable_compilation_cache:
        return
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(root / "jnas" / "xla"))
    # Nearly all that a search compiles takes less than the default threshold of one second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
