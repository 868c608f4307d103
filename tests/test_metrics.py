"""Measures of answers, what a search chooses by, and weights of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import exhaustive, small_arrays

import jnas
from jnas._cli import main
from jnas.space import Flatten, Linear, Template
from jnas.train import Recipe, Trainer, Trial
from jnas.train._metrics import count_answers, measure
from jnas.train._step import Metrics
from jnas.train._views import ONE_VIEW, Views

FEW = {"num_random": 5, "known_networks": False, "generations": 0, "batch_size": 24, "final_epochs": 1, "report": False}
FEW |= {"space": "sophius", "conv_num": 1, "lin_num": 1, "max_macs": 100_000, "epochs": 1}


def test_measures_are_those_of_the_confusion_matrix():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 40, 4)).astype(np.float32)
    labels = np.where(np.arange(40) < 35, generator.choice([0, 1, 3], 40), -1).astype(np.int32)  # none of class 2
    counts = count_answers([jnp.asarray(logits)], jnp.asarray(labels), ONE_VIEW)
    for lane in range(2):
        one_lane = jax.tree.map(lambda array, lane=lane: np.asarray(array)[lane], counts)
        accuracy, loss, balanced_accuracy, macro_f1 = measure(one_lane, labels[:35])
        answers, actual = logits[lane, :35].argmax(-1), labels[:35]
        recalls, f1s = [], []
        for one in (0, 1, 3):
            hits = ((answers == one) & (actual == one)).sum()
            recall, precision = hits / (actual == one).sum(), hits / max((answers == one).sum(), 1)
            recalls.append(recall)
            f1s.append(2 * precision * recall / max(precision + recall, 1e-9))
        assert accuracy == pytest.approx((answers == actual).mean())
        assert balanced_accuracy == pytest.approx(np.mean(recalls))
        assert macro_f1 == pytest.approx(np.mean(f1s))
        log_probabilities = jax.nn.log_softmax(logits[lane, :35])[np.arange(35), actual]
        assert loss == pytest.approx(-float(log_probabilities.mean()), rel=1e-5)


def test_views_are_averaged_before_answers_are_counted():
    logits = [jnp.array([[[3.0, 0.0]]]), jnp.array([[[0.0, 1.0]]])]
    counts = count_answers(logits, jnp.array([0]), Views(flip=True))
    assert counts.correct.tolist() == [[1, 0]] and counts.predicted.tolist() == [[1, 0]]


def test_epochs_have_all_measures(tmp_path):
    (row,) = jnas.evaluate(
        [jnas.Space((3, 8, 8), 3).random(0)],
        small_arrays(),
        Recipe(epochs=2, batch_size=24),
        store=tmp_path / "a.duckdb",
        progress=False,
    )
    stored = jnas.Store(tmp_path / "a.duckdb").find([row.key])[row.key]
    assert stored.epochs == row.epochs
    last = row.epochs[-1]
    assert last.val_loss > 0 and 0 <= last.val_macro_f1 <= 1 and 0 <= last.val_balanced_acc <= 1
    assert row.score("accuracy") == row.val_acc_final and row.score("loss") == -last.val_loss
    assert jnas.store.Evaluation(row.key).score("loss") == -np.inf


@pytest.mark.parametrize(
    "metric",
    [
        "macro_f1",
        "loss",
        *exhaustive("accuracy", "balanced_accuracy"),
    ],
)
def test_a_search_chooses_by_its_metric(tmp_path, fake_trainer, metric, capsys):
    result = jnas.search(small_arrays(), out=tmp_path, metric=metric, **FEW)
    frame = result.to_df()
    best = frame.val_acc_final.min() if metric == "macro_f1" else frame.val_acc_final.max()  # as the trainer makes up
    assert result.best.accuracy == result.candidates[0].accuracy == best
    assert result.best.score == result.best.evaluation.score(metric)
    assert jnas.open(tmp_path).candidates[0].candidate == result.best.candidate
    printed = capsys.readouterr().out
    told = f", {metric.replace('_', ' ')} {abs(result.best.final.score(metric)):.4f} (the search chose by it)"
    assert (told in printed) == (metric != "accuracy")
    assert main(["show", str(tmp_path)]) == 0


def test_weights_balance_the_classes():
    arrays = small_arrays(train=120)
    kept = np.flatnonzero((arrays["y_train"] != 2) | (np.arange(120) % 10 == 0))
    arrays |= {"x_train": arrays["x_train"][kept], "y_train": arrays["y_train"][kept]}
    split = jnas.load_data(arrays).split(0.2)
    weights, counts = split.class_weights, np.bincount(np.asarray(split.y_train))
    assert weights @ counts == pytest.approx(counts.sum()) and weights[2] > 5 * weights[0]
    template = Template([Flatten(), Linear(3)], (3, 8, 8))
    recipe = Recipe(epochs=1, batch_size=24, class_weights="balanced", label_smoothing=0.0)
    trainer = Trainer(template, recipe, split)
    run = trainer.start(Trial(template))
    state, inputs = run.state, split.x_train[:24].astype(jnp.float32) / 128 - 1
    labels, lane = split.y_train[:24], jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], (state, run.hyperparams))
    _, metrics = jax.jit(trainer.steps.train_step)(
        lane[0], Metrics(jnp.float32(0), jnp.int32(0)), lane[1], inputs, labels, jnp.float32(1)
    )
    logits = trainer.steps.logits(lane[0].params, lane[0].model_state, inputs)
    losses = -np.asarray(jax.nn.log_softmax(logits))[np.arange(24), labels]
    expected = (losses * weights[labels]).sum() / weights[labels].sum()
    assert float(metrics.loss) / 24 == pytest.approx(expected, rel=1e-5)
    trained = trainer.train([Trial(template)])
    plain = Trainer(template, Recipe(epochs=1, batch_size=24, label_smoothing=0.0), split).train([Trial(template)])
    assert trained.history != plain.history
