"""Many generations as one program."""

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
    """Returns the state after some generations from a first population, `[P, ...]` genomes.

    `fitness` is a jittable function of genomes `[N, ...]` and `*fitness_args` that returns `[N]`, or `[N, M]` for
    several objectives. `fitness_args` may change between calls without compiling again, as a predictor's parameters do.
    The initial fitness is computed if it is None. Raises a `JnasError` if the population is too small.
    """

    def generation(_, state):
        children, state = algorithm.ask(state)
        return algorithm.tell(state, children, fitness(children, *fitness_args))

    if initial_fitness is None:
        initial_fitness = fitness(genomes, *fitness_args)
    return jax.lax.fori_loop(0, generations, generation, algorithm.init(key, genomes, initial_fitness))
