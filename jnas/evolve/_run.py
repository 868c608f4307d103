"""Many generations as one program."""

from __future__ import annotations

from collections.abc import Callable

import jax

from jnas._runtime.compile_options import fast_compile_jit
from jnas.evolve._base import Algorithm, State


@fast_compile_jit(static_argnames=("algorithm", "fitness", "generations"))
def evolve(
    algorithm: Algorithm,
    fitness: Callable[..., jax.Array],
    key: jax.Array,
    genomes: jax.Array,
    measured: jax.Array,
    arguments: tuple,
    generations: int,
) -> State:
    """The state after some generations, as one program.

    Args:
      algorithm: any of this package.
      fitness: a jittable function of genomes `[N, ...]` and `*arguments` that returns `[N]`, or `[N, M]` for several
        objectives.
      key: for all randomness.
      genomes, measured: the first population `[P, ...]` and its fitness.
      arguments: what the fitness depends on and may change between calls, such as a predictor's parameters.
      generations: how many.

    Raises:
      JnasError: the population is too small.
    """

    def generation(_, state):
        state, children = algorithm.ask(state)
        return algorithm.tell(state, children, fitness(children, *arguments))

    return jax.lax.fori_loop(0, generations, generation, algorithm.init(key, genomes, measured))
