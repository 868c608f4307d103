"""Training: against PyTorch step by step, repeatable, the same however it is driven, and failures as rows."""

import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays
from flax import nnx

from jnas.data import load_data
from jnas.errors import JnasError
from jnas.nn._signature import lower
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.store import Store
from jnas.train import Recipe, Trainer, Trial
from jnas.train import _evaluate as evaluate
from jnas.train import _weights as weights
from jnas.train._optimizer import OptimizerState
from jnas.train._step import Hyper, Metrics, Program

RECIPE = Recipe(epochs=2, batch_size=24, validation=0.25, learning_rate=1e-2, shift=1)
CONV = [lt.Conv2d(8, 3, 2), lt.PReLU(True), lt.MaxPool2d(2, 1, True), lt.BatchNorm2d(), lt.AvgPool2d(2, 2)]
TEMPLATE = Template([*CONV, lt.Flatten(), lt.Linear(32), lt.LeakyReLU(0.1), lt.Dropout(0.2), lt.Linear(3)], (3, 8, 8))


@pytest.fixture
def split(arrays):
    return load_data(arrays).split(0.25)


def train(template, recipe, split, seeds=(0,), **how):
    trainer = Trainer(template, recipe, split, lanes=len(seeds), **how)
    return trainer, trainer.train([Trial(template, seed) for seed in seeds])


def numbers(trained):
    return np.array([[dataclasses.astuple(epoch) for epoch in lane] for lane in trained.epochs])


def test_training_repeats_itself(split):
    _, first = train(TEMPLATE, RECIPE, split)
    _, second = train(TEMPLATE, RECIPE, split)
    assert first.epochs == second.epochs
    for one, two in zip(jax.tree.leaves(first.state.params), jax.tree.leaves(second.state.params), strict=True):
        assert (one == two).all()
    assert train(TEMPLATE, RECIPE, split, seeds=(1,))[1].epochs != first.epochs


def test_scanned_and_stepped_epochs_agree(split):
    _, stepped = train(TEMPLATE, RECIPE, split, scan=False)
    _, scanned = train(TEMPLATE, RECIPE, split, scan=True)
    np.testing.assert_allclose(numbers(stepped), numbers(scanned), atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_lanes_agree_with_training_alone(split, scan):
    trainer = Trainer(TEMPLATE, RECIPE, split, lanes=3, scan=scan)
    trials = [Trial(TEMPLATE, 0), Trial(TEMPLATE, 1), Trial(TEMPLATE, 2, learning_rate=1e-3)]
    together = trainer.train(trials)
    for lane, trial in enumerate(trials):
        alone = Trainer(TEMPLATE, RECIPE, split, scan=False).train([trial])
        np.testing.assert_allclose(numbers(together)[lane], numbers(alone)[0], atol=1e-4)
    x = np.asarray(split.x_val)
    accuracy = trainer.accuracy(together.state, x, np.asarray(split.y_val))
    assert accuracy.tolist() == [epochs[-1].val_acc for epochs in together.epochs]


def test_a_lane_that_turns_to_nan_leaves_its_neighbours_alone(split):
    trainer = Trainer(TEMPLATE, RECIPE, split, lanes=2)
    sick = trainer.train([Trial(TEMPLATE, 0), Trial(TEMPLATE, 1, learning_rate=1e30)])
    well = trainer.train([Trial(TEMPLATE, 0), Trial(TEMPLATE, 1)])
    assert not np.isfinite(sick.epochs[1][-1].train_loss)
    assert sick.epochs[0] == well.epochs[0]


def test_it_learns_and_the_module_is_the_one_that_was_measured(tmp_path):
    data = load_data(small_arrays(train=384))
    split = data.split(0.25)
    recipe = dataclasses.replace(RECIPE, epochs=6, flip=False, shift=0, label_smoothing=0.0, test_flip=False)
    trainer, trained = train(TEMPLATE, recipe, split)
    epochs = trained.epochs[0]
    assert len(epochs) == 6 and epochs[-1].val_acc > 0.9 and epochs[-1].train_loss < epochs[0].train_loss
    module = trainer.module(trained)
    inputs = np.asarray(data.x_test, np.float32) * (2 / 255) - 1
    logits = module(jnp.asarray(inputs))
    (accuracy,) = trainer.accuracy(trained.state, data.x_test, data.y_test)
    assert float((logits.argmax(-1) == data.y_test).mean()) == pytest.approx(accuracy)
    weights.save(tmp_path / "weights", TEMPLATE, module)
    assert (weights.load(tmp_path / "weights", TEMPLATE)(jnp.asarray(inputs)) == logits).all()
    with pytest.raises(JnasError, match="weights of another template"):
        weights.load(tmp_path / "weights", Space((3, 8, 8), 3).random(0))
    with pytest.raises(JnasError, match="is not a checkpoint of jnas"):
        weights.load(tmp_path, TEMPLATE)


@pytest.mark.parametrize("vectors", [True, False], ids=["all decay", "kernels decay"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_steps_follow_pytorchs(split, optimizer, vectors):
    torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
    from torch_peer import copy_weights, torch_network

    given = {"optimizer": optimizer, "decay_vectors": vectors}
    recipe = dataclasses.replace(RECIPE, label_smoothing=0.1, weight_decay=0.1, **given)
    template = Template([layer for layer in TEMPLATE.layers if not isinstance(layer, lt.Dropout)], (3, 8, 8))
    structure, lane = lower(template)
    program = Program(structure, recipe)
    hyper = Hyper(np.uint32(0), np.float32(1e-2), np.float32(0.1))
    network = torch_network(template)
    copy_weights(template, lane.build(nnx.Rngs(jax.random.key(0))), network)
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0.1 if vectors else 0.0},
    ]
    theirs = {
        "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
        "sgd": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True),
    }[optimizer](groups)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    state, step = program.init(lane, 0), jax.jit(program.step)
    for i in range(8):
        images, labels = (np.asarray(array)[8 * i : 8 * i + 8] for array in (split.x_train, split.y_train))
        inputs = images.astype(np.float32) * (2 / 255) - 1
        state, metrics = step(state, Metrics(jnp.float32(0), jnp.int32(0)), hyper, inputs, labels, jnp.float32(1))
        loss = loss_of(network(torch.tensor(inputs.transpose(0, 3, 1, 2).copy())), torch.tensor(labels).long())
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        assert float(metrics.loss) / 8 == pytest.approx(float(loss.detach()), rel=1e-3, abs=1e-4)


def test_the_optimiser_looks_ahead(split):
    """By its definition, from what the optimiser itself would do at each step."""
    structure, lane = lower(TEMPLATE)
    hyper = Hyper(np.uint32(0), np.float32(1e-2), np.float32(0.1))
    plain, ahead = (Program(structure, dataclasses.replace(RECIPE, lookahead=share)) for share in (0.0, 0.3))
    steps = [jax.jit(program.step) for program in (plain, ahead)]
    state, slow = ahead.init(lane, 0), None
    for i in range(1, 12):
        images, labels = (np.asarray(array)[8 * (i % 4) :][:8] for array in (split.x_train, split.y_train))
        batch = (images.astype(np.float32) * (2 / 255) - 1, labels, jnp.float32(1))
        nothing = Metrics(jnp.float32(0), jnp.int32(0))
        without = state._replace(optimizer=OptimizerState(state.optimizer.moments))
        fast = jax.tree.leaves(steps[0](without, nothing, hyper, *batch)[0].params)
        state, _ = steps[1](state, nothing, hyper, *batch)
        found = jax.tree.leaves(state.params)
        if i == 5:
            slow = fast
        elif i == 10:
            slow = [old + 0.3 * (new - old) for old, new in zip(slow, fast, strict=True)]
            assert any(np.abs(one - other).max() > 1e-3 for one, other in zip(slow, fast, strict=True))
        expected = slow if i in (5, 10) else fast
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_accuracies_are_those_of_images_and_their_mirror_images(split):
    recipe = dataclasses.replace(RECIPE, test_flip=True, alternate=True)
    trainer, trained = train(TEMPLATE, recipe, split, seeds=(0, 1))
    inputs = np.asarray(split.x_val, np.float32) * (2 / 255) - 1
    for lane in (0, 1):
        module = trainer.module(trained, lane)
        logits = module(jnp.asarray(inputs)) + module(jnp.asarray(inputs[:, :, ::-1]))
        accuracy = float((logits.argmax(-1) == np.asarray(split.y_val)).mean())
        assert trained.epochs[lane][-1].val_acc == pytest.approx(accuracy)


@pytest.mark.parametrize("policy", ["folded", "envelope"])
def test_every_ingredient_is_the_same_under_every_policy(policy):
    """A lane's own kernels are what decays, wherever they lie in a shared program."""
    data = load_data(small_arrays())
    every = {"lookahead": 0.5, "test_flip": True, "alternate": True, "decay_vectors": False, "weight_decay": 0.3}
    for optimizer in ("adamw", "sgd"):
        recipe = dataclasses.replace(RECIPE, optimizer=optimizer, **every)
        alone, shared = (
            evaluate([TEMPLATE], data, recipe, policy=how, progress=False)[0].epochs for how in ("exact", policy)
        )
        for one, other in zip(alone, shared, strict=True):
            assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(other), abs=1e-3)


def test_one_trace_a_structure(split, monkeypatch):
    traced = []
    step = Program.step
    monkeypatch.setattr(Program, "step", lambda self, *args: traced.append(1) or step(self, *args))
    trainer, _ = train(TEMPLATE, RECIPE, split)
    trainer.train([Trial(TEMPLATE, 7, 1e-3, 0.0)])
    assert len(traced) == 1, "the training step was traced again: an argument changed its shape or type"


def test_schedules():
    cycle = Recipe.standard(epochs=4).rates(10).ravel()
    assert cycle.shape == (40,) and cycle.argmax() == 10 and cycle.max() == pytest.approx(1) and cycle[-1] < 0.01
    decayed = Recipe.sophius(epochs=3).rates(5)
    np.testing.assert_allclose(decayed, np.repeat([[1], [0.95], [0.9025]], 5, 1), rtol=1e-6)
    assert (Recipe(schedule="constant", epochs=2).rates(3) == 1).all()


def test_presets_and_ids():
    sophius = Recipe.sophius()
    assert (sophius.epochs, sophius.batch_size, sophius.learning_rate, sophius.decay) == (50, 256, 1e-3, 0.95)
    assert not sophius.flip and sophius.shift == 0 and sophius.label_smoothing == 0
    assert Recipe().id == Recipe.standard().id != sophius.id
    assert sophius.id == "22ff6f2acb52", "recipes of stores that are there have changed their names"
    assert dataclasses.replace(sophius, lookahead=0.5).id != sophius.id
    for recipe in (Recipe(), sophius, Recipe(lookahead=0.5, decay_vectors=False, test_flip=False)):
        assert Recipe.from_json(recipe.to_json()) == recipe
    older = json.loads(Recipe().to_json())
    assert older.pop("test_flip") and older.pop("alternate")
    assert Recipe.from_json(json.dumps(older)) == Recipe(test_flip=False, alternate=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("lookahead", 1.0),
        ("optimizer", "lion"),
        ("schedule", "none"),
        ("validation", 1.0),
        ("label_smoothing", 1.0),
    ],
)
def test_a_bad_recipe_is_named(name, value):
    with pytest.raises(JnasError, match=f"The recipe's {name}="):
        Recipe(**{name: value})


def test_evaluate_returns_rows_in_order_and_looks_up_what_is_there(arrays, tmp_path, monkeypatch):
    other = Template([lt.Conv2d(8, 3, 4), lt.Flatten(), lt.Linear(3)], (3, 8, 8))
    store = Store(tmp_path / "results.duckdb")
    seen = []
    data = load_data(arrays)
    rows = evaluate([TEMPLATE, other, TEMPLATE], data, RECIPE, store=store, on_result=seen.append)
    assert [row.key.hash for row in rows] == [TEMPLATE.hash, other.hash, TEMPLATE.hash] and seen == rows
    assert rows[0] == rows[2] and [row.status for row in rows] == ["ok"] * 3 and len(rows[0].epochs) == 2
    assert rows[0].val_acc_final == rows[0].epochs[-1].val_acc <= rows[0].val_acc_max
    assert rows[0].params == TEMPLATE.cost.params and rows[0].compile_seconds > 0 and rows[0].train_seconds > 0
    monkeypatch.setattr(Trainer, "advance", lambda *_: pytest.fail("trained what the store has"))
    assert evaluate([other, TEMPLATE], data, RECIPE, store=str(store.path)) == [rows[1], rows[0]]
    assert len(store.to_df()) == 2


def test_failures_are_rows(arrays, monkeypatch, tmp_path):
    wrong = Template([lt.Flatten(), lt.Linear(3)], (3, 9, 9))
    sick = dataclasses.replace(RECIPE, learning_rate=1e30)
    classes = Template([lt.Flatten(), lt.Linear(4)], (3, 8, 8))
    assert [row.status for row in evaluate([wrong, TEMPLATE, classes], arrays, RECIPE)] == ["invalid", "ok", "invalid"]
    (row,) = evaluate([TEMPLATE], arrays, sick)
    assert (row.status, row.val_acc_final) == ("nan", None) and "stopped being a number" in row.message
    original = Trainer.compile

    def full(self):
        if self.structure.hull == TEMPLATE:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 TiB")
        return original(self)

    monkeypatch.setattr(Trainer, "compile", full)
    other = Template([lt.Flatten(), lt.Linear(3)], (3, 8, 8))
    store = tmp_path / "results.duckdb"
    assert [row.status for row in evaluate([TEMPLATE, other], arrays, RECIPE, store=store)] == ["out_of_memory", "ok"]
    monkeypatch.undo()  # there is memory again
    assert [row.status for row in evaluate([TEMPLATE, other], arrays, RECIPE, store=store)] == ["ok", "ok"]
    assert Store(store).to_df().status.tolist() == ["ok", "ok"]


def test_a_batch_larger_than_the_training_set(arrays):
    with pytest.raises(JnasError, match="The batch of 500 is larger than the training set of 72 images"):
        evaluate([TEMPLATE], arrays, dataclasses.replace(RECIPE, batch_size=500))


def test_the_next_template_compiles_while_the_present_one_trains(arrays, monkeypatch):
    moments = []

    def note(name, original):
        def noted(self, *args, **kwargs):
            moments.append((name, "begins", self.structure.hull.hash))
            result = original(self, *args, **kwargs)
            moments.append((name, "ends", self.structure.hull.hash))
            return result

        return noted

    monkeypatch.setattr(Trainer, "compile", note("compile", lambda self: 0.0))

    def train_slowly(self, *args):
        time.sleep(0.5)
        moments.append(("train", "ends", self.structure.hull.hash))
        raise RuntimeError("far enough")

    monkeypatch.setattr(Trainer, "advance", train_slowly)
    templates = [Template([lt.Flatten(), lt.Linear(w), lt.Linear(3)], (3, 8, 8)) for w in (32, 64)]
    rows = evaluate(templates, arrays, RECIPE)
    assert [row.status for row in rows] == ["error", "error"]
    second = templates[1].hash
    first = templates[0].hash
    assert moments.index(("compile", "begins", second)) < moments.index(("train", "ends", first))
