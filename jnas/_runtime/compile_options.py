"""How programs are compiled: options of XLA that training needs, where this XLA knows them, and those of all else."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import jax

_LOCK = threading.Lock()

_WANTED = {
    "cpu": {
        # XLA:CPU expands optimisation barriers before it fuses, which undoes them: see `fusion`.
        "xla_disable_hlo_passes": "cse_barrier_expander",
        # Matrix products and reductions by YNNPACK instead of Eigen: up to twice as fast (benchmarks/RESULTS.md).
        # Convolutions stay with Eigen, as YNNPACK's are a little faster forward and two to four times slower for
        # kernels' gradients; element-wise operations stay with XLA, which fuses them better.
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
        # What is left to LLVM is element-wise: it runs as fast, and compiles in a seventh less time. Level 0 would
        # save a third of the rest, and take four times as long a step.
        "xla_backend_optimization_level": "1",
    },
    "gpu": {
        # Matrix products by cuBLAS as its own heuristics choose: trying what is fastest takes 34 s a structure on an
        # H100, and all the rest 2 s. It is convolutions that need it, and there are none (see `convolution`).
        "xla_gpu_autotune_level": "0",
        "xla_gpu_enable_triton_gemm": False,
    },
}
_BRIEF = {
    # The older emitters write simpler code, of which more is left to LLVM: a third less to compile, and steps that
    # take a twentieth longer (benchmarks/RESULTS.md).
    "cpu": {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": "2"},
}

_QUICK = {"cpu": _BRIEF["cpu"] | {"xla_backend_optimization_level": "1"}, "gpu": _WANTED["gpu"]}


def jit(function: Callable | None = None, **options) -> Callable:
    """`jax.jit` for what is not training: programs that take seconds to compile, and milliseconds to run.

    They compile in about half the time (benchmarks/RESULTS.md). Called by another program they become a part of it,
    and are compiled as that is. `.program()` is the function of `jax.jit`.

    Args:
      function: may be left out, to be given later, as of a decorator.
      options: those of `jax.jit`.
    """
    if function is None:
        return functools.partial(jit, **options)
    part = jax.jit(function, **options)

    @functools.cache
    def program():  # made when it is first called: only then is it known on what it runs
        return jax.jit(function, compiler_options=_options("quick"), **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (part if inside else program())(*args, **kwargs)

    call.program = program
    return call


def compiler_options(brief: bool = False) -> dict[str, str | bool]:
    """Options for `.compile(compiler_options=...)` on the default device.

    They change how fast a program is and how quickly it compiles, never what it computes.

    Threads that ask at the same time wait for one of them to find out.

    Args:
      brief: whether the program will run so briefly that compiling it is what takes long.
    """
    return _options("brief" if brief else "train")


def _options(purpose: str) -> dict[str, str | bool]:
    with _LOCK:
        return _found(purpose)


@functools.cache
def _found(purpose: str) -> dict[str, str | bool]:
    backend = jax.default_backend()
    if purpose == "quick":
        return known_options(_QUICK.get(backend, {}))
    return known_options(_WANTED.get(backend, {}) | (_BRIEF.get(backend, {}) if purpose == "brief" else {}))


def known_options(wanted: dict[str, str | bool]) -> dict[str, str | bool]:
    """Those of some options that this XLA knows; the others are left out."""
    known = {}
    probe = jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((), "float32"))
    for name, value in wanted.items():
        try:
            probe.compile({name: value})
        except Exception:  # the type of error differs between versions
            continue
        known[name] = value
    return known
