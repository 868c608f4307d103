"""Many generations as one program."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas._runtime.random import check_key
from jnas._validation import refuse, to_function, to_instance, to_int, to_tuple
from jnas.evolve._base import Algorithm, State, as_array, as_population


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
    The initial fitness is computed if it is None.

    Raises:
      JnasError: an argument is of another type, or the population is too small.
    """
    to_instance("algorithm", algorithm, Algorithm)
    for name, value in (("algorithm", algorithm), ("fitness", to_function("fitness", fitness))):
        if not _is_hashable(value):
            refuse(name, "hashable", value, "make it a frozen dataclass, or a function")
    check_key(key)
    generations = to_int("generations", generations, 0, (1 << 31) - 1)
    fitness_args = to_tuple("fitness_args", fitness_args, "a tuple of arrays")
    for leaf in jax.tree.leaves(fitness_args):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex):
            refuse("fitness_args", "a tuple of arrays, or of trees of them", leaf)
    if initial_fitness is not None:
        initial_fitness = as_array("initial_fitness", initial_fitness)
    return _run(algorithm, fitness, key, as_population(genomes), generations, fitness_args, initial_fitness)


@fast_compile_jit(static_argnames=("algorithm", "fitness", "generations"))
def _run(algorithm, fitness, key, genomes, generations, fitness_args, initial_fitness) -> State:
    def generation(_, state):
        children, state = algorithm.ask(state)
        return algorithm.tell(state, children, fitness(children, *fitness_args))

    if initial_fitness is None:
        initial_fitness = fitness(genomes, *fitness_args)
    return jax.lax.fori_loop(0, generations, generation, algorithm.init(key, genomes, initial_fitness))


run.program = _run.program  # pyright: ignore[reportFunctionMemberAccess]  of JAX


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
