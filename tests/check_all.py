"""Many small computations in one compiled program: a program costs about as long to compile as twenty convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jnas._runtime.compile_options import compiler_options, supported_options

FAST_COMPILE = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": "0"}
"""Options with which a program of many computations compiles 5 to 20 times as fast, and runs for moments anyway."""


class Case(NamedTuple):
    """One computation: `function(*arguments)` should give `expected`, a sequence of arrays."""

    function: Callable
    arguments: tuple
    expected: Any


def run_all(computations: Mapping[str, tuple[Callable, tuple]]) -> dict[str, Any]:
    """Returns the result of each `function(*arguments)`, all of them computed by one program.

    It is compiled as trainings are, which take another library for products and keep barriers.
    """

    def program(arguments):
        return {name: function(*arguments[name]) for name, (function, _) in computations.items()}

    arguments = {name: arrays for name, (_, arrays) in computations.items()}
    return (
        jax.jit(program)
        .lower(arguments)
        .compile(compiler_options("train") | supported_options(FAST_COMPILE))(arguments)
    )


def check_all(cases: Mapping[str, Case], tolerance: float = 1e-5) -> None:
    """Asserts that each case gives what it should, and names those that do not.

    Args:
      cases: by name.
      tolerance: of the difference, relative to the largest expected value or to 1.
    """
    results = run_all({name: case[:2] for name, case in cases.items()})
    failures = []
    for name, case in cases.items():
        for index, (one, other) in enumerate(zip(results[name], case.expected, strict=True)):
            one, other = np.asarray(one), np.asarray(other)
            scale = max(1.0, float(np.abs(other).max()))
            if one.shape != other.shape or not np.allclose(one / scale, other / scale, rtol=tolerance, atol=tolerance):
                difference = np.abs(one - other).max() / scale if one.shape == other.shape else (one.shape, other.shape)
                failures.append(f"{name}, result {index}: {difference}")
    assert not failures, "\n".join(failures)
