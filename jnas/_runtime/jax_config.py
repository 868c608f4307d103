"""JAX's settings: read, and carried over to worker processes."""

from typing import Any

import jax

_PROGRAM_SETTINGS = ("enable_x64", "default_matmul_precision", "default_prng_impl", "threefry_partitionable")


def read_jax_config(name: str) -> Any:
    """Returns a setting of JAX, such as "jax_platforms"."""
    return getattr(jax.config, name)


def snapshot_jax_config() -> dict[str, Any]:
    """Returns the settings that change programs."""
    return {f"jax_{name}": read_jax_config(f"jax_{name}") for name in _PROGRAM_SETTINGS}


def restore_jax_config(settings: dict[str, Any]) -> None:
    """Sets JAX as it was where `snapshot_jax_config` was called."""
    for name, value in settings.items():
        jax.config.update(name, value)
