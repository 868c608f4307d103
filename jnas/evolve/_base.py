"""What an algorithm passes along, and what all algorithms do with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jnas._runtime import checkpoint
from jnas.errors import JnasError
from jnas.evolve import _archive as archives
from jnas.evolve._archive import Archive
from jnas.evolve._search_space import SearchSpace


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """The population and its story: the same for all algorithms, so that all are checked, stored and compared alike.

    Attributes:
      key: for the next generation's randomness.
      genomes: `[P, ...]`, the fittest first unless the algorithm says otherwise.
      fitness: `[P]` float32, or `[P, M]` for M objectives, higher is better; minus infinity for places that are empty.
      born: `[P]` int32, the generation in which a member was told.
      archive: everything ever told.
      generation: how many times `tell` was called, int32.
      rate: changes a child gets, on average.
      best: the best fitness so far (of the first objective), and `stagnation` the generations since it rose.
      restarts: how often the population was given up, int32.
      asked: `[2]` uint32, the sum of the keys that were asked for last, all of them valid; 0 where that is not sure.
      memory: what else an algorithm needs.
    """

    key: jax.Array
    genomes: jax.Array
    fitness: jax.Array
    born: jax.Array
    archive: Archive
    generation: jax.Array
    rate: jax.Array
    best: jax.Array
    stagnation: jax.Array
    restarts: jax.Array
    asked: jax.Array
    memory: Any = ()

    def replace(self, **changes: Any) -> State:
        """A copy with other values."""
        return dataclasses.replace(self, **changes)

    def save(self, folder: str | Path, **facts: Any) -> None:
        """Writes the state as an Orbax checkpoint, and facts that JSON can hold; what `folder` held is replaced."""
        leaves = jax.tree.leaves(self.replace(key=jax.random.key_data(self.key)))
        arrays = {f"{number:03}": leaf for number, leaf in enumerate(leaves)}
        checkpoint.save(folder, arrays, facts | {"evolution": len(leaves)})

    def load(self, folder: str | Path) -> State:
        """What `save` wrote of a state of the same algorithm and sizes as this one.

        Raises:
          JnasError: there is none in `folder`, or one of other sizes.
        """
        if "evolution" not in checkpoint.load_metadata(folder):
            raise JnasError(f"{folder} holds no state of an evolution: name the folder that State.save wrote.")
        plain = jax.eval_shape(lambda state: state.replace(key=jax.random.key_data(state.key)), self)
        leaves, shape = jax.tree.flatten(plain)
        arrays = checkpoint.restore(folder, {f"{number:03}": leaf for number, leaf in enumerate(leaves)})
        state = jax.tree.unflatten(shape, [arrays[name] for name in sorted(arrays)])
        return state.replace(key=jax.random.wrap_key_data(state.key))


class Algorithm(Protocol):
    """A search as three pure functions (the shape of evosax). All of them work under jit, vmap and scan.

    NaN and failures: a genome that is told NaN (in any objective) has failed. It is remembered, so that it is not asked
    for again, and is never a member of the population; so is what is not valid. A genome that is told minus infinity is
    passed over, as if it had not been told. What is told again keeps what it was told first. `ask` returns genomes
    that are valid, different, and never told before; only where it finds none in a few tries does it return others,
    and `tell` makes nothing of these.
    """

    space: SearchSpace

    def init(self, key: jax.Array, genomes: jax.Array, fitness: jax.Array) -> State:
        """A state from a first population: `[P, ...]` genomes and their fitness, minus infinity for those to ignore."""

    def ask(self, state: State) -> tuple[State, jax.Array]:
        """The state for the next call, and genomes `[B, ...]` to evaluate."""

    def tell(self, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
        """What follows from genomes `[N, ...]` and their fitness; N is free, but each one compiles anew."""


def begin(algorithm: Any, key: jax.Array, genomes: jax.Array, fitness: jax.Array, least: int = 2) -> State:
    """A state with nothing in it yet, for a population of the size of `genomes`.

    Raises:
      JnasError: the population is too small, or fitness and genomes do not match.
    """
    members = len(genomes)
    if members < least:
        members = {0: "no member", 1: "a single member"}.get(members, f"{members} members")
        raise JnasError(f"The population has {members}: {type(algorithm).__name__} needs {least} or more.")
    if fitness.shape[:1] != genomes.shape[:1]:
        raise JnasError(f"There are {len(genomes)} genomes and fitness {fitness.shape}: give one for each.")
    zero = jnp.int32(0)
    return State(
        key=key,
        genomes=jnp.zeros_like(genomes),
        fitness=jnp.full(fitness.shape, -jnp.inf, jnp.float32),
        born=jnp.zeros(len(genomes), jnp.int32),
        archive=archives.empty(algorithm.capacity),
        generation=zero,
        rate=jnp.float32(1),
        best=jnp.float32(-jnp.inf),
        stagnation=zero,
        restarts=zero,
        asked=jnp.zeros(2, jnp.uint32),
    )


def remember(space: SearchSpace, state: State, genomes: jax.Array, fitness: jax.Array) -> tuple[State, jax.Array]:
    """Takes down what was told.

    Returns:
      The state with a new archive, generation, best and stagnation, and the fitness as `[N]` or `[N, M]` float32 with
      minus infinity for what must not become a member: failed, not valid, or told before.
    """
    fitness = jnp.asarray(fitness, jnp.float32)
    axes = tuple(range(1, fitness.ndim))
    passed = (fitness == -jnp.inf).any(axes)
    keys = space.hash_genomes(genomes)
    # What was asked for is known to be valid, and is recognised by the sum of its keys: a check may cost a lot.
    recognised = (keys.sum(0, dtype=jnp.uint32) == state.asked).all()
    valid = jax.lax.cond(recognised, lambda: jnp.ones(len(genomes), bool), lambda: space.valid(genomes))
    usable = valid & ~passed & ~jnp.isnan(fitness).any(axes)
    first = fitness.reshape(len(genomes), -1)[:, 0]
    told = jnp.where(usable, first, -jnp.inf)
    archive, new = archives.add(state.archive, keys, told, ~passed)
    usable &= new
    best = jnp.maximum(state.best, jnp.where(usable, first, -jnp.inf).max())
    state = state.replace(
        archive=archive,
        generation=state.generation + 1,
        best=best,
        stagnation=jnp.where(best > state.best, 0, state.stagnation + 1),
    )
    return state, jnp.where(usable.reshape(-1, *[1] * len(axes)), fitness, -jnp.inf)


def alive(state: State) -> jax.Array:
    """How many members there are that may be parents, int32."""
    return (state.fitness.reshape(len(state.fitness), -1)[:, 0] > -jnp.inf).sum(dtype=jnp.int32)


def keep_best(space: SearchSpace, state: State, genomes: jax.Array, fitness: jax.Array) -> State:
    """Takes down what was told; the best so far, of members and told ones, are the members."""
    state, fitness = remember(space, state, genomes, fitness)
    everyone = jnp.concatenate([state.fitness, fitness])
    best = jnp.argsort(-everyone, stable=True)[: len(state.genomes)]
    return state.replace(
        genomes=jnp.concatenate([state.genomes, genomes])[best],
        fitness=everyone[best],
        born=jnp.concatenate([state.born, jnp.full(len(genomes), state.generation)])[best],
    )
