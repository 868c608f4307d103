"""XLA options by purpose.

They also change what a program computes up to rounding: emitters and libraries sum in different orders. So they follow
from the template and the number of steps alone, never from files or other load, and the same call gives the same rows.
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Literal

import jax
from jax.core import Tracer

from jnas._runtime.jax_config import with_own_settings

Purpose = Literal["train", "short_run", "fast_compile"]
"""Programs that run for long, trainings so short that compiling takes longer than running, and all else."""

_TRAIN_ON_CPU: dict[str, str | bool] = {
    # XLA:CPU expands optimisation barriers before it fuses, which undoes them: see `nn/ops/_barriers.py`.
    "xla_disable_hlo_passes": "cse_barrier_expander",
    # Matrix products and reductions by YNNPACK instead of Eigen: up to twice as fast (jaxlib 0.10, AMD EPYC).
    # Convolutions stay with Eigen, as YNNPACK's are a little faster forward and two to four times slower for kernels'
    # gradients; element-wise operations stay with XLA, which fuses them better.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE",
    # What is left to LLVM is element-wise: it runs as fast at level 1, and compiles in 14 % less time. Level 0 would
    # save a third of the rest, and take four times as long a step.
    "xla_backend_optimization_level": "1",
}
_CPU_OPTIONS: dict[Purpose, dict[str, str | bool]] = {
    "train": _TRAIN_ON_CPU,
    # The older emitters write simpler code, of which more is left to LLVM: a third less to compile, and steps that take
    # 5 % longer (jaxlib 0.10, AMD EPYC).
    "short_run": _TRAIN_ON_CPU | {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": "2"},
    "fast_compile": {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": "1"},
}
# Matrix products by cuBLAS as its own heuristics choose: autotuning takes 34 s a program on an H100, and all the rest
# 2 s. It is convolutions that need it, and there are none (see `nn/ops/conv`).
_GPU_OPTIONS: dict[str, str | bool] = {"xla_gpu_autotune_level": "0", "xla_gpu_enable_triton_gemm": False}


@functools.cache
def compiler_options(purpose: Purpose) -> dict[str, str | bool]:
    """Returns options for `.compile(compiler_options=...)` on the default device, those that this XLA knows."""
    by_backend = {"cpu": _CPU_OPTIONS[purpose], "gpu": _GPU_OPTIONS}
    options = dict(by_backend.get(jax.default_backend(), {}))
    level = os.environ.get("JNAS_XLA_OPT_LEVEL")  # LLVM's, 0 to 3: for tests, whose programs run for milliseconds
    if level:
        options["xla_backend_optimization_level"] = level
    return supported_options(options)


def supported_options(options: Mapping[str, str | bool]) -> dict[str, str | bool]:
    """Returns those of some options that this XLA knows."""
    supported = {}
    probe = jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((), "float32"))
    for name, value in options.items():
        try:
            probe.compile({name: value})
        except Exception:  # the type of error differs between versions
            continue
        supported[name] = value
    return supported


def fast_compile_jit(function: Callable | None = None, **options) -> Callable:
    """Returns `jax.jit` of a function that is not training, or a decorator: it compiles in about half the time.

    Called within another jitted function it becomes a part of that, and is compiled as that is. `.program()` is the
    function of `jax.jit`.
    """
    if function is None:
        return functools.partial(fast_compile_jit, **options)
    inner = jax.jit(function, **options)

    @functools.cache
    def program():  # made at the first call: only then is the device known
        return jax.jit(function, compiler_options=compiler_options("fast_compile"), **options)

    @with_own_settings
    @functools.wraps(function)
    def call(*args, **kwargs):
        is_traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (inner if is_traced else program())(*args, **kwargs)

    call.program = program  # pyright: ignore[reportAttributeAccessIssue]
    return call
