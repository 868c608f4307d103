"""A whole space with all its fitness in a table: where algorithms are compared without training anything."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.evolve import Algorithm, Categorical
from jnas.evolve._archive import first_occurrence_mask


@dataclass(frozen=True)
class Table:
    """Every combination of some categorical genes, in the order of their mixed-radix numbers, the last gene fastest.

    Attributes:
      space: the genes.
      reward: `[rows]` float64, what an algorithm may see.
      test: `[rows]` float64, what it is judged by.
    """

    space: Categorical
    reward: np.ndarray
    test: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Table:
        """A CSV file with the columns `gene_*` (values from 0), `reward` and `test`, and a row for every combination.

        Raises:
          JnasError: the file is not there, lacks a column or a row, has a row twice, or a value that is not a number.
        """
        try:
            with open(path, newline="") as file:
                header, *rows = [row for row in csv.reader(file) if row]
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            raise JnasError(f"The table {path} cannot be read ({error}): name a CSV file.") from error
        names = [name.strip() for name in header]
        columns = [i for i, name in enumerate(names) if name.startswith("gene_")]
        missing = [name for name in ("reward", "test") if name not in names]
        if not columns or missing:
            raise JnasError(
                f"The table {path} has no column {', '.join(missing or ['gene_0'])}: its header is {names}."
            )
        try:
            values = np.array([[float(value) for value in row] for row in rows]).reshape(len(rows), len(names))
        except ValueError as error:
            raise JnasError(f"The table {path} has a row that is not {len(names)} numbers ({error}).") from error
        genes = values[:, columns]
        if (
            not len(genes)
            or not np.isfinite(values[:, columns]).all()
            or (genes != genes.round()).any()
            or (genes < 0).any()
        ):
            raise JnasError(
                f"The table {path} has genes that are not whole numbers from 0, or no rows: number the values."
            )
        num_categories = tuple(int(n) + 1 for n in genes.max(0))
        size = math.prod(num_categories)
        if len(rows) != size:
            combinations = "x".join(map(str, num_categories))
            raise JnasError(
                f"The table {path} has {len(rows):,} rows, and {combinations} values make {size:,} combinations: "
                "give one row for each."
            )
        place = np.ravel_multi_index(genes.astype(np.int64).T, num_categories)
        if len(np.unique(place)) < size:
            raise JnasError(
                f"The table {path} has a combination of genes twice, and so lacks another: give one row each."
            )
        reward, test = values[:, names.index("reward")], values[:, names.index("test")]
        order = np.argsort(place)
        return cls(Categorical(num_categories), reward[order], test[order])

    def row_index(self, genomes: jax.Array) -> jax.Array:
        """The rows of `[..., genes]` genomes, int32."""
        sizes = (*self.space.num_categories[1:], 1)
        return (genomes * jnp.array(np.cumprod(sizes[::-1])[::-1].copy())).sum(-1)


class TableRun(NamedTuple):
    """One search on a table.

    Attributes:
      best: the row of the best reward that was seen, after each query: `[evaluations]` int32.
      queries: how many there were, int32: less than asked for where an algorithm only repeated itself.
    """

    best: jax.Array
    queries: jax.Array


def run_on_table(
    algorithm: Algorithm, row_index, reward: jax.Array, key: jax.Array, first: int, evaluations: int
) -> TableRun:
    """An algorithm on a table, under jit and vmap.

    Every genome that is new is one query; what was asked before is looked up for free.

    Args:
      algorithm: any of `jnas.evolve`, or of the same contract.
      row_index: from genomes to rows; see `Table.row_index`.
      reward: `[rows]` float32; NaN is a failed evaluation.
      key: for all randomness.
      first: random genomes to start from.
      evaluations: queries, the first ones included.
    """
    rows, size = len(reward), evaluations
    draw_key, init_key = jax.random.split(key)
    genomes = _different(algorithm.space, draw_key, first)

    def query(carry, genomes):
        """Takes down the queries that genomes cost, as long as there are any left; and their fitness."""

        def one(carry, place):
            seen, best, count = carry
            there = seen[place] | (count < size)
            new = ~seen[place] & (count < size)
            last = best[jnp.maximum(count - 1, 0)]
            better = (count == 0) | (_or_least(reward[place]) > _or_least(reward[last]))
            best = best.at[jnp.where(new, count, size)].set(jnp.where(better, place, last), mode="drop")
            return (seen.at[place].set(seen[place] | new), best, count + new), jnp.where(there, reward[place], -jnp.inf)

        return jax.lax.scan(one, carry, row_index(genomes))

    start = jnp.zeros(rows, bool), jnp.zeros(size, jnp.int32), jnp.int32(0)
    carry, fitness = query(start, genomes)
    state = algorithm.init(init_key, genomes, fitness)

    def going(loop):
        _, (_, _, count), turn = loop
        return (count < size) & (turn < 2 * size)

    def turn(loop):
        state, carry, number = loop
        genomes, state = algorithm.ask(state)
        carry, fitness = query(carry, genomes)
        return algorithm.tell(state, genomes, fitness), carry, number + 1

    _, (_, best, count), _ = jax.lax.while_loop(going, turn, (state, carry, 0))
    best = jnp.where(jnp.arange(size) < count, best, best[jnp.maximum(count - 1, 0)])
    return TableRun(best, count)


def _different(space, key: jax.Array, count: int) -> jax.Array:
    """`count` random genomes, no two alike where the space holds that many."""
    drawn = space.sample(key, 8 * count)
    return drawn[jnp.argsort(~first_occurrence_mask(space.hash_genomes(drawn)), stable=True)[:count]]


def _or_least(reward: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(reward), -jnp.inf, reward)
