"""Algorithms on tables, and local search, which exists for these only."""

import functools
import itertools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from local_search import LocalSearch
from tabular import Table, run_on_table

from jnas.errors import JnasError
from jnas.evolve import Categorical, GaussianProcess, GuidedEvolution, RandomSearch


def rows(genomes):
    return [tuple(genome) for genome in np.asarray(genomes).tolist()]


def test_local_search_takes_the_best_neighbour_and_starts_anew_at_a_peak():
    space = Categorical((4, 4))
    fitness = {(0, 0): 0, (1, 0): 2, (2, 0): 1, (3, 0): 1, (0, 1): 3, (0, 2): 1, (0, 3): 1, (2, 1): 5}
    algorithm = LocalSearch(space, archive_capacity=64)
    init, ask, tell = jax.jit(algorithm.init), jax.jit(algorithm.ask), jax.jit(algorithm.tell)
    value = lambda genomes: jnp.array([float(fitness.get(row, -1)) for row in rows(genomes)])  # noqa: E731
    start = jnp.zeros((1, 2), jnp.int32)
    state = init(jax.random.key(0), start, value(start))
    asked = []
    for _ in range(11):
        assert float(state.fitness[0]) == (0 if len(asked) < 6 else 3)  # (0, 1) beats (1, 0)
        genomes, state = ask(state)
        asked += rows(genomes)
        state = tell(state, genomes, value(genomes))
        if len(asked) > 8:
            break
    assert set(asked[:6]) == {(1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3)}
    assert rows(state.population) == [(2, 1)] or set(asked[6:9]) == {(1, 1), (2, 1), (3, 1)}
    while float(state.fitness[0]) > -np.inf:
        genomes, state = ask(state)
        asked += rows(genomes)
        state = tell(state, genomes, value(genomes))
    assert int(state.restarts) == 1 and float(state.best_fitness) == 5


def test_local_search_asks_for_what_is_valid_and_new_until_the_space_is_exhausted():
    algorithm = LocalSearch(Categorical((2, 3, 1)), batch_size=2, archive_capacity=16)
    ask, tell = jax.jit(algorithm.ask), jax.jit(algorithm.tell)
    start = jnp.zeros((2, 3), jnp.int32).at[1, 0].set(1)
    state, seen = jax.jit(algorithm.init)(jax.random.key(0), start, start.sum(-1)), set(rows(start))
    for _ in range(2):
        genomes, state = ask(state)
        assert algorithm.space.valid(genomes).all() and len(set(rows(genomes)) - seen) == 2
        state, seen = tell(state, genomes, genomes.sum(-1) * jnp.nan), seen | set(rows(genomes))
    genomes, state = ask(state)
    state = tell(state, genomes, genomes.sum(-1) + 50.0)
    assert float(state.best_fitness) == 1 and int(state.archive.count) == 6


def written(path, num_categories, seed=0, rows=None):
    """A table in which neighbouring genes interact, in a unit of its own."""
    generator = np.random.default_rng(seed)
    genomes = list(itertools.product(*map(range, num_categories)))
    pairs = [generator.normal(size=(a, b)) for a, b in itertools.pairwise(num_categories)]
    lines = [",".join([*(f"gene_{i}" for i in range(len(num_categories))), "reward", "test"])]
    for genome in genomes[:rows]:
        value = sum(p[a, b] for p, (a, b) in zip(pairs, itertools.pairwise(genome), strict=True))
        lines.append(",".join(map(str, (*genome, 1e-4 * (value + 0.05 * generator.normal()), 1e-4 * value))))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_read_in_any_order(tmp_path):
    path = written(tmp_path / "table.csv", (3, 2, 4))
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]))
    table = Table.read(path)
    assert table.space == Categorical((3, 2, 4)) and len(table.reward) == 24
    genome = jnp.array([2, 1, 3])
    assert int(table.row_index(genome)) == 23
    assert table.test[23] == float(lines[-1].split(",")[-1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:-2], "has 22 rows, and 3x2x4 values make 24 combinations: give one row for each"),
        (lambda lines: [*lines[:-1], lines[1]], "has a combination of genes twice"),
        (lambda lines: [lines[0].replace("reward", "price"), *lines[1:]], "has no column reward"),
        (lambda lines: ["a,reward,test", "1,2,3"], "has no column gene_0"),
        (lambda lines: [*lines[:-1], "2,1,x,1,1"], "has a row that is not 5 numbers"),
        (lambda lines: [*lines[:-1], "2,1,0.5,1,1"], "has genes that are not whole numbers from 0"),
        (lambda lines: lines[:1], "or no rows"),
        (lambda lines: [], "cannot be read"),
    ],
)
def test_tables_that_are_none(tmp_path, change, sentence):
    path = written(tmp_path / "table.csv", (3, 2, 4))
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(JnasError, match=sentence):
        Table.read(path)
    with pytest.raises(JnasError, match="cannot be read"):
        Table.read(tmp_path / "missing.csv")


def test_queries_are_counted_and_the_predictor_in_the_loop_pays(tmp_path):
    table = Table.read(written(tmp_path / "table.csv", (4, 3, 4, 3, 3)))
    reward = jnp.asarray(table.reward / table.reward.std(), jnp.float32)
    guided = GuidedEvolution(
        table.space,
        GaussianProcess(steps=2),
        batch_size=2,
        max_training_points=32,
        candidates=64,
        archive_capacity=64,
    )
    keys = jax.random.split(jax.random.key(0), 12)
    found = {}
    for name, algorithm in {
        "random": RandomSearch(table.space, batch_size=2, archive_capacity=64),
        "guided": guided,
    }.items():
        one = functools.partial(run_on_table, algorithm, table.row_index, first=10, evaluations=30)
        runs = jax.jit(jax.vmap(one, (None, 0)))(reward, keys)
        assert (runs.queries == 30).all()
        best = table.reward[np.asarray(runs.best)]
        assert (np.diff(best, axis=1) >= 0).all()
        found[name] = table.reward.max() - best[:, -1].mean()
    assert found["guided"] < 0.5 * found["random"]


def test_failed_rows_of_a_table_are_survived(tmp_path):
    table = Table.read(written(tmp_path / "table.csv", (3, 3, 3)))
    reward = jnp.asarray(table.reward * 1e4, jnp.float32).at[::3].set(jnp.nan)
    guided = GuidedEvolution(
        table.space, GaussianProcess(steps=1), max_training_points=32, candidates=16, archive_capacity=64
    )
    one = functools.partial(run_on_table, guided, table.row_index, first=4, evaluations=16)
    runs = jax.jit(one)(reward, jax.random.key(0))
    assert int(runs.queries) == 16 and not jnp.isnan(reward[runs.best[-1]])


def test_the_benchmark_on_a_table(tmp_path):
    """As a user runs it, small: keys by algorithm; and a table that is none ends in one sentence."""
    path = written(tmp_path / "table.csv", (3, 3, 3))
    script = Path(__file__).parent.parent / "evolve.py"
    command = [sys.executable, str(script), "--table", str(path), "--evaluations", "8", "--repeats", "2"]
    out = tmp_path / "out.json"
    done = subprocess.run(
        [*command, "--algorithms", "random,local", "--json", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())["figures"]
    found = figures["algorithms"]
    assert set(found) == {"random", "local"} and found["random"]["queries_mean"] == 8
    assert found["random"]["regret_mean"] == pytest.approx(figures["test_best"] - found["random"]["test_mean"])
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "26 rows" in done.stderr
