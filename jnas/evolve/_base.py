"""The contract of all algorithms, their state, and what all of them do with it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jnas._runtime import checkpoint
from jnas._runtime.jax_config import with_own_settings
from jnas._runtime.random import check_key
from jnas._validation import Rule, apply_rules, optional, refuse, to_array, to_float, to_int, to_path
from jnas.errors import JnasError
from jnas.evolve._archive import Archive, empty_archive, insert
from jnas.evolve._search_space import SearchSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """A population and its history, the same for all algorithms.

    Attributes:
      population: `[P, ...]` genomes, the fittest first unless the algorithm says otherwise.
      fitness: `[P]` float32, or `[P, M]` for M objectives; minus infinity for empty places.
      birth_generation: `[P]` int32, the generation in which each member was evaluated.
      mutation_rate: mean number of changes of a child.
      best_fitness: the best so far, of the first objective; `stagnation` counts the generations since it rose.
      ask_checksum: `[2]` uint32, the sum of the keys that `ask` returned last. `tell` skips the check of validity for
        exactly these; 0 if some of them are not valid.
      aux: what else an algorithm needs, such as a surrogate's parameters.
    """

    key: jax.Array
    population: jax.Array
    fitness: jax.Array
    birth_generation: jax.Array
    archive: Archive
    generation: jax.Array
    mutation_rate: jax.Array
    best_fitness: jax.Array
    stagnation: jax.Array
    restarts: jax.Array
    ask_checksum: jax.Array
    aux: Any = ()

    def replace(self, **changes: Any) -> State:
        """Returns a copy with other values."""
        return dataclasses.replace(self, **changes)

    @with_own_settings
    def save(self, folder: str | Path, **metadata: Any) -> None:
        """Writes the state as an Orbax checkpoint, with metadata that JSON can hold; old content is replaced."""
        folder = to_path("folder", folder)
        leaves = jax.tree.leaves(_with_key_data(self))
        checkpoint.save(folder, leaves, metadata | {"evolution": len(leaves)})

    @with_own_settings
    def load(self, folder: str | Path) -> State:
        """Returns the state that `save` wrote, of the same algorithm and sizes as this one.

        Raises:
          JnasError: if there is none in `folder`, or one of other sizes.
        """
        folder = to_path("folder", folder)
        if "evolution" not in checkpoint.load_metadata(folder):
            raise JnasError(f"{folder} holds no state of an evolution: name the folder that State.save wrote.")
        leaves, structure = jax.tree.flatten(jax.eval_shape(_with_key_data, self))
        state = jax.tree.unflatten(structure, checkpoint.restore(folder, leaves))
        return state.replace(key=jax.random.wrap_key_data(state.key))


def _with_key_data(state: State) -> State:
    """The state with its key as plain numbers, which can be stored."""
    return state.replace(key=jax.random.key_data(state.key))


def as_array(name: str, values: Any) -> jax.Array:
    """Returns an array of numbers, traced or not."""
    return values if isinstance(values, jax.Array) else jnp.asarray(to_array(name, values))


def as_population(genomes: Any) -> jax.Array:
    """Returns genomes as an array, traced or not; a JnasError if they are no integers with an axis of members."""
    genomes = as_array("genomes", genomes)
    if genomes.ndim < 2 or not jnp.issubdtype(genomes.dtype, jnp.integer):
        refuse("genomes", "integers with an axis of members and one of genes", genomes, "space.sample makes them")
    return genomes


def _with_methods(names: str, what: str) -> Rule:
    """The rule of an object with these methods, and no class; `what` says what it must be."""

    def rule(name: str, value: Any) -> Any:
        if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in names.split()):
            refuse(name, what, value)
        return value

    return rule


_SPACE_METHODS = "sample crossover mutate repair valid hash_genomes distance"
_COUNT = partial(to_int, minimum=1, maximum=1 << 20)
_RULES: dict[str, Rule] = {
    "space": _with_methods(_SPACE_METHODS, "a search space, such as jnas.Space() or Categorical"),
    "surrogate": _with_methods("init fit predict", "a surrogate, such as GaussianProcess()"),
    **dict.fromkeys(("tournament_size", "sample_size"), partial(to_int, minimum=1, maximum=1 << 16)),
    **dict.fromkeys(("batch_size", "stagnation_limit"), optional(_COUNT)),
    **dict.fromkeys(("max_training_points", "candidates"), partial(to_int, minimum=2, maximum=1 << 20)),
    "generations": partial(to_int, minimum=1, maximum=1 << 20),
    "num_elites": partial(to_int, minimum=0),
    "crossover_rate": partial(to_float, interval="[0, 1]"),
    "max_mutations": partial(to_float, interval="[1, inf)"),
    "mutation_rate": partial(to_float, interval="[0, inf)"),
    "archive_capacity": partial(to_int, minimum=1, maximum=1 << 29),
}
"""What the fields of all algorithms are made by."""


@with_own_settings
class Algorithm(abc.ABC):
    """A maximisation as three pure functions that work under jit, vmap and scan (the shape of evosax).

    Unlike evosax, the random key is part of the state, so a stored state goes on as if nothing had happened.

    *Fitness.* NaN (in any objective) is a failed evaluation: the genome is recorded, so it is never proposed again,
    but never enters the population. Invalid genomes are treated the same way. Minus infinity marks padding and is
    ignored. If a genome is evaluated twice, the first value is kept.
    """

    space: SearchSpace
    archive_capacity: int
    min_population: ClassVar[int] = 2

    def __post_init__(self) -> None:
        apply_rules(self, {name: rule for name, rule in _RULES.items() if hasattr(self, name)})

    def __init_subclass__(cls) -> None:
        with_own_settings(cls)

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        """Returns a state from a first population, `[P, ...]` genomes and their fitness.

        Raises a `JnasError` if the population is too small, or fitness and genomes do not match.
        """
        return self.tell(init_state(self, key, genomes, fitness), genomes, fitness)

    @abc.abstractmethod
    def ask(self, state: State) -> tuple[jax.Array, State]:
        """Returns genomes `[B, ...]` to evaluate, and the state for `tell`.

        They are valid, different, and never evaluated before. Only if a few tries find too few of these are there
        others among them, which `tell` ignores.
        """

    @abc.abstractmethod
    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        """Returns the state after an evaluation of `[N, ...]` genomes; N is free, but each one compiles anew."""


def init_state(algorithm: Algorithm, key: jax.Array, genomes: jax.Array, fitness: jax.Array, size: int = 0) -> State:
    """Returns an empty state for a population of the size of `genomes`, or of `size` if that is more."""
    name, least = type(algorithm).__name__, algorithm.min_population
    check_key(key)
    genomes, fitness = as_population(genomes), as_array("fitness", fitness)
    if len(genomes) < least:
        raise JnasError(f"genomes must have {least} members or more for {name}, got {len(genomes)}.")
    if fitness.shape[:1] != genomes.shape[:1] or fitness.ndim > 2:
        refuse("fitness", f"a number, or a row of objectives, for each of {len(genomes)} genomes", fitness)
    size, zero = max(size, len(genomes)), jnp.int32(0)
    return State(
        key=key,
        population=jnp.zeros((size, *genomes.shape[1:]), genomes.dtype),
        fitness=jnp.full((size, *fitness.shape[1:]), -jnp.inf, jnp.float32),
        birth_generation=jnp.zeros(size, jnp.int32),
        archive=empty_archive(algorithm.archive_capacity),
        generation=zero,
        mutation_rate=jnp.float32(1),
        best_fitness=jnp.float32(-jnp.inf),
        stagnation=zero,
        restarts=zero,
        ask_checksum=jnp.zeros(2, jnp.uint32),
    )


def record(space: SearchSpace, state: State, genomes: jax.Array, fitness: jax.Array) -> tuple[State, jax.Array]:
    """Returns the state with an evaluation in its archive, and the fitness that may enter the population.

    That is `[N]` or `[N, M]` float32 with minus infinity for what failed, is not valid, or was evaluated before.
    """
    fitness = jnp.asarray(fitness, jnp.float32)
    axes = tuple(range(1, fitness.ndim))
    ignored = (fitness == -jnp.inf).any(axes)
    keys = space.hash_genomes(genomes)
    is_asked = (keys.sum(0, dtype=jnp.uint32) == state.ask_checksum).all()
    valid = jax.lax.cond(is_asked, lambda: jnp.ones(len(genomes), bool), lambda: space.valid(genomes))
    usable = valid & ~ignored & ~jnp.isnan(fitness).any(axes)
    values = jnp.where(usable, first_objective(fitness), -jnp.inf)
    archive, new = insert(state.archive, keys, values, ~ignored)
    best = jnp.maximum(state.best_fitness, jnp.where(new, values, -jnp.inf).max())
    state = state.replace(
        archive=archive,
        generation=state.generation + 1,
        best_fitness=best,
        stagnation=jnp.where(best > state.best_fitness, 0, state.stagnation + 1),
    )
    return state, where_rows(usable & new, fitness, -jnp.inf)


def select(state: State, genomes: jax.Array, fitness: jax.Array, indices: jax.Array) -> State:
    """Returns the state whose population is `indices` of its members and, after these, `[N, ...]` other genomes."""
    births = jnp.full(len(genomes), state.generation)
    return state.replace(
        population=jnp.concatenate([state.population, genomes])[indices],
        fitness=jnp.concatenate([state.fitness, fitness])[indices],
        birth_generation=jnp.concatenate([state.birth_generation, births])[indices],
    )


def truncation_select(space: SearchSpace, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
    """Returns the state after an evaluation; its population are the best of the old members and the new genomes."""
    state, fitness = record(space, state, genomes, fitness)
    order = jnp.argsort(-jnp.concatenate([state.fitness, fitness]), stable=True)
    return select(state, genomes, fitness, order[: len(state.population)])


def first_objective(fitness: jax.Array) -> jax.Array:
    """Returns the first objective of `[N]` or `[N, M]` fitness, `[N]`."""
    return fitness.reshape(len(fitness), -1)[:, 0]


def num_valid(state: State) -> jax.Array:
    """Returns how many members there are that may be parents, int32."""
    return (first_objective(state.fitness) > -jnp.inf).sum(dtype=jnp.int32)


def where_rows(mask: jax.Array, rows: jax.Array, other: jax.Array | float) -> jax.Array:
    """Returns `[N, ...]` rows with `other` in place of those that the mask `[N]` leaves out."""
    return jnp.where(mask.reshape(-1, *[1] * (rows.ndim - 1)), rows, other)


@with_own_settings
def mean_pairwise_distance(
    genomes: jax.Array, mask: jax.Array, distance: Callable[[jax.Array, jax.Array], jax.Array], shifts: int = 8
) -> jax.Array:
    """Returns the mean distance of `shifts` pairs per genome of a mask of `[N, ...]`, 0 for fewer than two genomes."""
    index, count = jnp.arange(len(genomes)), mask.sum()
    members = genomes[jnp.argsort(~mask, stable=True)]
    total = jnp.float32(0)
    for shift in range(1, shifts + 1):
        distances = jax.vmap(distance)(members, members[(index + shift) % jnp.maximum(count, 1)])
        total += jnp.where(index < count, distances, 0).sum()
    return total / (shifts * jnp.maximum(count, 1))
