"""Recipes and trials: presets, schedules, identities, and values that are out of range."""

import dataclasses

import numpy as np
import pytest

import jnas
from jnas.errors import JnasError
from jnas.nn import program_signature
from jnas.space import Flatten, Linear, Space, Template
from jnas.train import HalvingSchedule, Recipe, Trial, sample_trials

SPACE = Space((3, 8, 8), 3, conv_num=2, lin_num=2)


def test_recipe_learning_rates_follow_the_schedule():
    cycle = Recipe.standard(epochs=4).learning_rates(10).ravel()
    assert cycle.shape == (40,) and cycle.argmax() == 10 and cycle.max() == pytest.approx(1) and cycle[-1] < 0.01
    decayed = Recipe.sophius(epochs=3).learning_rates(5)
    np.testing.assert_allclose(decayed, np.repeat([[1], [0.95], [0.9025]], 5, 1), rtol=1e-6)
    assert (Recipe(schedule="constant", epochs=2).learning_rates(3) == 1).all()


def test_recipe_presets_and_ids():
    sophius = Recipe.sophius()
    assert (sophius.epochs, sophius.batch_size, sophius.learning_rate, sophius.lr_decay) == (50, 256, 1e-3, 0.95)
    assert not sophius.flip and sophius.shift == 0 and sophius.label_smoothing == 0
    assert Recipe().id == Recipe.standard().id == Recipe.of("standard").id != sophius.id
    assert Recipe.of(None) == Recipe.of("fast") == Recipe.fast() != Recipe.standard()
    assert (Recipe.fast().test_shift, Recipe.fast(shift=0).test_shift, Recipe.fast(shift=4).test_shift) == (1, 0, 1)
    assert Recipe.of("sophius") == sophius and Recipe.of(sophius) is sophius
    for recipe in (Recipe(), sophius, Recipe(test_flip=False, flip=False)):
        assert Recipe.from_json(recipe.to_json()) == recipe


def test_recipe_takes_numpy_numbers():
    recipe = Recipe(epochs=np.int64(3), learning_rate=np.float32(0.5), flip=np.bool_(False))
    assert (
        recipe == Recipe(epochs=3, learning_rate=0.5, flip=False) and recipe.id == Recipe.from_json(recipe.to_json()).id
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("weight_decay", -1.0),
        ("optimizer", "lion"),
        ("schedule", "none"),
        ("flip", 1),
        ("val_fraction", 1.0),
        ("label_smoothing", 1.0),
    ],
)
def test_recipe_value_out_of_range_is_named(name, value):
    with pytest.raises(JnasError, match=f"{name} must be .*, got"):
        Recipe(**{name: value})


def test_trial_has_its_own_rates():
    recipe = Recipe()
    trial = Trial(SPACE.random(0), learning_rate=0.5)
    assert trial.recipe(recipe) == dataclasses.replace(recipe, learning_rate=0.5)
    assert Trial(SPACE.random(0)).recipe(recipe) is recipe
    assert Trial(SPACE.random(0), np.int64(3)).seed == 3


@pytest.mark.parametrize(
    "given", [{"seed": -1}, {"seed": 2**32}, {"seed": 1.5}, {"learning_rate": -1.0}, {"weight_decay": -0.1}]
)
def test_trial_value_out_of_range_is_named(given):
    with pytest.raises(JnasError, match=f"{next(iter(given))} must be"):
        Trial(SPACE.random(0), **given)


def test_sample_trials_share_programs():
    trials = sample_trials(SPACE, 3, 4, 6, weight_decay=(1e-4, 1e-1))
    assert len(trials) == 24 and len({program_signature(trial.template) for trial in trials}) == 4
    for start in range(0, 24, 6):
        group = trials[start : start + 6]
        assert len({trial.template for trial in group}) == 1 and [trial.seed for trial in group] == list(range(6))
    assert all(1e-4 <= t.weight_decay <= 1e-1 and t.learning_rate is None for t in trials)
    assert sample_trials(SPACE, 3, 4, 6, weight_decay=(1e-4, 1e-1)) == trials


def test_rungs():
    assert HalvingSchedule().rungs(20) == [1, 3, 9, 20] and HalvingSchedule().rungs(1) == [1]
    assert HalvingSchedule(2, 2).rungs(8) == [2, 4, 8] and HalvingSchedule(5).rungs(3) == [3]


def test_what_is_not_mirrored_in_training_is_not_mirrored_when_it_is_classified():
    assert Recipe().test_flip and not Recipe(flip=False).test_flip and Recipe(flip=False, test_flip=True).test_flip
    assert not Recipe.standard(flip=False).test_flip and not Recipe.sophius().test_flip
    assert Recipe.sophius(flip=True).test_flip
    told = Recipe(flip=False, shift=1).describe_augmentation()
    assert told == "moved by up to 1 pixel"
    assert Recipe.sophius().describe_augmentation() == "left as they are"


def test_classes_that_mirror_each_other_are_told_apart_without_flips():
    labels = np.arange(120) % 2
    images = np.random.default_rng(0).integers(0, 60, (120, 8, 8, 3))
    images[labels == 0, :, :4] += 150
    images[labels == 1, :, 4:] += 150
    data = {"x_train": images.astype(np.uint8), "y_train": labels}
    template = Template((Flatten(), Linear(2)), (3, 8, 8))
    recipe = Recipe(epochs=5, batch_size=24, flip=False)
    assert jnas.evaluate(template, data, recipe, progress=False)[0].val_acc_final > 0.9
    recipe = Recipe(epochs=5, batch_size=24)
    assert jnas.evaluate(template, data, recipe, progress=False)[0].val_acc_final < 0.8
