"""Several objectives, surrogates, and algorithms on tables."""

import dataclasses
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
from scipy.stats import norm

from jnas.errors import JnasError
from jnas.evolve import (
    NSGA2,
    Categorical,
    GaussianProcess,
    GuidedEvolution,
    RandomSearch,
    Table,
    crowding,
    diverse,
    evolve,
    front,
    fronts,
    log_expected_improvement,
)
from jnas.evolve._acquisition import normal_scores
from jnas.evolve._gaussian_process import _covariance, inverse_of_triangle
from jnas.evolve._table import play


def peeled(objectives):
    """Fronts by their definition: what nobody dominates, again and again."""
    left, result, number = np.arange(len(objectives)), np.zeros(len(objectives), int), 0
    while len(left):
        values = objectives[left]
        above = (values[None] >= values[:, None]).all(-1) & (values[None] > values[:, None]).any(-1)
        result[left[~above.any(1)]] = number
        left, number = left[above.any(1)], number + 1
    return result


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_fronts_are_those_of_the_definition(objectives, count):
    values = np.random.default_rng(count).integers(0, 9, (count, objectives)).astype(np.float32)  # many are equal
    expected = peeled(values)
    np.testing.assert_array_equal(fronts(jnp.asarray(values)), expected)
    best = front(values)
    assert {tuple(row) for row in values[best]} == {tuple(row) for row in values[expected == 0]}
    assert (np.diff(values[best, 0]) <= 0).all() and len(best) == len({tuple(row) for row in values[best]})


def test_failed_members_are_in_no_front():
    values = jnp.array([[1.0, 1.0], [-jnp.inf, 9.0], [2.0, 0.0]])
    assert fronts(values).tolist() == [0, 3, 0]
    assert front(np.array([[np.nan, 5.0], [1.0, 1.0]])).tolist() == [1]


def test_crowding_is_the_room_between_neighbours():
    values = jnp.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    found = crowding(values, jnp.zeros(4, jnp.int32))
    assert found.tolist() == [np.inf, 1.5, 1.5, np.inf]
    assert np.isinf(crowding(values, jnp.arange(4))).all()


def two_goals(genomes):
    """How many genes are 0, and how many are 2: the front has all genes at either."""
    return jnp.stack([(genomes == 0).sum(-1), (genomes == 2).sum(-1)], -1).astype(jnp.float32)


def test_nsga2_spreads_along_the_front():
    space = Categorical((3,) * 8)
    genomes = space.sample(jax.random.key(0), 40)
    state = evolve(NSGA2(space, capacity=4096), two_goals, jax.random.key(1), genomes, two_goals(genomes), (), 40)
    best = np.asarray(state.fitness)[front(np.asarray(state.fitness))]
    assert (best.sum(-1) == 8).all() and len(best) == 9


def test_log_expected_improvement():
    mean, std, best = np.array([0.3, -1.0, 2.0, -30.0, 0.0]), np.array([0.5, 0.1, 1.0, 1.0, 2.0]), 0.5
    z = (mean - best) / std
    expected = np.log(std) + np.log(z * norm.cdf(z) + norm.pdf(z))
    found = np.asarray(log_expected_improvement(jnp.asarray(mean), jnp.asarray(std), best))
    np.testing.assert_allclose(found[[0, 2, 4]], expected[[0, 2, 4]], rtol=1e-4)
    assert np.isfinite(found).all() and found[3] < found[1] < found[0]
    grid = np.asarray(log_expected_improvement(jnp.linspace(-20, 3, 500), jnp.ones(500), 0.0))
    assert (np.diff(grid) > 0).all()  # where the series takes over, too


def test_normal_scores_know_ranks_only():
    values = jnp.array([3.0, 1.0, 2.0, 99.0, 2.0])
    known = jnp.array([True, True, True, False, True])
    found = np.asarray(normal_scores(values, known))
    np.testing.assert_allclose(found, norm.ppf([0.875, 0.125, 0.5, 0.5, 0.5]), atol=1e-5)
    np.testing.assert_allclose(normal_scores(1e6 * values - 5, known), found, atol=1e-6)


def test_diverse_skips_what_is_alike():
    space = Categorical((5, 5, 5, 5))
    genomes = jnp.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [4, 4, 4, 4]])
    picked = diverse(jnp.array([0.0, -0.1, -0.2, -0.3]), genomes, 2, space.distance, reach=0.5)
    assert picked.tolist() == [0, 3]


def test_inverse_of_a_triangle():
    for size in (1, 5, 16, 100):
        lower = np.tril(np.random.default_rng(size).normal(size=(size, size))) / size + np.eye(size)
        found = jax.jit(inverse_of_triangle)(jnp.asarray(lower, jnp.float32))
        np.testing.assert_allclose(found @ lower, np.eye(size), atol=1e-4)


def test_the_gaussian_process_is_exact_and_learns_which_genes_matter():
    space = Categorical((3, 3, 3, 3))
    genomes = space.sample(jax.random.key(0), 40)
    targets = (genomes[:, 0] - 1.0) + 0.5 * (genomes[:, 1] == genomes[:, 0])
    model, known = GaussianProcess(steps=30), jnp.arange(40) < 30
    inputs = space.encode(genomes)
    fitted = jax.jit(model.fit)(model.init(inputs), inputs, targets, known)
    mean, std = jax.jit(model.predict)(fitted, inputs)
    # The same, as the textbook writes it.
    noise = np.exp(float(fitted.hyper.noise)) + 1e-4
    whole = np.asarray(_covariance(fitted.hyper, inputs, inputs), float)
    inner = np.linalg.inv(whole[:30, :30] + noise * np.eye(30))
    np.testing.assert_allclose(mean, whole[:, :30] @ inner @ np.asarray(targets[:30]), atol=2e-3)
    expected = np.diag(whole) - np.einsum("ij,jk,ik->i", whole[:, :30], inner, whole[:, :30])
    np.testing.assert_allclose(std**2, expected, atol=2e-3)
    errors = np.abs(np.asarray(mean - targets))
    assert errors[30:].mean() < 0.4 * np.abs(targets[30:] - targets[:30].mean()).mean()
    weight = np.exp(np.asarray(fitted.hyper.reach)) + np.asarray(jax.nn.softmax(fitted.hyper.share))
    assert weight[:2].min() > weight[2:].max()


def written(path, cardinalities, seed=0, rows=None):
    """A table in which neighbouring genes interact, in a unit of its own."""
    generator = np.random.default_rng(seed)
    genomes = list(itertools.product(*map(range, cardinalities)))
    pairs = [generator.normal(size=(a, b)) for a, b in itertools.pairwise(cardinalities)]
    lines = [",".join([*(f"gene_{i}" for i in range(len(cardinalities))), "reward", "test"])]
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
    assert int(table.places(genome)) == 23
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
        table.space, GaussianProcess(steps=2), children=2, rows=32, candidates=64, generations=3, capacity=64
    )
    keys = jax.random.split(jax.random.key(0), 12)
    found = {}
    for name, algorithm in {"random": RandomSearch(table.space, children=2, capacity=64), "guided": guided}.items():
        one = functools.partial(play, algorithm, table.places, first=10, evaluations=30)
        played = jax.jit(jax.vmap(one, (None, 0)))(reward, keys)
        assert (played.queries == 30).all()
        best = table.reward[np.asarray(played.best)]
        assert (np.diff(best, axis=1) >= 0).all()
        found[name] = table.reward.max() - best[:, -1].mean()
    assert found["guided"] < 0.5 * found["random"]


def test_failed_rows_of_a_table_are_survived(tmp_path):
    table = Table.read(written(tmp_path / "table.csv", (3, 3, 3)))
    reward = jnp.asarray(table.reward * 1e4, jnp.float32).at[::3].set(jnp.nan)
    guided = GuidedEvolution(table.space, GaussianProcess(steps=1), rows=32, candidates=16, generations=1, capacity=64)
    one = functools.partial(play, guided, table.places, first=4, evaluations=16)
    played = jax.jit(one)(reward, jax.random.key(0))
    assert int(played.queries) == 16 and not jnp.isnan(reward[played.best[-1]])


def test_the_benchmark_on_a_table(tmp_path):
    """As a user runs it, small: keys by algorithm; and a table that is none ends in one sentence."""
    path = written(tmp_path / "table.csv", (3, 3, 3))
    script = Path(__file__).parent.parent / "benchmarks" / "evolve.py"
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


def test_a_surrogate_of_another_kind_fits_in(tmp_path):
    """The protocol is all that the loop knows: here, the mean of the nearest neighbours."""

    @dataclasses.dataclass(frozen=True)
    class Neighbours:
        def init(self, inputs):
            return inputs.astype(jnp.float32), jnp.zeros(len(inputs)), jnp.zeros(len(inputs), bool)

        def fit(self, params, inputs, targets, known):
            return inputs.astype(jnp.float32), targets, known

        def predict(self, params, inputs):
            rows, targets, known = params
            apart = jnp.abs(inputs[:, None] - rows[None]).sum((-1, -2)) / 2
            weight = jnp.where(known, jnp.exp(-2 * apart), 0)
            mean = (weight @ targets) / jnp.maximum(weight.sum(-1), 1e-9)
            return mean, 0.1 + jnp.where(known, apart, jnp.inf).min(-1) / 10

    space = Categorical((3,) * 5)
    genomes = space.sample(jax.random.key(0), 8)
    algorithm = GuidedEvolution(space, Neighbours(), children=2, rows=64, candidates=32, generations=2, capacity=128)
    ask, tell = jax.jit(algorithm.ask), jax.jit(algorithm.tell)
    state = jax.jit(algorithm.init)(jax.random.key(1), genomes, genomes.sum(-1).astype(jnp.float32))
    for _ in range(15):
        state, asked = ask(state)
        state = tell(state, asked, asked.sum(-1).astype(jnp.float32))
    assert float(state.best) == 10
