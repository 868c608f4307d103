"""Many generations as one program."""

from __future__ import annotations

from collections.abc import Callable

import jax

from jnas._runtime.compile_options import fast_compile_jit
from jnas.evolve._base import Algorithm, State


@fast_compile_jit(static_argnames=("algorithm", "fitness", "generations"))
def run(
    algorithm: Algorithm,
    fitness: Callable[..., jax.Array],
    key: jax.Array,
    genomes: jax.Array,
    generations: int,
    fitness_args: tuple = (),
    initial_fitness: jax.Array | None = None,
) -> State:
    """Returns the state after some generations, which are one program.

    Args:
      fitness: a jittable function of genomes `[N, ...]` and `*fitness_args` that returns `[N]`, or `[N, M]` for several
        objectives.
      genomes: the first population, `[P, ...]`.
      fitness_args: what may change between calls without compiling again, such as a predictor's parameters.
      initial_fitness: the fitness of the first population; None to compute it.

    Raises:
      JnasError: if the population is too small.
    """

    def generation(_, state):
        children, state = algorithm.ask(state)
        return algorithm.tell(state, children, fitness(children, *fitness_args))

    if initial_fitness is None:
        initial_fitness = fitness(genomes, *fitness_args)
    return jax.lax.fori_loop(0, generations, generation, algorithm.init(key, genomes, initial_fitness))
