"""What a search leaves: its folder, opened and shown again, and used by the next search."""

import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import small_arrays
from fakes import FakeTrainer

import jnas
from jnas._cli import main
from jnas._search.callbacks import Callback
from jnas._search.summary import result_to_json
from jnas.space import Candidate, Conv2d, Flatten, LeakyReLU, Linear, MaxPool2d, PReLU, ReLU, Space, Template
from jnas.train._engine import group_trainer

FEW = {"num_random": 4, "generations": 1, "trials_per_generation": 3, "batch_size": 24, "final_epochs": 2}
FEW |= {"max_macs": 40_000, "epochs": 1}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search in its default folder, and the folder that this is in."""
    folder = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(group_trainer, "TRAINER_CLASS", FakeTrainer)
        return jnas.search(small_arrays(), verbose=False, **FEW), folder


@pytest.fixture
def finished(searched, tmp_path, fake_trainer, monkeypatch):
    """A search in its default folder, which is in the working one."""
    result, folder = searched
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return result


def test_everything_is_in_one_folder(finished, tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == ["jnas-run"]
    names = sorted(path.name for path in (tmp_path / "jnas-run").iterdir())
    assert names == ["jnas-report", "jnas.checkpoints", "jnas.duckdb"]
    report = tmp_path / "jnas-run" / "jnas-report"
    assert {path.name for path in report.iterdir()} == {"data.js", "index.html"}


def test_open_returns_what_the_search_returned(finished):
    for opened in (jnas.open(), jnas.open("jnas-run"), jnas.open(finished.store, finished.experiment[:5])):
        assert [c.candidate for c in opened.candidates] == [c.candidate for c in finished.candidates]
        assert opened.best.candidate == finished.best.candidate and opened.known.candidate == finished.known.candidate
        assert opened.best.finals == finished.best.finals
        assert opened.to_df().equals(finished.to_df()) and opened.front.equals(finished.front)
    images = small_arrays()["x_test"]
    assert (opened.best.predict(images) == finished.best.predict(images)).all()
    with pytest.raises(jnas.JnasError, match="was given your arrays as arrays: give them again as data"):
        next(c for c in opened.candidates if c.candidate != opened.best.candidate).build()


def test_a_longer_training_as_long_as_the_others_is_one(tmp_path, fake_trainer):
    settings = FEW | {"epochs": 2, "final_epochs": 2, "train_images": None}
    result = jnas.search(small_arrays(), out=tmp_path, verbose=False, report=False, **settings)
    assert jnas.open(tmp_path).best.finals == result.best.finals != ()
    assert jnas.store.read_search(result.store, result.experiment).finals.hash.tolist() == [result.best.template.hash]


def test_candidates_of_pictures_are_built_from_them_again(tmp_path, fake_trainer):
    arrays = small_arrays(size=12)
    np.savez(tmp_path / "a.npz", **arrays)
    jnas.search(str(tmp_path / "a.npz"), out=tmp_path, size="8", verbose=False, report=False, **FEW)
    others = [one for one in jnas.open(tmp_path).candidates if not one.finals]
    smallest = min(others, key=lambda one: one.template.cost.macs)
    assert smallest.build() is not None and smallest.template.in_shape == (3, 8, 8)


def test_show_prints_what_the_search_printed(finished, capsys):
    jnas.search(small_arrays(), **FEW)  # looks up what it has
    printed = capsys.readouterr().out
    assert main(["show"]) == 0
    shown = capsys.readouterr().out
    assert shown.split("#")[1].split("Results:")[0] == printed.split("#")[1].split("Results:")[0]
    assert (
        "Of the classes it finds" in shown
        and "Next: jnas export jnas-run/jnas.duckdb" in shown
        and finished.best.template.hash in shown
    )


def test_show_as_json(finished, capsys):
    assert main(["show", "jnas-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == result_to_json(finished)
    best, final, known = finished.best, finished.best.final, finished.known
    assert shown["trials"] == len(finished.to_df()) and shown["finished"]
    assert 0 < shown["seconds_to_best"] <= shown["seconds"] < 600
    assert [row["hash"] for row in shown["front"]] == finished.front.hash.tolist()
    assert shown["winner"] == {
        "hash": best.template.hash,
        "val_acc": final.val_acc_final,
        "test_acc": final.test_acc_final,
        "search_val_acc": best.accuracy,
        "promoted_val_acc": None,
        "params": best.template.cost.params,
        "macs": best.template.cost.macs,
    }
    assert shown["known"]["search_val_acc"] == known.accuracy
    longer = known.final  # it may be the winner
    assert shown["known"]["val_acc"] == (known.accuracy if longer is None else longer.val_acc_final)
    assert shown["known"]["test_acc"] == (None if longer is None else longer.test_acc_final)


class Stopped(Exception):
    pass


class Stops(Callback):
    def on_round_end(self, result):
        raise Stopped


def test_a_search_without_a_winner_is_shown_as_it_is(tmp_path, fake_trainer, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Stopped):
        jnas.search(small_arrays(), callbacks=[Stops()], **FEW)
    assert main(["show"]) == 0
    assert "The best so far" in (text := capsys.readouterr().out) and "has not trained a winner yet" in text
    assert main(["show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert not shown["finished"] and shown["winner"]["test_acc"] is None and shown["seconds_to_best"] > 0
    opened = jnas.open()
    assert opened.best.candidate == opened.candidates[0].candidate and opened.best.finals == ()


def test_nothing_trained_is_said(tmp_path, fake_trainer, monkeypatch):
    class AtOnce(Callback):
        def on_search_start(self, search):
            raise Stopped

    with pytest.raises(Stopped):
        jnas.search(small_arrays(), out=tmp_path / "run", callbacks=[AtOnce()], **FEW)
    with pytest.raises(jnas.JnasError, match="has no trained network yet: run its command again"):
        jnas.open(tmp_path / "run")


@pytest.mark.slow
def test_quiet_prints_nothing(tmp_path, fake_trainer, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **small_arrays())
    words = [word for name, value in FEW.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["search", "--data", "a.npz", "--quiet", *words]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_rows_of_earlier_searches_are_used(finished, fake_trainer):
    other = FEW | {"trials_per_generation": 2, "max_trials": 8}
    result = jnas.search(small_arrays(), verbose=False, **other)
    frame, before = result.to_df(), finished.to_df()
    stored = frame[frame.phase == "stored"]
    assert sorted(stored.hash) == sorted(before[before.phase != "known"].hash)
    assert stored.val_acc_final.is_monotonic_decreasing and frame.hash.is_unique
    shown = result_to_json(result)
    assert shown["trials"] == len(frame) - len(stored) <= 8
    again = jnas.search(small_arrays(), verbose=False, **other)  # chooses from what was there when it began
    assert again.to_df().hash.tolist() == frame.hash.tolist()
    limit = {"max_params": int(frame.params.min()), "generations": 0}
    kept = jnas.search(small_arrays(), verbose=False, **other | limit).to_df()
    assert (kept.params <= frame.params.min()).all()


def test_equal_functions_count_once():
    def candidate(*layers):
        template = Template([Conv2d(8, 3, 1, True), *layers, Flatten(), Linear(3)], (3, 8, 8))
        return Candidate.from_template(template, Space((3, 8, 8), 3))

    pool, relu = MaxPool2d(2, 2), ReLU()
    one = candidate(relu, pool, pool).function_hash
    assert one == candidate(pool, relu, pool).function_hash == candidate(pool, pool, relu).function_hash
    assert one == candidate(relu, pool, relu, pool).function_hash
    assert one != candidate(relu, pool).function_hash and one != candidate(LeakyReLU(0.1), pool, pool).function_hash
    learned = candidate(PReLU(), pool)  # its slope may become negative
    assert learned.function_hash == learned.hash != candidate(pool, PReLU()).function_hash
    assert candidate(LeakyReLU(0.1), pool).function_hash == candidate(pool, LeakyReLU(0.1)).function_hash


def test_results_are_drawn_in_notebooks(finished):
    page, best = finished._repr_html_(), finished.best
    assert page.count("<svg") == 2 and page.count("<tr>") == 1 + min(10, len(finished.candidates))
    assert best.template.hash in page and f"{best.final.test_acc_final:.4f}" in page
    assert page.count("<circle") == len(finished.candidates) and best._repr_html_() in page
    assert finished.experiment in finished.store._repr_html_()
    assert jnas.Store("none.duckdb")._repr_html_() == "Store('none.duckdb')"


@pytest.mark.skipif(find_spec("optuna") is None, reason="needs optuna")
def test_a_search_is_a_study_of_optuna(finished, capsys):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    assert main(["store", "jnas-run", "--optuna", "study.log"]) == 0 and "Wrote study.log" in capsys.readouterr().out
    storage = optuna.storages.JournalStorage(JournalFileBackend("study.log"))
    study = optuna.load_study(study_name=finished.experiment, storage=storage)
    assert [trial.value for trial in study.trials] == finished.to_df().val_acc_final.tolist()
    assert study.best_trial.user_attrs["hash"] == finished.candidates[0].template.hash
    assert study.trials[0].params["macs"] == finished.to_df().macs[0]
    assert len(study.trials[0].intermediate_values) == len(finished.candidates[0].evaluation.epochs)
    assert main(["store", "jnas-run", "--optuna", "study.log"]) == 2
    assert "study.log exists: name another file." in capsys.readouterr().err


def test_optuna_that_is_not_installed_is_said(finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(jnas.JnasError, match="A study needs optuna: pip install optuna"):
        jnas.store.export_optuna("jnas-run", "study.log")
