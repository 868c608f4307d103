"""The search as a classifier of scikit-learn's kind."""

import numpy as np
import pytest
from conftest import exhaustive, small_arrays

import jnas
from jnas.errors import JnasError

ARRAYS = small_arrays()
X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
WORDS = np.array(["cat", "dog", "owl"])
FEW = {"num_random": 2, "known_networks": False, "generations": 0, "epochs": 1, "final_epochs": 1, "conv_num": 1}
FEW |= {"lin_num": 1, "batch_size": 24, "store": "a.duckdb", "report": False, "space": "sophius", "max_macs": 100_000}
CHECKS = (
    *("check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr"),
    *("check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order"),
    *("check_parameters_default_constructible", "check_get_params_invariance", "check_set_params"),
)
"""Those of `check_estimator` that need no table of features."""
pytestmark = pytest.mark.usefixtures("fake_trainer")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "labels",
    [
        WORDS[Y],
        Y == 1,
        Y * 3 - 1,
        *exhaustive(WORDS[Y].astype(object), Y),
    ],
)
def test_it_predicts_the_labels_that_it_was_given(labels):
    classifier = jnas.Classifier(**FEW).fit(X, labels)
    assert classifier.classes_.tolist() == sorted(set(labels.tolist()))
    found, probabilities = classifier.predict(X), classifier.predict_proba(X)
    assert found.shape == labels.shape and set(found.tolist()) <= set(labels.tolist())
    assert (classifier.classes_[probabilities.argmax(1)] == found).all()
    assert classifier.score(X, labels) == (found == labels).mean()
    assert classifier.result_.store.experiments_df().class_names.notna().all()


def test_images_of_prediction_are_read_as_those_of_training():
    """Dark floats are scaled as all floats were, and not by what they look like alone."""
    classifier = jnas.Classifier(**FEW).fit(X / 255, WORDS[Y])
    dark = (X[:9] // 200) / 255
    expected = classifier.result_.best.predict_proba(X[:9] // 200)
    assert np.allclose(classifier.predict_proba(dark), expected)
    assert np.allclose(classifier.predict_proba(np.moveaxis(X, 1, 1) / 255), classifier.result_.best.predict_proba(X))
    with pytest.raises(JnasError, match="x of your arrays must be pixels from 0 to 1"):
        classifier.predict(X.astype(float))
    with pytest.raises(JnasError, match="make them 8 pixels high"):
        classifier.predict(X[:, :5] / 255)


def test_images_of_several_sizes_come_to_that_of_training():
    images = [one[: 6 + i % 3] for i, one in enumerate(X)]
    classifier = jnas.Classifier(**FEW).fit(images, Y)
    assert classifier.predict(images[:4]).shape == (4,) and classifier.predict(X).shape == Y.shape


def test_settings_are_read_and_changed():
    classifier = jnas.Classifier(minutes=1, **FEW)
    assert classifier.get_params()["minutes"] == 1 and classifier.get_params(deep=False)["seed"] == 0
    assert classifier.set_params(seed=3, verbose=True) is classifier and classifier.get_params()["seed"] == 3
    again = jnas.Classifier(**classifier.get_params())
    assert again.get_params() == classifier.get_params()
    with pytest.raises(JnasError, match="A search has no setting 'epoch'"):
        classifier.set_params(epoch=3)
    with pytest.raises(JnasError, match="must be fitted"):
        classifier.predict(X)


def test_scikit_learn_takes_it_for_a_classifier():
    base, selection = pytest.importorskip("sklearn.base"), pytest.importorskip("sklearn.model_selection")
    classifier = jnas.Classifier(**FEW)
    assert base.is_classifier(classifier)
    assert base.clone(classifier).get_params() == classifier.get_params()
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    for name in CHECKS:
        getattr(checks, name)("Classifier", jnas.Classifier(minutes=1))
    scores = selection.cross_val_score(classifier, X, WORDS[Y], cv=2)
    assert scores.shape == (2,) and (scores >= 0).all() and (scores <= 1).all()
