"""Several objectives and surrogates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jnas._search.ranking import order_by_front
from jnas.evolve import (
    NSGA2,
    Categorical,
    GaussianProcess,
    GuidedEvolution,
    crowding_distance,
    local_penalization,
    log_probability_of_improvement,
    nondominated_rank,
    pareto_front,
    run,
)
from jnas.evolve._acquisition import rank_to_normal
from jnas.evolve._gaussian_process import _covariance, triangular_inverse


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
    np.testing.assert_array_equal(nondominated_rank(jnp.asarray(values)), expected)
    np.testing.assert_array_equal(order_by_front(values, count), np.argsort(expected, kind="stable"))
    best = pareto_front(values)
    assert {tuple(row) for row in values[best]} == {tuple(row) for row in values[expected == 0]}
    assert (np.diff(values[best, 0]) <= 0).all() and len(best) == len({tuple(row) for row in values[best]})


def test_failed_members_are_in_no_front():
    values = jnp.array([[1.0, 1.0], [-jnp.inf, 9.0], [2.0, 0.0]])
    assert nondominated_rank(values).tolist() == [0, 3, 0]
    rows = np.array([[1.0, 1.0], [-np.inf, 9.0], [1.0, 0.0], [np.nan, 1.0], [1.0, 1.0]])
    assert order_by_front(rows, 5).tolist() == [0, 4, 2, 1, 3] and order_by_front(rows, 1).tolist() == [0, 4]
    assert pareto_front(np.array([[np.nan, 5.0], [1.0, 1.0]])).tolist() == [1]


def test_crowding_is_the_room_between_neighbours():
    values = jnp.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    found = crowding_distance(values, jnp.zeros(4, jnp.int32))
    assert found.tolist() == [np.inf, 1.5, 1.5, np.inf]
    assert np.isinf(crowding_distance(values, jnp.arange(4))).all()


def two_goals(genomes):
    """How many genes are 0, and how many are 2: the front has all genes at either."""
    return jnp.stack([(genomes == 0).sum(-1), (genomes == 2).sum(-1)], -1).astype(jnp.float32)


def test_nsga2_spreads_along_the_front():
    space = Categorical((3,) * 8)
    genomes = space.sample(jax.random.key(0), 40)
    state = run(NSGA2(space, archive_capacity=4096), two_goals, jax.random.key(1), genomes, 40)
    best = np.asarray(state.fitness)[pareto_front(np.asarray(state.fitness))]
    assert (best.sum(-1) == 8).all() and len(best) == 9


def test_log_probability_of_improvement():
    mean, std, best = np.array([0.3, -1.0, 2.0, -30.0, 0.5]), np.array([0.5, 0.1, 1.0, 1.0, 2.0]), 0.5
    found = np.asarray(log_probability_of_improvement(jnp.asarray(mean), jnp.asarray(std), best))
    np.testing.assert_allclose(found, norm.logsf(best, mean, std), rtol=1e-3)
    assert np.isfinite(log_probability_of_improvement(jnp.zeros(1), jnp.zeros(1), 1.0)).all(), "a surrogate may be sure"


def test_rank_to_normal_knows_ranks_only():
    values = jnp.array([3.0, 1.0, 2.0, 99.0, 2.0])
    known = jnp.array([True, True, True, False, True])
    found = np.asarray(rank_to_normal(values, known))
    np.testing.assert_allclose(found, norm.ppf([0.875, 0.125, 0.5, 0.5, 0.5]), atol=1e-5)
    np.testing.assert_allclose(rank_to_normal(1e6 * values - 5, known), found, atol=1e-6)


def test_local_penalization_skips_what_is_alike():
    space = Categorical((5, 5, 5, 5))
    genomes = jnp.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [4, 4, 4, 4]])
    picked = local_penalization(jnp.array([0.0, -0.1, -0.2, -0.3]), genomes, 2, space.distance, length_scale=0.5)
    assert picked.tolist() == [0, 3]


def test_inverse_of_a_triangle():
    for size in (1, 5, 16, 100):
        lower = np.tril(np.random.default_rng(size).normal(size=(size, size))) / size + np.eye(size)
        found = jax.jit(triangular_inverse)(jnp.asarray(lower, jnp.float32))
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
    noise = np.exp(float(fitted.hyper.log_noise_variance)) + 1e-4
    whole = np.asarray(_covariance(fitted.hyper, inputs, inputs), float)
    inner = np.linalg.inv(whole[:30, :30] + noise * np.eye(30))
    np.testing.assert_allclose(mean, whole[:, :30] @ inner @ np.asarray(targets[:30]), atol=2e-3)
    expected = np.diag(whole) - np.einsum("ij,jk,ik->i", whole[:, :30], inner, whole[:, :30])
    np.testing.assert_allclose(std**2, expected, atol=2e-3)
    errors = np.abs(np.asarray(mean - targets))
    assert errors[30:].mean() < 0.4 * np.abs(targets[30:] - targets[:30].mean()).mean()
    weight = np.exp(np.asarray(fitted.hyper.log_product_weights)) + np.asarray(
        jax.nn.softmax(fitted.hyper.additive_logits)
    )
    assert weight[:2].min() > weight[2:].max()


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
    algorithm = GuidedEvolution(
        space, Neighbours(), batch_size=2, max_training_points=64, candidates=32, archive_capacity=128
    )
    ask, tell = jax.jit(algorithm.ask), jax.jit(algorithm.tell)
    state = jax.jit(algorithm.init)(jax.random.key(1), genomes, genomes.sum(-1).astype(jnp.float32))
    for _ in range(15):
        asked, state = ask(state)
        state = tell(state, asked, asked.sum(-1).astype(jnp.float32))
    assert float(state.best_fitness) == 10
