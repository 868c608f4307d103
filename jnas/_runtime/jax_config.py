"""JAX's settings: read, and those of the caller put aside while jnas computes."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.experimental

from jnas._runtime.devices import check_device
from jnas._validation import refuse

_OWN_SETTINGS: dict[str, Any] = {
    "enable_x64": False,
    "numpy_rank_promotion": "allow",
    "numpy_dtype_promotion": "standard",
    "default_matmul_precision": None,
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "softmax_custom_jvp": False,
    "disable_jit": False,
    "no_tracing": False,
    "no_execution": False,
    "debug_nans": False,  # a loss that is no number is a row, as other failures are
    "debug_infs": False,
    "debug_key_reuse": False,
    "check_tracer_leaks": False,
    "enable_checks": False,
    "legacy_prng_key": "allow",
    "enable_custom_prng": False,
    "allow_f16_reductions": True,
    "thread_guard": False,
    "transfer_guard": "allow",
    "transfer_guard_host_to_device": "allow",
    "transfer_guard_device_to_device": "allow",
    "transfer_guard_device_to_host": "allow",
}
"""What jnas' programs are made and run with: JAX's defaults, by the name of the context manager in `jax`."""

_REFUSED_UNLESS = {
    "jax_random_seed_offset": 0,
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
}
"""Settings that change what jnas computes, too, and for which JAX has no context manager."""

ENVIRONMENT = tuple(f"JAX_{name.upper()}" for name in _OWN_SETTINGS)
"""Environment variables of these settings, which worker processes do not inherit."""

_Target = TypeVar("_Target", bound=Callable)


def read_jax_config(name: str) -> Any:
    """Returns a setting of JAX, such as "jax_platforms"."""
    return getattr(jax.config, name)


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Puts the caller's settings aside that change what jnas computes, in this thread; asks for the device first.

    So rows do not depend on them. Settings that say where JAX computes, or what it logs, stay.
    """
    check_device()
    for name, value in _REFUSED_UNLESS.items():
        if (current := getattr(jax.config, name, value)) != value:
            refuse(f"JAX's setting {name}", str(value), current, "set it so while jnas computes")
    with contextlib.ExitStack() as stack:
        for name, value in _OWN_SETTINGS.items():
            current = getattr(jax.config, f"jax_{name}", value)  # not every JAX has them all
            if current != value and not (current is None and value == "allow"):
                stack.enter_context(_manager(name)(value))
        yield


def with_own_settings(target: _Target) -> _Target:
    """Returns the function, or the class with its public methods, called under `own_settings`."""
    if isinstance(target, type):
        for name, method in list(vars(target).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(target, name, with_own_settings(method))
        return target  # pyright: ignore[reportReturnType]

    @functools.wraps(target)
    def call(*args, **kwargs):
        with own_settings():
            return target(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]


def snapshot_jax_config() -> dict[str, Any]:
    """Returns the settings that change programs."""
    return {name: getattr(jax.config, f"jax_{name}", value) for name, value in _OWN_SETTINGS.items()}


def _manager(name: str) -> Callable[[Any], contextlib.AbstractContextManager]:
    return getattr(jax if hasattr(jax, name) else jax.experimental, name)  # JAX before 0.8 has enable_x64 there
