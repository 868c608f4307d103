"""The regressors: what they learn, what they say of their errors, and how they come back from the disk."""

import functools

import jax
import numpy as np
import pytest

from jnas._runtime.compile_options import supported_options
from jnas.errors import JnasError
from jnas.predict import (
    EnsembleConfig,
    LSTMEnsemble,
    OriginalLSTM,
    _lstm_ensemble,
    _original_lstm,
    apply_ensemble,
    calibration,
    fit_ensemble,
    score,
)

STEPS, FEATURES = 8, 5
OPTIONS = supported_options({"xla_backend_optimization_level": "0", "xla_cpu_use_fusion_emitters": False})
"""Of programs that run for moments."""
MODELS = {"lstm_ensemble": LSTMEnsemble, "sophius_lstm": OriginalLSTM}


def table(rows=120, seed=0):
    """Sequences whose target is the sum of feature 0."""
    generator = np.random.default_rng(seed)
    sequences = generator.normal(size=(rows, STEPS, FEATURES)).astype(np.float32)
    lengths = generator.integers(1, STEPS - 1, rows)
    mask = np.arange(STEPS) < lengths[:, None]
    return sequences, lengths, np.tanh((sequences[..., 0] * mask).sum(1)) * 0.2 + 0.5


def curve_table():
    """Rows to train on, with 0 to 2 epochs, and rows to test on; most of a target shows in the second epoch alone."""
    generator = np.random.default_rng(0)
    sequences, lengths, targets = table(240)
    targets = targets + generator.normal(size=240) * 0.2
    early = np.stack([generator.normal(size=240), 0.5 * targets + 0.01 * generator.normal(size=240)], 1)
    mixed = np.where(np.arange(2) < generator.integers(0, 3, 240)[:, None], early, np.nan)
    rows = sequences, lengths, targets
    return (*(array[:120] for array in rows), mixed[:120]), (*(array[120:] for array in rows), early[120:])


@pytest.fixture(scope="module", autouse=True)
def quick_programs():
    """Compiles the models' programs without optimisation."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, static in (
            (_lstm_ensemble, "_fit", "config"),
            (_lstm_ensemble, "_apply", None),
            (_original_lstm, "_train", None),
        ):
            function = getattr(module, name).__wrapped__
            patch.setattr(module, name, jax.jit(function, static_argnames=static, compiler_options=OPTIONS))
        yield


@pytest.fixture(scope="module")
def config():
    """An ensemble that trains in a moment. Nearly all tests fit and predict 120 rows, so few programs are compiled."""
    return EnsembleConfig(members=4, folds=2, hidden_dim=8, head_dim=8, num_steps=60)


@pytest.fixture(scope="module")
def predictor(config):
    return LSTMEnsemble(0, config).fit(*table())


@pytest.fixture(scope="module")
def curve_predictor(config):
    return LSTMEnsemble(0, config).fit(*curve_table()[0])


def bits_table():
    """Sequences whose last step tells the target; 600 rows, so that the original learns it in its 20 epochs."""
    sequences = np.random.default_rng(0).integers(0, 2, (600, 4, FEATURES))
    return sequences, np.full(600, 4), sequences[:, -1, 0] * 0.4 + 0.3


@pytest.fixture(scope="module")
def original():
    return OriginalLSTM(3).fit(*bits_table())


@pytest.fixture
def make(config):
    """Makes a small model by its name."""
    return lambda name, seed=0: LSTMEnsemble(seed, config) if name == "lstm_ensemble" else MODELS[name](seed)


def test_predictor_learns_and_scores_unseen_rows(predictor, config):
    assert predictor.scores.num_rows == 120 and predictor.scores.kendall_tau > 0.4
    sequences, lengths, targets = table(100, seed=1)
    mean, std = predictor.predict(sequences, lengths)
    assert mean.shape == std.shape == (100,) and score(targets, mean).kendall_tau > 0.4
    assert 0.4 < calibration(targets, mean, std).coverage_1std < 0.95
    noise = np.random.default_rng(2).normal(size=120)
    lucky = LSTMEnsemble(0, config).fit(*table()[:2], noise)
    assert abs(lucky.scores.kendall_tau) < 0.25
    assert lucky.predict(sequences, lengths)[1].mean() > 0.7  # it knows that it knows nothing


def test_predict_early_epochs_help_and_may_be_missing(curve_predictor, config):
    train, (sequences, lengths, targets, early) = curve_table()

    def errors(known):
        return np.abs(curve_predictor.predict(sequences, lengths, known)[0] - targets)

    none, both = errors(None), errors(early)
    assert both.mean() < 0.5 * none.mean()
    np.testing.assert_array_equal(errors(np.full((120, 2), np.nan)), none)
    # Epochs of other rows change nothing where none are observed.
    unaware = LSTMEnsemble(0, config).fit(*train[:3])
    np.testing.assert_allclose(
        curve_predictor.predict(sequences, lengths), unaware.predict(sequences, lengths), rtol=1e-4
    )
    odd = np.arange(120) % 2 == 1
    some = np.where(odd[:, None], early, np.nan)
    np.testing.assert_allclose(errors(some), np.where(odd, both, none), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(errors(early[:, :1]), errors(np.where([True, False], early, np.nan)))
    # An epoch after an unobserved one is ignored.
    np.testing.assert_array_equal(errors(np.where([False, True], early, np.nan)), none)
    with pytest.raises(
        JnasError, match=r"early must be \[N, 2\] or less, as in fit, got an array of float32 of shape \(\d+, 3\)"
    ):
        curve_predictor.predict(sequences, lengths, np.zeros((120, 3)))


def test_predict_epoch_unobserved_in_fit_is_ignored(config):
    sequences, lengths, targets = table()
    early = np.stack([targets, np.full(120, np.nan)], 1)
    predictor = LSTMEnsemble(0, config).fit(sequences, lengths, targets, early)
    later = np.stack([targets, np.full(120, 9.0)], 1)
    np.testing.assert_array_equal(
        predictor.predict(sequences, lengths, later), predictor.predict(sequences, lengths, early)
    )


def test_predictor_padding_of_sequences_is_ignored(predictor, config):
    sequences, lengths, targets = table()
    expected = predictor.predict(sequences, lengths)
    padding = np.arange(STEPS) >= lengths[:, None]
    changed = np.where(padding[..., None], 100.0, sequences).astype(np.float32)
    np.testing.assert_allclose(predictor.predict(changed, lengths), expected, rtol=1e-6)
    longer = np.pad(changed, ((0, 0), (0, 9), (0, 0)), constant_values=np.nan)
    np.testing.assert_allclose(predictor.predict(longer, lengths), expected, rtol=1e-6)
    refitted = LSTMEnsemble(0, config).fit(changed, lengths, targets)
    np.testing.assert_allclose(refitted.predict(sequences, lengths), expected, rtol=1e-4)


def test_predict_row_alone_equals_row_among_others(predictor):
    generator = np.random.default_rng(0)
    sequences, lengths = generator.normal(size=(120, 24, FEATURES)), generator.integers(1, 25, 120)
    together, _ = predictor.predict(sequences, lengths)
    rows = [int(lengths.argmin()), int(lengths.argmax())]
    alone = [predictor.predict(sequences[[i]], lengths[[i]])[0][0] for i in rows]
    np.testing.assert_allclose(alone, together[rows], rtol=1e-5)
    assert predictor.predict(sequences[:0], lengths[:0])[0].shape == (0,)


def test_predictor_unit_of_targets_does_not_matter(predictor, config):
    sequences, lengths, targets = table()
    fractions, _ = predictor.predict(sequences, lengths)
    percents, _ = LSTMEnsemble(0, config).fit(sequences, lengths, 100 * targets - 7).predict(sequences, lengths)
    np.testing.assert_allclose(percents, 100 * fractions - 7, rtol=1e-2)


@pytest.mark.slow
def test_fit_ensemble_vmapped_with_masked_rows(config):
    sequences, lengths, targets = table(24)
    mask = np.ones((2, 24), np.float32)
    mask[1, 16:] = 0
    keys = jax.random.split(jax.random.key(0), 2)

    @functools.partial(jax.jit, compiler_options=OPTIONS)
    def fit_and_apply(keys, fit_sequences, targets):
        fit = jax.vmap(functools.partial(fit_ensemble, config=config), (0, None, None, 0, 0))
        params, out_of_fold = fit(keys, fit_sequences, lengths, targets, mask)
        return jax.vmap(apply_ensemble, (0, None, None))(params, sequences, lengths), out_of_fold

    members, out_of_fold = fit_and_apply(keys, sequences, np.where(mask > 0, targets, np.nan).astype(np.float32))
    assert members.shape == (2, config.members, 24) and np.isfinite(members).all() and out_of_fold.shape == (2, 24)
    # The values of masked rows do not matter.
    other = np.where(mask[1, :, None, None] > 0, sequences, 5.0)
    changed, _ = fit_and_apply(keys, other, np.where(mask > 0, targets, 9.0).astype(np.float32))
    np.testing.assert_allclose(changed[1], members[1], rtol=1e-3)


@pytest.mark.parametrize("name", list(MODELS))
def test_regressor_repeats_itself_and_survives_the_disk(name, make, tmp_path):
    sequences, lengths, targets = table() if name == "lstm_ensemble" else bits_table()
    early = np.where(np.arange(len(targets)) % 2, np.nan, targets)[:, None] * [1, 0.5]
    model = make(name, np.int64(3)).fit(sequences, lengths, targets, early)
    expected = model.predict(sequences, lengths, early)
    assert expected[0].shape == expected[1].shape == targets.shape and (expected[1] > 0).all()
    again = make(name, 3).fit(sequences, lengths, targets, early)
    np.testing.assert_array_equal(again.predict(sequences, lengths, early), expected)
    model.save(tmp_path / "model")
    loaded = MODELS[name].load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(sequences, lengths, early), expected, rtol=1e-4)
    assert loaded.scores == model.scores and repr(loaded) == repr(model)
    other = next(cls for key, cls in MODELS.items() if key != name)
    with pytest.raises(JnasError, match=f"folder must hold a {other.__name__}, got"):
        other.load(tmp_path / "model")


def test_original_lstm_learns(original):
    sequences, lengths, targets = bits_table()
    assert score(targets, original.predict(sequences, lengths)[0]).r2 > 0.5
    assert len({leaf.shape for leaf in jax.tree.leaves(original.params)}) > 1 and original.scores is None


def test_repr_is_one_short_line(predictor, original):
    assert repr(LSTMEnsemble(1)) == "LSTMEnsemble(seed=1, not fitted)"
    assert repr(original) == "OriginalLSTM(seed=3, fitted, features=5, epochs=0)"
    assert repr(predictor).startswith("LSTMEnsemble(seed=0, fitted, features=5, epochs=0, r2=0.")
    assert repr(predictor.params) == "EnsembleParams(members=4, features=5, epochs=0)"


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s, n, y: (s[:9], n[:9], y[:9]), "targets must have 10 rows or more, got 9"),
        (lambda s, n, y: (s, n, np.where(np.arange(20) == 3, np.nan, y)), "targets must be finite, got nan in row 3"),
        (lambda s, n, y: (s, n, np.full(20, 0.5)), "targets must differ, got 0.5 in all 20 rows"),
        (lambda s, n, y: (s, n, 1e6 + 1e-3 * np.arange(20)), "targets must differ, got 1e+06 in all 20 rows"),
        (lambda s, n, y: (s[0], n, y), "must be [N, T, D] and [N], got (8, 5) and (20,)"),
        (lambda s, n, y: (s, n[:5], y), "must be [N, T, D] and [N], got (20, 8, 5) and (5,)"),
        (
            lambda s, n, y: (s, n, y[:5]),
            "targets must be one number for each of 20 sequences, got an array of float64 of shape (5,)",
        ),
        (lambda s, n, y: (s, n * 0, y), "lengths must be in [1, 8], the steps of sequences, got 0 to 0"),
        (lambda s, n, y: (s, n + 8, y), "lengths must be in [1, 8]"),
        (lambda s, n, y: (np.full_like(s, np.nan), n, y), "sequences must be finite in all valid steps"),
        (
            lambda s, n, y: (s, n, y, np.zeros(20)),
            "early must be [20, E], a row for each sequence, got an array of float64 of shape (20,)",
        ),
        (lambda s, n, y: (s, n, y, np.full((20, 1), np.inf)), "early must be finite, got infinity"),
    ],
)
def test_fit_bad_table_raises_before_compiling(name, change, sentence, make, monkeypatch):
    model = make(name)
    monkeypatch.setattr(model, "_fit", lambda *_: pytest.fail("bad rows came to the fit"))
    with pytest.raises(JnasError) as caught:
        model.fit(*change(*table(20)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", list(MODELS))
def test_regressor_bad_use_raises(name, make, predictor, original, tmp_path):
    sequences, lengths, _ = table(20)
    with pytest.raises(JnasError, match="must be fitted first"):
        make(name).predict(sequences, lengths)
    with pytest.raises(JnasError, match="must be fitted first"):
        make(name).save(tmp_path / "nothing")
    with pytest.raises(
        JnasError, match=r"must be \[N, T, 5\], as in fit, got an array of float32 of shape \(20, 8, 4\)"
    ):
        {"lstm_ensemble": predictor, "sophius_lstm": original}[name].predict(sequences[..., :4], lengths)
    with pytest.raises(JnasError, match="is not a checkpoint of jnas"):
        MODELS[name].load(tmp_path)


def test_ensemble_config_takes_numpy_numbers():
    config = EnsembleConfig(members=np.int64(3), dropout=np.float32(0.5))
    assert config == EnsembleConfig(members=3, dropout=0.5) and type(config.members) is int
