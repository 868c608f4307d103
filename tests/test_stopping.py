"""Stopping losers early: what is trained, what is stored, and who decides."""

import dataclasses

import numpy as np
import pytest
from conftest import small_arrays

import jnas
from jnas._search.pruning import hopeful, to_beat
from jnas.errors import JnasError
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.store import Store
from jnas.train import Recipe, Trial
from jnas.train._engine import jobs as population
from jnas.train._evaluate import Request
from jnas.train._pruning import evaluate_stopping

SPACE = Space((3, 8, 8), 3, conv_num=1, lin_num=1)
RECIPE = Recipe(epochs=3, batch_size=24)
SEARCH = {
    "num_random": 11,
    "num_screened": 2,
    "pool_size": 64,
    "population_size": 64,
    "generations": 1,
    "trials_per_generation": 2,
    "epochs": 2,
}
SEARCH |= {"final_epochs": 3, "conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 200_000}
TEMPLATES = [SPACE.random(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


def asked(data, trials, store=None):
    return Request.of(trials, data, RECIPE, 0, 0, store, "exact")


def test_those_that_go_on_are_trained_as_ever(data, tmp_path):
    store = Store(tmp_path / "results.duckdb")
    sick = Trial(TEMPLATES[3], learning_rate=1e30)
    trials = [*TEMPLATES[:3], sick]
    seen = {}

    def goes_on(keys, curves):
        seen.update(zip([key.hash for key in keys], curves.tolist(), strict=True))
        return [key.hash == TEMPLATES[1].hash for key in keys]

    rows = list(evaluate_stopping(asked(data, trials, store), 1, goes_on))
    whole = jnas.evaluate(trials, data, RECIPE, progress=False)
    assert [row.status for row in rows] == ["stopped", "ok", "stopped", "nan"]
    assert [len(row.epochs) for row in rows] == [1, 3, 1, 1]
    assert rows[0].message == "stopped after 1 of 3 epochs" and rows[0].val_acc_final is None
    assert rows[1].epochs == whole[1].epochs and rows[0].epochs == whole[0].epochs[:1]
    assert seen == {row.key.hash: [row.epochs[0].val_acc] for row in rows[:3]}
    # Asked again, nothing is trained, and nobody decides anew.
    again = list(evaluate_stopping(asked(data, trials, store), 1, lambda *_: pytest.fail("asked again")))
    assert again[:3] == rows[:3] and again[3].status == "nan"
    # Without stopping, those that were stopped are trained to the end.
    assert [row.status for row in jnas.evaluate(trials, data, RECIPE, store=store, progress=False)[:3]] == ["ok"] * 3


def test_the_hopeful_are_those_that_may_be_better_than_the_best():
    class Model:
        def predict(self, sequences, lengths, early):
            assert sequences.shape[:1] == lengths.shape == early.shape[:1]
            return early[:, 0] + 0.1, np.array([0.01, 0.1, 0.01])

    names = [template.hash for template in TEMPLATES[:3]]
    curves = np.array([[0.2], [0.2], [0.5]])
    assert hopeful(SPACE, names, curves, Model(), np.full(3, 0.45)).tolist() == [False, True, True]
    assert hopeful(SPACE, names, curves, Model(), np.array([-np.inf, 0.55, 0.7])).tolist() == [True, False, False]


def test_with_several_objectives_only_what_costs_as_little_is_to_be_beaten():
    accuracies = np.array([0.4, 0.6, 0.8])
    assert to_beat(np.zeros((2, 0)), np.zeros((3, 0)), accuracies).tolist() == [0.8, 0.8]
    known = np.array([[10.0, 2], [20, 1], [30, 3]])
    asked = np.array([[9.0, 9], [10, 2], [25, 1], [40, 3], [np.inf, 0]])
    assert to_beat(asked, known, accuracies).tolist() == [-np.inf, 0.4, 0.6, 0.8, -np.inf]
    assert to_beat(asked, known[:0], accuracies[:0]).tolist() == [-np.inf] * 5


def test_a_search_with_several_objectives_stops_nothing_for_being_small(tmp_path, monkeypatch):
    """Nothing as small was as good, so it belongs to the front, however bad it is."""
    asked = []

    def note(space, names, curves, predictor, best):
        asked.extend(zip(names, best, strict=True))
        return np.ones(len(names), bool)

    monkeypatch.setattr("jnas._search.loop.hopeful", note)
    store = str(tmp_path / "results.duckdb")
    result = jnas.search(
        *(small_arrays(train=192),),
        **{"store": store, "verbose": False, "objectives": ["accuracy", "params"], "prune_after_epochs": 1, **SEARCH},
    )
    frame = result.to_df()
    chosen = [(frame[frame.hash == name].iloc[0], best) for name, best in asked]
    assert len(chosen) == 4
    for row, best in chosen:
        before = frame[(frame.generation < row.generation) & (frame.params <= row.params)]
        assert best == before.val_acc_final.max() or (before.empty and best == -np.inf)


def test_a_search_that_stops_losers_early(tmp_path, monkeypatch, capsys):
    arrays = small_arrays(train=192)
    settings = SEARCH | {"prune_after_epochs": 1}
    decided = []

    def first_alone(space, names, curves, predictor, best):
        assert curves.shape == (2, 1) and predictor.num_epochs == 1 and ((best > 0) & (best <= 1)).all()
        decided.append(names)
        return np.array([True, False])

    monkeypatch.setattr("jnas._search.loop.hopeful", first_alone)
    store = str(tmp_path / "results.duckdb")
    result = jnas.search(arrays, store=store, **settings)
    assert "2 templates were stopped early." in capsys.readouterr().out
    stored = result.store.to_df()
    stopped = stored[stored.status == "stopped"]
    assert set(stopped.hash) == {names[1] for names in decided} and len(decided) == 2
    assert len(result.candidates) == 13 and not set(stopped.hash) & {c.template.hash for c in result.candidates}
    again = jnas.search(arrays, store=store, **settings)
    assert len(decided) == 2 and [c.evaluation for c in again.candidates] == [c.evaluation for c in result.candidates]


def test_who_loses_a_shared_program_on_the_way_begins_anew_alone(data, monkeypatch):
    """The state of a lane is one of that program, and fits no other."""
    plan, plans = population.plan, []

    def once(structure, *rest):
        plans.append(structure.policy)
        return None if plans.count("folded") > 1 and structure.policy == "folded" else plan(structure, *rest)

    monkeypatch.setattr(population, "plan", once)
    pair = [
        Template([lt.Flatten(), lt.Linear(32), act, lt.Linear(3)], (3, 8, 8)) for act in (lt.ReLU(), lt.LeakyReLU())
    ]
    rows = list(evaluate_stopping(asked(data, pair), 1, lambda *_: [True, False], policy="folded"))
    assert plans == ["folded", "folded", "exact"] and [row.status for row in rows] == ["ok", "stopped"]
    assert rows[0].epochs == jnas.evaluate(pair[:1], data, RECIPE, progress=False)[0].epochs


def test_early_epochs_that_stop_nothing_are_named(tmp_path):
    with pytest.raises(JnasError, match=r"prune_after_epochs must be less than epochs \(3\), got 3; use 0"):
        jnas.search(small_arrays(), store=str(tmp_path / "a.duckdb"), epochs=3, prune_after_epochs=3)


def test_early_stopping_repeats_the_recipes_seed(data):
    """A trial's own recipe decides of its key, stopped or not."""
    trial = Trial(TEMPLATES[0], learning_rate=1e-3)
    (row,) = evaluate_stopping(asked(data, [trial]), 1, lambda keys, _: [False])
    assert row.key.recipe_id == dataclasses.replace(RECIPE, learning_rate=1e-3).id and row.status == "stopped"
