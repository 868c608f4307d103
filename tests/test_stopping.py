"""Stopping losers early: what is trained, what is stored, and who decides."""

import dataclasses

import numpy as np
import pytest
from conftest import small_arrays

import jnas
from jnas._search.objectives import find_incumbents
from jnas._search.screening import may_improve
from jnas.errors import JnasError
from jnas.space import Candidate, Conv2d, Flatten, Linear, ReLU, Space, Template
from jnas.train import Recipe, TrainingRequest, Trial, run_pruned

pytestmark = pytest.mark.usefixtures("small_predictor")

SPACE = Space((3, 8, 8), 3, conv_num=1, lin_num=1, max_macs=100_000)
RECIPE = Recipe(epochs=3, batch_size=24)
SEARCH = {
    "num_random": 11,
    "known_networks": False,
    "space": "sophius",
    "generations": 2,
    "trials_per_generation": 2,
    "epochs": 2,
}
SEARCH |= {"final_epochs": 3, "conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 100_000, "report": False}
TEMPLATES = [Template([Conv2d(n, 3), ReLU(), Flatten(), Linear(3)], (3, 8, 8)) for n in (8, 16, 32, 64)]


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


def test_only_what_may_become_better_than_the_best_goes_on():
    class Model:
        def predict(self, sequences, lengths, early):
            assert sequences.shape[:1] == lengths.shape == early.shape[:1]
            return early[:, 0] + 0.1, np.array([0.01, 0.1, 0.01])

    candidates = [Candidate.from_template(template, SPACE) for template in TEMPLATES[:3]]
    curves = np.array([[0.2], [0.2], [0.5]])
    assert may_improve(SPACE, candidates, curves, Model(), np.full(3, 0.45)).tolist() == [False, True, True]
    assert may_improve(SPACE, candidates, curves, Model(), np.array([-np.inf, 0.55, 0.7])).tolist() == [
        True,
        False,
        False,
    ]


def test_with_several_objectives_only_what_costs_as_little_is_to_be_beaten():
    accuracies = np.array([0.4, 0.6, 0.8])
    assert find_incumbents(np.zeros((2, 0)), np.zeros((3, 0)), accuracies).tolist() == [0.8, 0.8]
    known = np.array([[10.0, 2], [20, 1], [30, 3]])
    asked = np.array([[9.0, 9], [10, 2], [25, 1], [40, 3], [np.inf, 0]])
    assert find_incumbents(asked, known, accuracies).tolist() == [-np.inf, 0.4, 0.6, 0.8, -np.inf]
    assert find_incumbents(asked, known[:0], accuracies[:0]).tolist() == [-np.inf] * 5


@pytest.mark.exhaustive
def test_a_search_with_several_objectives_stops_nothing_for_being_small(tmp_path, monkeypatch):
    """Nothing as small was as good, so it belongs to the front, however bad it is."""
    asked = []

    def note(space, candidates, curves, predictor, best):
        asked.extend(zip((candidate.hash for candidate in candidates), best, strict=True))
        return np.ones(len(candidates), bool)

    monkeypatch.setattr("jnas._search.proposer.may_improve", note)
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


def test_a_search_that_stops_losers_early(tmp_path, fake_trainer, monkeypatch, capsys):
    arrays = small_arrays(train=192)
    settings = SEARCH | {"prune_after_epochs": 1}
    decided = []

    def first_alone(space, candidates, curves, predictor, best):
        assert curves.shape == (2, 1) and predictor.num_epochs == 1 and ((best > 0) & (best <= 1)).all()
        decided.append([candidate.hash for candidate in candidates])
        return np.array([True, False])

    monkeypatch.setattr("jnas._search.proposer.may_improve", first_alone)
    store = str(tmp_path / "results.duckdb")
    result = jnas.search(arrays, store=store, **settings)
    assert "2 templates were stopped early." in capsys.readouterr().out
    stored = result.store.to_df()
    stopped = stored[stored.status == "stopped"]
    assert set(stopped.hash) == {names[1] for names in decided} and len(decided) == 2
    assert len(result.candidates) == 13 and not set(stopped.hash) & {c.template.hash for c in result.candidates}
    again = jnas.search(arrays, store=store, **settings)
    assert len(decided) == 2 and [c.evaluation for c in again.candidates] == [c.evaluation for c in result.candidates]


def test_early_epochs_that_stop_nothing_are_named(tmp_path):
    with pytest.raises(JnasError, match=r"prune_after_epochs must be less than epochs \(3\), got 3; use 0"):
        jnas.search(small_arrays(), store=str(tmp_path / "a.duckdb"), epochs=3, prune_after_epochs=3)


def test_early_stopping_repeats_the_recipes_seed(data, fake_trainer):
    """A trial's own recipe decides of its key, stopped or not."""
    trial = Trial(TEMPLATES[0], learning_rate=1e-3)
    request = TrainingRequest.of([trial], data, RECIPE, 0, 0, None)
    (row,) = run_pruned(request, 1, lambda keys, _: [False])
    assert row.key.recipe_id == dataclasses.replace(RECIPE, learning_rate=1e-3).id and row.status == "stopped"
