"""The prior, the Gaussian process that corrects it, and the predictor that is made of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnas
from jnas._search.screening import featurize
from jnas.errors import JnasError
from jnas.predict import (
    EnsembleConfig,
    LSTMEnsemble,
    Predictor,
    Prior,
    _corrected_prior,
    _forward,
    _gaussian_process,
    _predictor,
    _prior,
    apply_ensemble,
    calibration,
    score,
)
from jnas.predict._gaussian_process import GaussianProcess, Knowledge
from jnas.space import FEATURE_NAMES, Space

SMALL = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=20)


def described(count=60, seed=0, space=Space(conv_num=3, lin_num=2)):  # noqa: B008  a constant
    """Random templates as a predictor sees them, and a made-up accuracy: the wider the last layers, the better."""
    genomes = space.sample_valid(jax.random.key(seed), count)[:count]
    sequences, used = featurize(space, np.asarray(genomes))
    macs = sequences[np.arange(count), used - 1, 32 + FEATURE_NAMES.index("macs so far")]
    noise = np.random.default_rng(seed).normal(size=count)
    return sequences, used, 0.2 + 0.3 * macs + 0.01 * noise


@pytest.fixture(scope="module")
def prior():
    return Prior.fit(*described(), config=SMALL)


def known(rows, seed=0):
    """What an expectation, two features and an epoch say of a target, each of them somewhat."""
    generator = np.random.default_rng(seed)
    expected, embedding, early = (
        generator.normal(size=rows),
        generator.normal(size=(rows, 2)),
        generator.normal(size=(rows, 1)),
    )
    targets = 5 + 2 * expected + np.sin(embedding[:, 0]) + early[:, 0] + 0.3 * generator.normal(size=rows)
    return Knowledge(expected, embedding, embedding[:, :1], early), targets


def test_process_left_out_rows_are_those_of_processes_without_them():
    rows, targets = known(30)
    process = GaussianProcess(rows, targets)
    for left_out in (0, 17):
        others = np.delete(np.arange(30), left_out)
        expected, _ = _with_variances(process, rows.take(others), targets[others]).predict(
            rows.take(np.array([left_out]))
        )
        assert process.left_out[left_out] == pytest.approx(expected[0], rel=1e-6)


def _with_variances(process, rows, targets):
    """A process of other rows with the variances, mean and unit of this one."""
    other = object.__new__(GaussianProcess)
    vars(other).update(known=rows, mean=process.mean, std=process.std, variances=process.variances)
    other._solve((targets - process.mean) / process.std)
    return other


@pytest.mark.parametrize("count", [3, 16, 40, 400])
def test_process_learns_and_knows_its_errors(count):
    process = GaussianProcess(*known(count))
    rows, targets = known(1000, seed=1)
    mean, std = process.predict(rows)
    assert mean.shape == std.shape == (1000,) and (std > 0).all()
    if count >= 16:
        assert score(targets, mean).r2 > (0.8 if count > 16 else 0.5)
        assert 0.5 < calibration(targets, mean, std).coverage_1std < (0.85 if count > 16 else 0.97)


def test_process_tells_networks_that_are_nearly_alike():
    """Children of two parents, which are themselves close: what one family has does not count for the other."""
    generator = np.random.default_rng(0)
    parent, family = generator.normal(size=8), np.arange(24) % 2
    embedding = parent + 0.5 * family[:, None] + 0.05 * generator.normal(size=(24, 8))
    rows = Knowledge(np.zeros(24), embedding, embedding[:, :1] * 0, np.zeros((24, 0)))
    targets = 0.7 + 0.02 * family + 0.003 * generator.normal(size=24)
    process = GaussianProcess(rows.take(np.arange(6)), targets[:6])
    mean, std = process.predict(rows.take(np.arange(6, 24)))
    assert score(targets[6:], mean).r2 > 0.8
    assert (np.abs(targets[6:] - mean) < 2 * std).mean() > 0.9


def test_process_slopes_of_likelihood_are_right():
    from scipy.optimize import check_grad

    rows, targets = known(20)
    scaled = (targets - targets.mean()) / targets.std()
    products = [*_gaussian_process._products(rows, rows), np.eye(20)]

    def loss(logarithms):
        return _gaussian_process.negative_log_posterior(logarithms, products, scaled)

    start = np.array(_gaussian_process.MEAN) + 0.3
    assert check_grad(lambda x: loss(x)[0], lambda x: loss(x)[1], start) < 1e-4 * np.abs(loss(start)[1]).max()


def test_prior_survives_the_disk_and_refuses_other_files(prior, tmp_path):
    sequences, used, _ = described(30, seed=1)
    prior.save(tmp_path / "mine.npz")
    loaded = Predictor(prior=tmp_path / "mine.npz")
    np.testing.assert_allclose(loaded.predict(sequences, used), prior.predict(sequences, used), rtol=1e-5)
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "mine.npz").read_bytes()[:2000])
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("damaged", "foreign", "text", "missing"):
        with pytest.raises(
            JnasError, match=r"prior must be .* got .*; name a file that benchmarks/train_prior.py wrote"
        ):
            Predictor(prior=tmp_path / f"{name}.npz")
    with pytest.raises(JnasError, match="prior must be"):
        Predictor(prior=3)


def test_prior_in_numpy_says_what_the_ensemble_does(prior, monkeypatch):
    monkeypatch.setattr(_forward, "CHUNK_ROWS", 200)
    sequences, used, _ = described(500, seed=5)
    members, states = prior._weights.read(sequences[..., _prior._COLUMNS], used)
    expected = jax.jit(apply_ensemble)(prior.params, sequences[..., _prior._COLUMNS], used)
    np.testing.assert_allclose(prior.params.transform.inverse(jnp.asarray(members)), expected, rtol=1e-4)
    assert states.shape == (500, 2 * SMALL.members * SMALL.hidden_dim) and np.ptp(states, 0).min() > 0


def test_predictor_before_and_after_a_few_rows(prior):
    sequences, used, accuracies = described(80, seed=1)
    predictor = Predictor(prior=prior)
    before, _ = predictor.predict(sequences, used)
    assert score(accuracies, before).kendall_tau > 0.3
    predictor.fit(sequences[:40], used[:40], 100 * accuracies[:40])
    after, std = predictor.predict(sequences[40:], used[40:])
    assert predictor.scores.num_rows == 40 and (std > 0).all()
    assert score(100 * accuracies[40:], after).r2 > 0.3
    Predictor(prior=prior).fit(sequences[:3], used[:3], accuracies[:3])
    with pytest.raises(JnasError, match="targets must have 3 rows or more, got 2"):
        Predictor(prior=prior).fit(sequences[:2], used[:2], accuracies[:2])


@pytest.mark.slow
def test_predictor_of_other_features_or_without_prior_is_the_ensemble(prior):
    sequences, used, accuracies = described(30)
    rows = sequences[..., :40], used, accuracies
    ensemble = LSTMEnsemble(0, SMALL).fit(*rows)
    np.testing.assert_array_equal(Predictor(0, SMALL, prior).fit(*rows).predict(*rows[:2]), ensemble.predict(*rows[:2]))
    with pytest.raises(JnasError, match="must be fitted first"):
        Predictor(0, SMALL, prior).predict(*rows[:2])
    with pytest.raises(JnasError, match="must be fitted first"):
        Predictor(0, SMALL, None).predict(sequences, used)


@pytest.mark.slow
def test_predictor_of_more_rows_than_a_process_takes(prior, monkeypatch):
    monkeypatch.setattr(_corrected_prior, "MAX_ROWS", 20)
    monkeypatch.setattr(_predictor, "MANY_ROWS", 30)
    monkeypatch.setattr(_gaussian_process, "BLOCK_ROWS", 7)
    sequences, used, accuracies = described(60, seed=7)
    predictor = Predictor(0, SMALL, prior).fit(sequences, used, accuracies)
    assert predictor.scores.num_rows == 20 and np.isfinite(predictor.predict(sequences, used)).all()


def test_predictor_of_one_table_is_the_prior_of_another(prior, tmp_path):
    sequences, used, accuracies = described(80, seed=6)
    order = -100 * accuracies  # of another table, in which the worst are the best
    first = Predictor(prior=prior).fit(sequences[:60], used[:60], order[:60])
    np.testing.assert_array_equal(*(p.predict(sequences, used) for p in (first, Predictor(prior=first))))
    second = Predictor(prior=first).fit(sequences[60:65], used[60:65], 2 * order[60:65])
    mean, std = second.predict(sequences[65:], used[65:])
    alone, _ = (
        Predictor(prior=prior).fit(sequences[60:65], used[60:65], order[60:65]).predict(sequences[65:], used[65:])
    )
    assert score(order[65:], mean).kendall_tau > max(0.3, score(order[65:], alone).kendall_tau)
    second.save(tmp_path / "model")
    np.testing.assert_allclose(
        Predictor.load(tmp_path / "model").predict(sequences[65:], used[65:]), (mean, std), rtol=1e-4
    )
    with pytest.raises(JnasError, match="prior must be a predictor that was fitted with a prior of its own"):
        Predictor(prior=Predictor())


@pytest.mark.slow
def test_predictor_of_many_rows_weighs_prior_and_ensemble(prior, monkeypatch, tmp_path):
    monkeypatch.setattr(_predictor, "MANY_ROWS", 30)
    sequences, used, accuracies = described(60, seed=2)
    early = np.where(np.arange(60) % 3, accuracies, np.nan)[:, None]
    predictor = Predictor(0, SMALL, prior).fit(sequences, used, accuracies, early)
    assert 0 <= predictor._weight <= 1
    expected = predictor.predict(sequences, used, early)
    predictor.save(tmp_path / "model")
    loaded = Predictor.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(sequences, used, early), expected, rtol=1e-4)
    assert repr(loaded) == repr(predictor) and loaded.scores == predictor.scores


def test_predictor_early_epochs_help_where_they_are_observed(prior):
    sequences, used, accuracies = described(80, seed=3)
    accuracies = np.random.default_rng(0).permutation(accuracies)  # of nothing that can be seen before
    early = np.stack([accuracies + 0.01 * np.random.default_rng(1).normal(size=80), np.full(80, np.nan)], 1)
    predictor = Predictor(prior=prior).fit(sequences[:40], used[:40], accuracies[:40], early[:40])
    test = sequences[40:], used[40:]
    errors = [np.abs(predictor.predict(*test, rows)[0] - accuracies[40:]).mean() for rows in (None, early[40:])]
    assert errors[1] < 0.5 * errors[0]
    np.testing.assert_array_equal(predictor.predict(*test, early[40:, :1]), predictor.predict(*test, early[40:]))


@pytest.mark.parametrize(("in_shape", "classes"), [((3, 32, 32), 10), ((1, 16, 16), 5)])
def test_shipped_prior_prefers_what_people_build(in_shape, classes):
    """Without a row, and on images of another size and number of classes, too."""
    space = Space(in_shape, classes)
    built = jnas.space.known_networks(space)[:3]
    genomes = np.stack([*(jnas.space.to_genome(template, space.length) for template in built), _poor(space)])
    mean, std = Predictor().predict(*featurize(space, genomes))
    assert (mean[:3] > mean[3] + 0.05).all() and (std > 0).all()


def _poor(space):
    """A network of one layer that sees a sixteenth of the pixels."""
    layers = (
        jnas.space.Conv2d(8, 1, 4, False),
        jnas.space.ReLU(),
        jnas.space.Flatten(),
        jnas.space.Linear(space.classes),
    )
    template = jnas.Template(layers, space.in_shape)
    return jnas.space.to_genome(template, space.length)


def test_table_has_what_its_docstring_says():
    table = jnas.load_table()
    assert len(table) >= 600 and (table.status == "ok").mean() > 0.9
    assert set(table.source) == {"sophius", "modern", "relatives"}
    assert table.val_acc.between(0, 1).all() and {"acc_1", "train_acc_4", "train_loss_4"} <= set(table)
    repeated = table[table.groupby("hash").hash.transform("size") == 3]
    assert set(repeated.seed) == {0, 1, 2}
    template = jnas.Template.from_hash(table.hash[0])
    assert (template.cost.params, template.cost.macs) == (table.params[0], table.macs[0])
