"""Lowering: what shares a program, and that a folded lane trains exactly as its template does alone."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jnas
from jnas.errors import JnasError
from jnas.nn._signature import CHANNELS, FEATURES, lower
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.train import Recipe, Trainer, sample_trials

SPACE = Space((3, 8, 8), 3, conv_num=3, lin_num=3)
# Not AdamW: it divides by the size of the gradient, so where that is small, rounding would grow to full steps.
RECIPE = Recipe(epochs=5, batch_size=18, optimizer="sgd", learning_rate=1e-2, shift=1, validation=0.25)


def template(*layers):
    return Template([*layers, lt.Flatten(), lt.Linear(3)], (3, 8, 8))


def shares(one, other, policy="folded"):
    return lower(one, policy)[0] == lower(other, policy)[0]


def test_what_a_folded_structure_leaves_to_run_time():
    base = template(lt.Conv2d(32, 3), lt.ReLU(), lt.BatchNorm2d(), lt.AvgPool2d(2))
    for other in (
        template(lt.Conv2d(32, 3), lt.PReLU(True), lt.BatchNorm2d(), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 3), lt.LeakyReLU(0.1), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 1), lt.ReLU(), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 1, 1, False), lt.ReLU(), lt.AvgPool2d(2)),
    ):
        assert shares(base, other) and not shares(base, other, "exact")
    narrow = template(lt.Conv2d(8, 3), lt.ReLU())
    assert shares(narrow, template(lt.Conv2d(16, 3), lt.ReLU()))
    for other in (
        template(lt.Conv2d(32, 3, 2), lt.ReLU(), lt.AvgPool2d(2)),
        template(lt.Conv2d(64, 3), lt.ReLU(), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 2), lt.ReLU(), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 3, 1, False), lt.ReLU(), lt.AvgPool2d(2)),
        template(lt.Conv2d(32, 3), lt.ReLU(), lt.MaxPool2d(2)),
    ):
        assert not shares(base, other)


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_hull_holds_its_template_and_is_its_own_hull(seed):
    drawn = SPACE.random(seed)
    structure, lane = lower(drawn, "folded")
    again, _ = lower(structure.hull, "folded")
    assert again == structure and lane.template == drawn
    assert structure.hull.cost.params >= drawn.cost.params and structure.hull.classes == drawn.classes
    for layer in structure.hull.layers[:-1]:
        assert getattr(layer, "out_channels", CHANNELS[0]) in CHANNELS
        assert getattr(layer, "out_features", FEATURES[0]) in FEATURES
    exact, lane = lower(drawn)
    assert exact.hull == drawn


def test_a_template_that_cannot_be_folded_is_lowered_exactly():
    odd = Template([lt.Conv2d(8), lt.Flatten(), lt.PReLU(True), lt.Linear(3)], (3, 8, 8))
    assert lower(odd, "folded")[0] == lower(odd, "exact")[0]


def test_an_unknown_policy_is_named():
    with pytest.raises(JnasError, match="There is no policy 'best'"):
        lower(SPACE.random(0), "best")


@pytest.mark.parametrize("seed", range(3))
def test_a_lane_starts_with_its_templates_own_weights_and_gives_them_back(seed):
    for trial in sample_trials(SPACE, seed, 2, 3):
        structure, lane = lower(trial.template, "folded")
        own = trial.template.build(nnx.Rngs(seed))
        folded = lane.build(nnx.Rngs(seed))
        back = lane.unfold(folded)
        weights = [nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat)) for module in (own, back)]
        for mine, theirs in zip(*map(jax.tree.leaves, weights), strict=True):
            assert (mine == theirs).all()
        x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
        np.testing.assert_allclose(folded(x), own(x), rtol=1e-4, atol=1e-5)  # in training mode: dropout too
        assert nnx.graphdef(lane.build(nnx.Rngs(0))) == structure.skeleton.training


@pytest.fixture(scope="module")
def split():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (96, 8, 8, 3)).astype(np.uint8)
    return jnas.load_data({"x_train": images, "y_train": np.arange(96) % 3}).split(0.25)


@pytest.mark.parametrize("seed", range(10))
def test_a_folded_lane_trains_as_its_template_does_alone(seed, split):
    """20 steps of 10 templates, beside four others in one program, against each alone: 100 pairs in all."""
    trials = sample_trials(SPACE, seed, structures=2, lanes=5, seeds=True, learning_rate=(3e-3, 3e-2))
    assert len(trials) == 10
    for start in (0, 5):
        group = trials[start : start + 5]
        structure, _ = lower(group[0].template, "folded")
        trainer = Trainer(structure, RECIPE, split, lanes=5)
        together = trainer.train(group)
        for lane, trial in enumerate(group):
            solo = Trainer(trial.template, RECIPE, split)
            alone = solo.train([trial])
            losses = [[epoch.train_loss for epoch in epochs] for epochs in (together.epochs[lane], alone.epochs[0])]
            np.testing.assert_allclose(*losses, rtol=1e-3)
            x = np.asarray(split.x_val[:8], np.float32) / 128 - 1
            logits = [t.module(run, i)(x) for t, run, i in ((trainer, together, lane), (solo, alone, 0))]
            np.testing.assert_allclose(*logits, atol=2e-2)


def test_variants_differ_and_share_their_program():
    trials = sample_trials(SPACE, 3, structures=4, lanes=6, seeds=True, weight_decay=(1e-4, 1e-1))
    assert len(trials) == 24 and len({lower(t.template, "folded")[0] for t in trials}) == 4
    for start in range(0, 24, 6):
        group = trials[start : start + 6]
        assert len({lower(t.template, "folded")[0] for t in group}) == 1
        assert len({t.template.hash for t in group}) > 1 and [t.seed for t in group] == list(range(6))
    assert all(1e-4 <= t.weight_decay <= 1e-1 and t.learning_rate is None for t in trials)
    assert sample_trials(SPACE, 3, 4, 6, seeds=True, weight_decay=(1e-4, 1e-1)) == trials
    exact = sample_trials(SPACE, 0, 2, 3, policy="exact", seeds=True)
    assert len({t.template for t in exact}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structures": 0, "lanes": 1}, "structures=0"),
        ({"structures": 1, "lanes": 0}, "lanes=0"),
        ({"structures": 1, "lanes": 1, "learning_rate": (0.1, 0.01)}, "learning_rate="),
        ({"structures": 1, "lanes": 2, "policy": "exact"}, "would all be the same"),
    ],
)
def test_bad_numbers_of_trials_are_named(arguments, message):
    with pytest.raises(JnasError, match=message):
        sample_trials(SPACE, 0, **arguments)


def test_a_space_with_too_few_structures_says_so():
    class OfOne(Space):
        def sample(self, key, count):
            return np.repeat(super().sample(key, 1), count, 0)

    with pytest.raises(JnasError, match="Only 1 structures of 2 were found"):
        sample_trials(OfOne((3, 8, 8), 3), 0, 2, 1)


def test_a_trial_has_a_recipe_of_its_own():
    recipe = Recipe()
    trial = jnas.Trial(SPACE.random(0), learning_rate=0.5)
    assert trial.recipe(recipe) == dataclasses.replace(recipe, learning_rate=0.5)
    assert jnas.Trial(SPACE.random(0)).recipe(recipe) is recipe
