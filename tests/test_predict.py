"""The predictor finds a signal, knows what it does not know, and is the same after a trip to the disk."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnas.errors import JnasError
from jnas.predict import (
    OriginalLSTM,
    Predictor,
    Settings,
    apply,
    calibration,
    score,
)
from jnas.predict import _ensemble as core

SMALL = Settings(members=4, folds=2, hidden=8, head=8, steps=60, checks=4)
QUICK = Settings(members=2, folds=2, hidden=4, head=4, steps=6, checks=2)


def table(rows, seed=0, length=6, width=5):
    """Sequences whose target is how much of feature 0 they hold."""
    generator = np.random.default_rng(seed)
    sequences = generator.normal(size=(rows, length, width)).astype(np.float32)
    lengths = generator.integers(1, length + 1, rows)
    there = np.arange(length) < lengths[:, None]
    return sequences, lengths, np.tanh((sequences[..., 0] * there).sum(1)) * 0.2 + 0.5


MODELS = {"jnas": Predictor, "sophius_lstm": OriginalLSTM}


def make(name, seed=0):
    """A model by its name, in a small form."""
    return Predictor(seed, QUICK) if name == "jnas" else MODELS[name](seed)


def test_it_learns_and_its_held_out_scores_are_honest():
    predictor = Predictor(0, SMALL).fit(*table(120))
    assert predictor.scores.rows == 120 and predictor.scores.kendall_tau > 0.4
    sequences, lengths, targets = table(100, seed=1)
    mean, std = predictor.predict(sequences, lengths)
    assert mean.shape == std.shape == (100,) and score(targets, mean).kendall_tau > 0.4
    # The standard deviations are of the size of the errors.
    assert 0.4 < calibration(targets, mean, std).within_1_std < 0.95
    noise = np.random.default_rng(2).normal(size=120)
    lucky = Predictor(0, SMALL).fit(*table(120)[:2], noise)
    assert abs(lucky.scores.kendall_tau) < 0.25  # what was not seen cannot be known
    assert lucky.predict(sequences, lengths)[1].mean() > 0.7  # and it says so


def test_early_epochs_help_and_may_be_missing():
    generator = np.random.default_rng(0)
    sequences, lengths, targets = table(160)
    # Half of the target is not in the sequences, and shows in the second epoch only.
    targets = targets + generator.normal(size=160) * 0.2
    early = np.stack([generator.normal(size=160), 0.5 * targets + 0.01 * generator.normal(size=160)], 1)
    seen = generator.integers(0, 3, 160)
    mixed = np.where(np.arange(2) < seen[:, None], early, np.nan)
    train, test = slice(0, 120), slice(120, 160)
    predictor = Predictor(0, SMALL).fit(sequences[train], lengths[train], targets[train], mixed[train])
    rows = sequences[test], lengths[test]

    def errors(known):
        return np.abs(predictor.predict(*rows, known)[0] - targets[test])

    nothing, both = errors(None), errors(early[test])
    assert both.mean() < 0.5 * nothing.mean()
    np.testing.assert_array_equal(errors(np.full((40, 2), np.nan)), nothing)
    # Epochs of other rows cost nothing where none are known.
    unaware = Predictor(0, SMALL).fit(sequences[train], lengths[train], targets[train])
    np.testing.assert_allclose(predictor.predict(*rows), unaware.predict(*rows), rtol=1e-4)
    some = np.where(np.arange(40)[:, None] % 2, early[test], np.nan)
    np.testing.assert_allclose(errors(some), np.where(np.arange(40) % 2, both, nothing), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(errors(early[test][:, :1]), errors(np.where([True, False], early[test], np.nan)))
    # What comes after an epoch that is not known does not count.
    np.testing.assert_array_equal(errors(np.where([False, True], early[test], np.nan)), nothing)
    with pytest.raises(JnasError, match="fitted on 2 early epochs and got 3"):
        predictor.predict(*rows, np.zeros((40, 3)))


def test_an_epoch_that_no_row_had_counts_as_not_seen():
    sequences, lengths, targets = table(40)
    early = np.stack([targets, np.full(40, np.nan)], 1)
    predictor = Predictor(0, QUICK).fit(sequences, lengths, targets, early)
    later = np.stack([targets, np.full(40, 9.0)], 1)
    np.testing.assert_array_equal(
        predictor.predict(sequences, lengths, later), predictor.predict(sequences, lengths, early)
    )


def test_what_lies_behind_a_sequence_changes_nothing():
    sequences, lengths, targets = table(40)
    predictor = Predictor(0, QUICK).fit(sequences, lengths, targets)
    expected = predictor.predict(sequences, lengths)
    behind = np.arange(sequences.shape[1]) >= lengths[:, None]
    changed = np.where(behind[..., None], 100.0, sequences).astype(np.float32)
    np.testing.assert_allclose(predictor.predict(changed, lengths), expected, rtol=1e-6)
    longer = np.pad(changed, ((0, 0), (0, 9), (0, 0)), constant_values=np.nan)
    np.testing.assert_allclose(predictor.predict(longer, lengths), expected, rtol=1e-6)
    again = Predictor(0, QUICK).fit(changed, lengths, targets)
    np.testing.assert_allclose(again.predict(sequences, lengths), expected, rtol=1e-4)


def test_a_row_is_predicted_alone_as_among_others():
    sequences, lengths, targets = table(40, length=20)
    predictor = Predictor(0, QUICK).fit(sequences, lengths, targets)
    together, _ = predictor.predict(sequences, lengths)
    alone = [predictor.predict(sequences[[i]], lengths[[i]])[0][0] for i in (0, 7, 39)]
    np.testing.assert_allclose(alone, together[[0, 7, 39]], rtol=1e-5)
    assert predictor.predict(sequences[:0], lengths[:0])[0].shape == (0,)


def test_units_of_the_targets_do_not_matter():
    sequences, lengths, targets = table(40)
    shares, _ = Predictor(0, QUICK).fit(sequences, lengths, targets).predict(sequences, lengths)
    percents, _ = Predictor(0, QUICK).fit(sequences, lengths, 100 * targets - 7).predict(sequences, lengths)
    np.testing.assert_allclose(percents, 100 * shares - 7, rtol=1e-2)


def test_the_core_works_under_vmap_with_rows_that_are_not_there():
    sequences, lengths, targets = table(24)
    mask = np.ones((2, 24), np.float32)
    mask[1, 16:] = 0
    targets = np.where(mask > 0, targets, np.nan)
    keys = jax.random.split(jax.random.key(0), 2)
    fit = jax.jit(jax.vmap(functools.partial(core.fit, settings=QUICK), (0, None, None, 0, 0)))
    fitted, held_out = fit(keys, sequences, lengths, targets.astype(np.float32), mask)
    members = jax.jit(jax.vmap(apply, (0, None, None)))(fitted, sequences, lengths)
    assert members.shape == (2, QUICK.members, 24) and np.isfinite(members).all() and held_out.shape == (2, 24)
    # What stands in rows that are not there changes nothing.
    other = np.where(mask[1, :, None, None] > 0, sequences, 5.0)
    again, _ = jax.jit(functools.partial(core.fit, settings=QUICK))(
        keys[1], other, lengths, np.nan_to_num(targets[1], nan=9.0).astype(np.float32), mask[1]
    )
    np.testing.assert_allclose(apply(again, sequences, lengths), members[1], rtol=1e-3)


def test_a_part_of_the_ensemble_is_its_first_members():
    sequences, lengths, targets = table(40)
    predictor = Predictor(0, QUICK).fit(sequences, lengths, targets)
    members = predictor.members(sequences, lengths)
    np.testing.assert_allclose(predictor.part(1).members(sequences, lengths), members[:1], rtol=1e-5)
    assert predictor.members(sequences, lengths).shape == (2, 40)


def test_folds_leave_out_each_row_equally_often():
    mask = jnp.asarray(np.arange(40) < 30, jnp.float32)
    trained = np.asarray(core._trained_rows(jnp.array([1, 2], jnp.uint32), mask, Settings(members=6, folds=3)))
    assert not trained[:, 30:].any()
    assert (trained[:, :30].sum(0) == 4).all() and (trained.sum(1) == 20).all()


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_repeats_itself_and_survives_the_disk(name, tmp_path):
    sequences, lengths, targets = table(30)
    early = np.where(np.arange(30) % 2, np.nan, targets)[:, None]
    model = make(name, 3).fit(sequences, lengths, targets, early)
    expected = model.predict(sequences, lengths, early)
    assert expected[0].shape == expected[1].shape == (30,) and (expected[1] > 0).all()
    again = make(name, 3).fit(sequences, lengths, targets, early)
    np.testing.assert_array_equal(again.predict(sequences, lengths, early), expected)
    model.save(tmp_path / "model")
    loaded = MODELS[name].load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(sequences, lengths, early), expected, rtol=1e-4)
    assert loaded.scores == model.scores
    other = next(cls for key, cls in MODELS.items() if key != name)
    with pytest.raises(JnasError, match="holds no predictor of the kind"):
        other.load(tmp_path / "model")


def test_the_originals_lstm_learns():
    generator = np.random.default_rng(0)
    sequences = generator.integers(0, 2, (600, 4, 3))
    targets = sequences[:, -1, 0] * 0.4 + 0.3
    model = make("sophius_lstm").fit(sequences, np.full(600, 4), targets)
    assert score(targets, model.predict(sequences, np.full(600, 4))[0]).r2 > 0.5
    assert len({leaf.shape for leaf in jax.tree.leaves(model.params)}) > 1 and model.scores is None


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s, n, y: (s[:9], n[:9], y[:9]), "got 9 rows and needs 10"),
        (lambda s, n, y: (s, n, np.where(np.arange(20) == 3, np.nan, y)), "a target that is not a number (nan, row 3)"),
        (lambda s, n, y: (s, n, np.full(20, 0.5)), "All 20 targets are 0.5"),
        (lambda s, n, y: (s, n, 1e6 + 1e-3 * np.arange(20)), "All 20 targets are 1e+06"),
        (lambda s, n, y: (s[0], n, y), "give [N, T, D] and [N]"),
        (lambda s, n, y: (s, n[:5], y), "give [N, T, D] and [N]"),
        (lambda s, n, y: (s, n, y[:5]), "one target for each sequence"),
        (lambda s, n, y: (s, n * 0, y), "lengths from 0 to 0 for sequences of 6 steps"),
        (lambda s, n, y: (s, n + 6, y), "for sequences of 6 steps: give 1 to 6"),
        (lambda s, n, y: (np.full_like(s, np.nan), n, y), "a feature that is not a number"),
        (lambda s, n, y: (s, n, y, np.zeros(20)), "early accuracies (20,) for 20 rows: give [N, E]"),
        (lambda s, n, y: (s, n, y, np.full((20, 1), np.inf)), "infinite early accuracy"),
    ],
)
def test_bad_tables_are_named(name, change, sentence):
    with pytest.raises(JnasError) as caught:
        make(name).fit(*change(*table(20)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", list(MODELS))
def test_bad_use_is_named(name, tmp_path):
    sequences, lengths, targets = table(20)
    with pytest.raises(JnasError, match="has not been fitted"):
        make(name).predict(sequences, lengths)
    with pytest.raises(JnasError, match="has not been fitted"):
        make(name).save(tmp_path / "nothing")
    with pytest.raises(JnasError, match=r"fitted on sequences \[N, T, 5\] and got \(20, 6, 4\)"):
        make(name).fit(sequences, lengths, targets).predict(sequences[..., :4], lengths)
    with pytest.raises(JnasError, match="is not a checkpoint of jnas"):
        MODELS[name].load(tmp_path)
