"""The three steps together: on small images, from the command line and from Python."""

import shutil
import subprocess
import sys

import duckdb
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays

import jnas
from jnas.data import load_data, normalise
from jnas.errors import JnasError
from jnas.predict import Predictor, Settings
from jnas.search import choose
from jnas.search.__main__ import main
from jnas.search.config import SearchConfig
from jnas.search.progress import Progress
from jnas.search.run import Search
from jnas.search.screen import facts_and_bits, screen_members
from jnas.space import LimitedSpace, Space, genome

pytestmark = pytest.mark.xdist_group("search")  # one worker, so that the finished search is made once

TINY = {"random": 11, "filtered": 2, "candidates": 64, "generations": 1, "children": 2, "epochs": 1, "final_epochs": 2}
TINY |= {"conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 200_000}


def options(settings):
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search that has ended, and the arrays it was on."""
    store = tmp_path_factory.mktemp("search") / "results.duckdb"
    arrays = small_arrays(train=192)
    return jnas.search(arrays, store=str(store), verbose=False, **TINY), arrays


def test_the_three_steps(finished):
    result, _ = finished
    frame = result.to_df()
    assert frame.step.tolist() == ["random"] * 11 + ["filtered"] * 2 + ["evolved"] * 2
    assert frame.hash.is_unique and (frame.status == "ok").all() and (frame.macs <= 200_000).all()
    assert frame.predicted_mean.isna().tolist() == [True] * 11 + [False] * 4
    assert result.best.evaluation.val_acc_final == frame.val_acc_final.max()
    accuracies = [candidate.evaluation.val_acc_final for candidate in result.top(5)]
    assert accuracies == sorted(frame.val_acc_final, reverse=True)[:5]
    generations = result.store.sql("SELECT * FROM generations ORDER BY generation")
    assert generations.trained.tolist() == [11, 2, 2]
    predictors = result.store.sql("SELECT * FROM predictors ORDER BY generation")
    assert predictors.rows.tolist() == [11, 13]


def test_the_winner_is_the_module_that_was_tested(finished):
    result, arrays = finished
    final = result.best.final
    assert final.status == "ok" and len(final.epochs) == 2
    module = result.best.build()
    predicted = np.asarray(module(normalise(jnp.asarray(arrays["x_test"])))).argmax(-1)
    assert (predicted == arrays["y_test"]).mean() == pytest.approx(final.test_acc_final)
    # Only the winner has seen test images.
    assert result.to_df().test_acc_final.isna().all()
    assert result.store.to_df().test_acc_final.notna().sum() == 1


def test_another_candidate_is_trained_again_as_its_row_says(finished):
    result, arrays = finished
    second = result.top(2)[1]
    split = jnas.load_data(arrays).split(0.2)
    predicted = second.build()(normalise(split.x_val)).argmax(-1)
    assert float((predicted == split.y_val).mean()) == pytest.approx(second.evaluation.val_acc_final, abs=0.03)


def test_the_same_again_trains_nothing(finished, monkeypatch):
    result, arrays = finished
    monkeypatch.setattr("jnas.train.trainer.Trainer.train", lambda *_: pytest.fail("trained what the store has"))
    again = jnas.search(arrays, store=str(result.store.path), verbose=False, **TINY)
    assert [c.evaluation for c in again.candidates] == [c.evaluation for c in result.candidates]
    assert again.best.final == result.best.final


def test_an_interrupted_search_ends_as_an_uninterrupted_one(finished, tmp_path, monkeypatch):
    result, arrays = finished
    from jnas.train.trainer import Trainer

    train, count = Trainer.advance, iter(range(100))

    def interrupted(self, *args):
        if next(count) == 12:  # in the second step
            raise KeyboardInterrupt
        return train(self, *args)

    store = str(tmp_path / "results.duckdb")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "advance", interrupted)
        jnas.search(arrays, store=store, verbose=False, **TINY)
    resumed = jnas.search(arrays, store=store, verbose=False, **TINY).to_df()
    same = ["step", "hash", "seed", "val_acc_final", "train_acc_final", "predicted_mean"]
    assert resumed[same].equals(result.to_df()[same])


def test_more_generations_continue(finished, tmp_path):
    result, arrays = finished
    store = tmp_path / "results.duckdb"
    shutil.copy(result.store.path, store)
    longer = jnas.search(arrays, store=str(store), verbose=False, **TINY | {"generations": 2})
    frame = longer.to_df()
    assert longer.experiment == result.experiment and len(frame) == 17
    assert frame.hash[:15].equals(result.to_df().hash) and frame.hash.is_unique


def test_picture(finished, tmp_path):
    result, _ = finished
    jnas.plot_search(result.to_df(), tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(JnasError, match="nothing to draw"):
        jnas.plot_search(result.to_df().iloc[:0])


def test_command_line(tmp_path):
    """In a process of its own, as a user runs it; twice, and the second time nothing is trained."""
    np.savez(tmp_path / "small.npz", **small_arrays(train=192))
    settings = TINY | {"data": "small.npz", "random": 3, "filtered": 0, "generations": 0}
    command = [sys.executable, "-m", "jnas.search", *options(settings)]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Step 1: random templates: 3 trained" in done.stdout
        assert "The winner" in done.stdout and "test accuracy" in done.stdout and "jnas.duckdb" in done.stdout
    assert "Traceback" not in done.stderr


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in SearchConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "missing.npz"], "There is no file or folder missing.npz"),
        (["--data", "bad.npz"], "cannot be read as an .npz"),
        (["--data", "empty.npz"], "has no x_train and no y_train"),
        (["--data", "small.npz", "--classes", "2"], "the label 2 in y_train, outside 0 to 1"),
        (["--data", "small.npz", "--batch-size", "1000"], "The batch of 1000 is larger than the training set"),
        (["--data", "small.npz", "--store", "bad.npz"], "cannot be opened as a DuckDB file"),
        (["--data", "small.npz", "--max-params", "3", "--batch-size", "24"], "raise the limits"),
        (["--seed", "4294967296"], "--seed 4294967296 is too large"),
        (["--candidates", "2"], "--candidates 2 are too few to choose 4 from"),
        (["--max-macs", "0"], "--max-macs 0 is no limit"),
        (["--classes", "5"], "the label 6 in y_train, outside 0 to 4"),
        (["--random", "0"], "--random 0 is too small: give 1 or more"),
        (["--epochs", "0"], "The recipe's epochs=0 cannot be trained with: give at least 1"),
        (["--conv-num", "0"], "conv_num=0 makes no space"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    np.savez("small.npz", **small_arrays())
    np.savez("empty.npz", images=np.zeros(3))
    (tmp_path / "bad.npz").write_text("this is neither an archive nor a database " * 100)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("jnas: ") and error.count("\n") == 1
    assert (tmp_path / "bad.npz").read_text().startswith("this is neither")


@pytest.mark.parametrize("words", [["--no-such-option"], ["--epochs", "many"], ["--recipe", "secret"]])
def test_options_that_do_not_exist(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_store_in_use(tmp_path, monkeypatch, capsys, npz):
    path = tmp_path / "results.duckdb"
    jnas.Store(path)
    monkeypatch.setattr("duckdb.connect", lambda *_: (_ for _ in ()).throw(duckdb.IOException("Could not set lock")))
    monkeypatch.setattr("time.sleep", lambda _: None)
    ticks = iter(range(1000))
    monkeypatch.setattr("jnas.store.store.time.monotonic", lambda: next(ticks))
    assert main(["--data", str(npz), "--batch-size", "24", "--store", str(path)]) == 2
    assert "is open in another process" in capsys.readouterr().err


def test_an_unknown_setting_in_python():
    with pytest.raises(JnasError, match="A search has no setting epoch: the settings are data, "):
        jnas.search(epoch=3)


def test_filtered_candidates_come_in_rounds_between_fits(tmp_path, arrays):
    settings = TINY | {"filtered": 5, "refit": 2, "generations": 2}
    config = SearchConfig(store=str(tmp_path / "r.duckdb"), **settings)
    search = Search(config, load_data(arrays), Progress())
    assert search.steps == ["random", "filtered", "filtered", "filtered", "evolved", "evolved"]
    assert search.counts == [11, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("acquisition", ["mean", "ucb", "thompson"])
def test_the_acquisition_rule_decides_what_is_filtered(acquisition):
    space = LimitedSpace(Space(conv_num=1, lin_num=1), None, None)
    genomes = space.sample(jax.random.key(0), 60)
    seen = np.asarray(facts_and_bits(genomes, space.space))
    settings = Settings(members=2, folds=2, hidden=4, head=4, steps=6, checks=2)
    targets = np.asarray(genomes[:, 0, genome.WIDTH]) / 10 + 0.1
    predictor = Predictor(0, settings).fit(seen, np.asarray(genome.lengths(genomes)), targets)
    found = choose.filtered(space, jax.random.key(1), 4, set(), predictor, 200, acquisition)
    assert len({choice.hash for choice in found}) == 4
    candidates = space.sample(jax.random.key(1), 200)
    members = screen_members(space.space, candidates, predictor)
    mean = members.mean(0)
    value = {choice.hash: choice.predicted_mean for choice in found}
    if acquisition == "mean":
        assert max(value.values()) == pytest.approx(mean.max())
    taken = {found[0].hash}
    again = choose.filtered(space, jax.random.key(1), 4, taken, predictor, 200, acquisition)
    assert not taken & {choice.hash for choice in again}
