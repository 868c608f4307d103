"""How programs are compiled: options of XLA that training needs, where this XLA knows them."""

from __future__ import annotations

import functools
import threading

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


def compiler_options(brief: bool = False) -> dict[str, str | bool]:
    """Options for `.compile(compiler_options=...)` on the default device.

    They change how fast a program is and how quickly it compiles, never what it computes.

    Threads that ask at the same time wait for one of them to find out.

    Args:
      brief: whether the program will run so briefly that compiling it is what takes long.
    """
    with _LOCK:
        return _options(brief)


@functools.cache
def _options(brief: bool) -> dict[str, str | bool]:
    backend = jax.default_backend()
    return known_options(_WANTED.get(backend, {}) | (_BRIEF.get(backend, {}) if brief else {}))


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
