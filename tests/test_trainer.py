"""Training of one program: against PyTorch step by step, repeatable, and the same however it is driven."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays
from flax import nnx

from jnas.data import load_data
from jnas.errors import JnasError
from jnas.nn import program_signature
from jnas.space import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    Space,
    Template,
)
from jnas.train import ONE_VIEW, Recipe, Trainer, Trial, accuracy, load_weights, save_weights, trained_module
from jnas.train._step import Metrics, Steps, TrialHyperparams

RECIPE = Recipe(epochs=2, batch_size=24, val_fraction=0.25, learning_rate=1e-2, shift=1)
CONV = [Conv2d(8, 3, 2), PReLU(True), MaxPool2d(2, 1, True), BatchNorm2d(), AvgPool2d(2, 2)]
TEMPLATE = Template([*CONV, Flatten(), Linear(32), LeakyReLU(0.1), Dropout(0.2), Linear(3)], (3, 8, 8))
VARIANT = Template([*CONV, Flatten(), Linear(32), ReLU(), Dropout(0.5), Linear(3)], (3, 8, 8))


@pytest.fixture(scope="module")
def split():
    return load_data(small_arrays()).split(0.25)


@pytest.fixture(scope="module")
def trainer(split):
    return Trainer(TEMPLATE, RECIPE, split, scan=False)


def numbers(run):
    return np.array([[dataclasses.astuple(epoch) for epoch in lane] for lane in run.history])


def test_trainer_same_seed_repeats_itself(trainer):
    first, second = (trainer.train([Trial(TEMPLATE, 0)]) for _ in range(2))
    assert first.history == second.history
    for one, two in zip(jax.tree.leaves(first.state), jax.tree.leaves(second.state), strict=True):
        assert (np.asarray(one) == np.asarray(two)).all()
    assert trainer.train([Trial(TEMPLATE, 1)]).history != first.history


def test_trainer_scanned_epochs_agree_with_stepped(trainer, split):
    scanned = Trainer(TEMPLATE, RECIPE, split, scan=True).train([Trial(TEMPLATE, 0)])
    np.testing.assert_allclose(numbers(trainer.train([Trial(TEMPLATE, 0)])), numbers(scanned), atol=1e-4)


@pytest.mark.parametrize("scan", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_trainer_lanes_agree_with_training_alone(trainer, split, scan):
    """Lanes differ in slopes, dropout rates, seeds and learning rates, and one of them turns to NaN."""
    trials = [Trial(TEMPLATE, 0), Trial(VARIANT, 1), Trial(TEMPLATE, 2, learning_rate=1e-3), Trial(TEMPLATE, 3, 1e30)]
    together = Trainer(TEMPLATE, RECIPE, split, num_lanes=4, scan=scan).train(trials)
    for lane, trial in enumerate(trials[:3]):
        np.testing.assert_allclose(numbers(together)[lane], numbers(trainer.train([trial]))[0], atol=1e-4)
    assert not np.isfinite(together.history[3][-1].train_loss)


def test_trainer_learns_and_module_is_what_was_measured(tmp_path):
    data = load_data(small_arrays(train=384))
    recipe = dataclasses.replace(RECIPE, epochs=6, flip=False, shift=0, label_smoothing=0.0, test_flip=False)
    split = data.split(0.25)
    run = Trainer(TEMPLATE, recipe, split).train([Trial(TEMPLATE, 0)])
    (epochs,) = run.history
    assert len(epochs) == 6 and epochs[-1].val_acc > 0.9 and epochs[-1].train_loss < epochs[0].train_loss
    module = trained_module(run)
    measured = accuracy(module, np.asarray(split.x_val), np.asarray(split.y_val))
    assert measured == pytest.approx(epochs[-1].val_acc)
    save_weights(tmp_path / "weights", TEMPLATE, module)
    inputs = np.asarray(data.x_test, np.float32) * (2 / 255) - 1
    assert (load_weights(tmp_path / "weights", TEMPLATE)(jnp.asarray(inputs)) == module(jnp.asarray(inputs))).all()
    with pytest.raises(JnasError, match="must be a folder with the weights of"):
        load_weights(tmp_path / "weights", Space((3, 8, 8), 3).random(0))
    with pytest.raises(JnasError, match="is not a checkpoint of jnas"):
        load_weights(tmp_path, TEMPLATE)


def test_trainer_measures_by_views_after_the_last_epoch_only(split):
    recipe = dataclasses.replace(RECIPE, epochs=2, learning_rate=1e-3, test_shift=2)
    images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
    trainer = Trainer(TEMPLATE, recipe, split)
    run = trainer.start(Trial(TEMPLATE, 0))
    for epoch, views in ((1, ONE_VIEW), (2, recipe.views)):
        trainer.train_until(run, epoch)
        assert run.history[0][-1].val_acc == pytest.approx(accuracy(trained_module(run), images, labels, views))


def test_trainer_test_flip_measures_mean_of_mirror_images(trainer, split):
    run = trainer.train([Trial(VARIANT, 0)])
    module = trained_module(run)
    inputs = np.asarray(split.x_val, np.float32) * (2 / 255) - 1
    logits = module(jnp.asarray(inputs)) + module(jnp.asarray(inputs[:, :, ::-1]))
    expected = float((logits.argmax(-1) == np.asarray(split.y_val)).mean())
    assert run.history[0][-1].val_acc == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_train_step_follows_pytorch(split, optimizer):
    torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
    from torch_peer import copy_weights, torch_network

    recipe = dataclasses.replace(RECIPE, label_smoothing=0.1, weight_decay=0.1, optimizer=optimizer)
    template = Template([layer for layer in TEMPLATE.layers if not isinstance(layer, Dropout)], (3, 8, 8))
    steps = Steps(program_signature(template), recipe)
    hyperparams = TrialHyperparams(np.uint32(0), np.float32(1e-2), np.float32(0.1))
    network = torch_network(template)
    copy_weights(template, template.build(nnx.Rngs(jax.random.key(0))), network)
    peer = {
        "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
    }[optimizer](network.parameters())
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    state, step = steps.init_state(template, 0), jax.jit(steps.train_step)
    for i in range(8):
        images, labels = (np.asarray(array)[8 * i : 8 * i + 8] for array in (split.x_train, split.y_train))
        inputs = images.astype(np.float32) * (2 / 255) - 1
        metrics = Metrics(jnp.float32(0), jnp.int32(0))
        state, metrics = step(state, metrics, hyperparams, inputs, labels, jnp.float32(1))
        loss = loss_fn(network(torch.tensor(inputs.transpose(0, 3, 1, 2).copy())), torch.tensor(labels).long())
        peer.zero_grad()
        loss.backward()
        peer.step()
        assert float(metrics.loss) / 8 == pytest.approx(float(loss.detach()), rel=1e-3, abs=1e-4)


def test_trainer_traces_a_program_once(split, monkeypatch):
    traces = []
    step = Steps.train_step
    monkeypatch.setattr(Steps, "train_step", lambda self, *args: traces.append(1) or step(self, *args))
    trainer = Trainer(TEMPLATE, RECIPE, split)
    trainer.train([Trial(TEMPLATE, 0)])
    trainer.train([Trial(VARIANT, 7, 1e-3, 0.0)])
    assert len(traces) == 1, "the training step was traced again: an argument changed its shape or type"


def test_trainer_bfloat16_computes_narrow_and_keeps_its_state_wide(split):
    layers = [Conv2d(8), ReLU(), BatchNorm2d(), Conv2d(8, 3), MaxPool2d(), AvgPool2d(4, 2, True, False), Flatten()]
    template = Template([*layers, Linear(32), PReLU(True), Dropout(0.1), Linear(3)], (3, 8, 8))
    recipe = dataclasses.replace(RECIPE, epochs=6, precision="bfloat16")
    trainer = Trainer(template, recipe, split)
    run = trainer.train([Trial(template)])
    leaves = jax.tree.leaves((run.state.params, run.state.opt_state))
    assert {str(leaf.dtype) for leaf in leaves} <= {"float32", "int32"}
    assert "bf16" in trainer.programs.train.as_text()
    losses = [epoch.train_loss for epoch in run.history[0]]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_trainer_refuses_what_does_not_fit(trainer, split):
    with pytest.raises(JnasError, match=r"in_shape must be \(3, 8, 8\)"):
        Trainer(Template([Flatten(), Linear(3)], (3, 9, 9)), RECIPE, split)
    with pytest.raises(JnasError, match="classes must be 3"):
        Trainer(Template([Flatten(), Linear(4)], (3, 8, 8)), RECIPE, split)
    with pytest.raises(JnasError, match="batch_size must be <= 72"):
        Trainer(TEMPLATE, dataclasses.replace(RECIPE, batch_size=500), split)
    with pytest.raises(JnasError, match="number of trials must be 1"):
        trainer.train([Trial(TEMPLATE), Trial(TEMPLATE)])
    with pytest.raises(JnasError, match="program signature"):
        trainer.start(Trial(Template([Flatten(), Linear(3)], (3, 8, 8))))


def test_program_signature_erases_slopes_and_rates_only():
    assert program_signature(TEMPLATE) == program_signature(VARIANT) == program_signature(program_signature(VARIANT))
    others = [
        Template([*CONV, Flatten(), Linear(32), PReLU(True), Dropout(0.2), Linear(3)], (3, 8, 8)),
        Template([*CONV, Flatten(), Linear(64), LeakyReLU(0.1), Dropout(0.2), Linear(3)], (3, 8, 8)),
        Template([*CONV, Flatten(), Linear(32), LeakyReLU(0.1), Linear(3)], (3, 8, 8)),
        Template([*CONV, Flatten(), Linear(32), LeakyReLU(0.1), Dropout(0.2), Linear(4)], (3, 8, 8)),
    ]
    assert len({program_signature(template) for template in [TEMPLATE, *others]}) == 5
