"""The three steps together: on small images, from the command line and from Python."""

import dataclasses
import json
import shutil
import subprocess
import sys

import duckdb
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays
from fakes import FakeTrainer

import jnas
from jnas._cli import main
from jnas._search import final_training
from jnas._search.config import SearchConfig
from jnas._search.evolution import CandidatePool, select_batch
from jnas.data import normalise
from jnas.errors import JnasError
from jnas.export._source import select
from jnas.space import Candidate, Space, Template, board_needs
from jnas.store import Epoch, paths
from jnas.train import Trainer, train_modules
from jnas.train._engine import group_trainer

pytestmark = pytest.mark.usefixtures("small_predictor")

TINY = {
    "num_random": 11,
    "known_networks": False,
    "space": "sophius",
    "generations": 2,
    "trials_per_generation": 2,
    "epochs": 1,
    "final_epochs": 2,
}
TINY |= {"final_repeats": 2, "conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 100_000, "report": False}


def options(settings):
    words = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        words += [f"--no-{option}"] if value is False else [f"--{option}", str(value)]
    return words


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_predictor):
    """A search that has ended, and the arrays it was on. Its training is made up, but its weights are tested."""
    store = tmp_path_factory.mktemp("search") / "results.duckdb"
    arrays = small_arrays(train=192)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_trainer, "TRAINER_CLASS", FakeTrainer)
        return jnas.search(arrays, store=str(store), verbose=False, **TINY), arrays


def test_the_three_steps(finished):
    result, _ = finished
    frame = result.to_df()
    assert frame.phase.tolist() == ["random"] * 11 + ["evolved"] * 4
    assert frame.hash.is_unique and (frame.status == "ok").all() and (frame.macs <= 100_000).all()
    assert frame.predicted_mean.isna().tolist() == [True] * 11 + [False] * 4
    assert result.best.evaluation.val_acc_final == frame.val_acc_final.max()
    accuracies = [candidate.evaluation.val_acc_final for candidate in result.top(5)]
    assert accuracies == sorted(frame.val_acc_final, reverse=True)[:5]
    generations = result.store.sql("SELECT * FROM generations ORDER BY generation")
    assert generations.num_trained.tolist() == [11, 2, 2]
    assert generations.diversity.between(0.01, 1).all() and generations.front_size.min() >= 1
    front = result.front
    assert front.val_acc_final[0] == frame.val_acc_final.max() and front.macs.is_monotonic_decreasing
    for row in frame.itertuples():  # nobody is better in both
        assert ((front.val_acc_final >= row.val_acc_final) & (front.macs <= row.macs)).any()
    predictors = result.store.sql("SELECT * FROM predictors ORDER BY generation")
    assert predictors.num_rows.tolist() == [11, 13]


def test_the_winner_is_the_module_that_was_tested(finished):
    result, arrays = finished
    final = result.best.final
    assert final.status == "ok" and len(final.epochs) == 2
    module, inputs = result.best.build(), normalise(jnp.asarray(arrays["x_test"]))
    predicted = np.asarray(jnas.Recipe.fast().views.mean_logits(module, inputs)).argmax(-1)
    assert (predicted == arrays["y_test"]).mean() == pytest.approx(final.test_acc_final)
    assert (result.best.predict(arrays["x_test"]) == predicted).all()
    # Only the winner has seen test images.
    assert result.to_df().test_acc_final.isna().all()
    tested = result.store.to_df()[lambda frame: frame.test_acc_final.notna()]
    assert set(tested.hash) == {result.best.template.hash} and sorted(tested.seed) == [0, 1]
    assert [row.key.seed for row in result.best.finals] == [0, 1]
    assert list(tested.sort_values("seed").test_acc_final) == [row.test_acc_final for row in result.best.finals]


def test_of_several_the_best_after_longer_training_wins_and_it_alone_is_tested(
    finished, fake_trainer, tmp_path, monkeypatch
):
    result, arrays = finished
    store = tmp_path / "results.duckdb"
    shutil.copy(result.store.path, store)
    settings = TINY | {"num_finalists": 3, "final_epochs": 4}
    trained = []
    advance = fake_trainer.train_until
    monkeypatch.setattr(
        fake_trainer, "train_until", lambda self, run, *_: trained.extend(run.templates) or advance(self, run, *_)
    )
    several = jnas.search(arrays, store=str(store), verbose=False, **settings)
    finalists = [candidate for candidate in several.candidates if candidate.finals]
    assert [c.template.hash for c in finalists] == [c.template.hash for c in result.top(3)]
    assert len(trained) == 6, "three templates with two seeds: to be tested, nothing is trained again"
    means = [np.mean([row.val_acc_final for row in candidate.finals]) for candidate in finalists]
    assert several.best is finalists[int(np.argmax(means))]
    tested = [candidate for candidate in finalists if candidate.final.test_acc_final is not None]
    assert tested == [several.best] and all(row.test_acc_final is not None for row in several.best.finals)
    predicted = several.best.predict(arrays["x_test"])
    assert (predicted == arrays["y_test"]).mean() == pytest.approx(several.best.final.test_acc_final)
    assert select(several.store).template == several.best.template
    again = jnas.search(arrays, store=str(store), verbose=False, **settings)
    assert len(trained) == 6 and again.best.finals == several.best.finals
    # Of the weights only the winner's are kept; an export of another takes its longest training.
    folders = sorted(path.name for path in several.store.path.with_suffix(".checkpoints").glob("*/*"))
    assert [name for name in folders if name.startswith("finalist")] == []
    loser = next(candidate for candidate in finalists if candidate is not several.best)
    assert len(select(several.store, loser.template.hash).evaluation.epochs) == 4


@pytest.mark.slow
def test_a_template_that_cannot_be_trained_with_each_seed_loses(finished, fake_trainer, tmp_path, monkeypatch):
    """However good it was with the others; and its first seed has weights, which can be kept."""
    result, arrays = finished
    store = tmp_path / "results.duckdb"
    shutil.copy(result.store.path, store)
    monkeypatch.setattr(final_training, "train_modules", lambda *args: map(sick, train_modules(*args)))
    victims = {candidate.template.hash: seed for candidate, seed in zip(result.top(2), (0, 1), strict=True)}
    keys = []

    def sick(trained):
        row, kept = trained
        keys.append(row.key)
        if victims.get(row.key.hash) == row.key.seed:
            return dataclasses.replace(row, status="error", message="by hand", val_acc_final=None), None
        return dataclasses.replace(row, val_acc_final=0.9 if row.key.hash in victims else 0.1), kept

    settings = TINY | {"num_finalists": 3, "final_epochs": 3}
    several = jnas.search(arrays, store=str(store), verbose=False, **settings)
    assert several.best.template.hash == result.top(3)[2].template.hash
    victims |= {several.best.template.hash: 1}
    settings |= {"final_epochs": 4}
    # Of those that failed with one seed each, the first of which there are weights.
    several = jnas.search(arrays, store=str(store), verbose=False, **settings)
    assert several.best.template.hash == result.top(2)[1].template.hash and several.best.build() is not None
    assert len(set(keys)) == len(keys) == 12, "what failed is not tried again at once"


def test_finalists_that_are_alike_have_folders_of_their_own(tmp_path):
    """Those of one search often are: the first layers are the beginning of the hash."""
    names = ["0" * 16 + end * 8 for end in "12"]
    first, second = (paths.finalist_dir(tmp_path, "recipe", name, 0) for name in names)
    assert first != second and len(paths.finalist_dir(tmp_path, "recipe", "0" * 8000, 0).name) < 255


def test_experiment_id_changes_with_what_is_trained_alone():
    data = jnas.load_data("excerpt")
    ends = {"max_trials": 3, "target_accuracy": 0.9, "generations": 7, "compile_timeout": 9.0}
    ends |= {
        "num_promoted": 9,
        "final_epochs": 9,
        "final_repeats": 9,
        "num_finalists": 9,
        "store": "b.duckdb",
        "data": "c",
        "classes": 5,
    }
    others = {"seed": 1, "space": "sophius", "epochs": 9, "num_random": 9, "max_macs": 99_999_999}
    others |= {"objectives": ["accuracy", "macs"], "minutes": 1.0}
    first = SearchConfig().experiment_id(data)
    assert {SearchConfig(**{name: value}).experiment_id(data) for name, value in ends.items()} == {first}
    assert len({first} | {SearchConfig(**{name: value}).experiment_id(data) for name, value in others.items()}) == 8


def test_the_store_notes_down_where_the_images_were(npz, fake_trainer, tmp_path):
    settings = TINY | {"num_random": 1, "generations": 0}
    result = jnas.search(npz, store=str(tmp_path / "r.duckdb"), verbose=False, **settings)
    assert json.loads(result.store.experiments_df().config_json[0])["data"] == str(npz)


def test_a_preset_is_where_settings_begin():
    config = SearchConfig.from_preset("gpu", epochs=5)
    assert (config.data, config.epochs, config.space) == ("cifar10", 5, "modern")
    assert config.search_space().style == "modern" and config.generations is None
    assert SearchConfig.from_preset(None, num_random=5) == SearchConfig(num_random=5)


def test_the_command_line_takes_a_preset_and_says_which_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["search", "--preset=gpu", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: cifar10)" in told and "(default: bfloat16)" in told
    for words in (["--preset", "best"], ["--num-random", "1", "--preset=best"]):
        assert main(["search", *words]) == 2
        assert "preset must be one of gpu, got 'best'; leave it out for none." in capsys.readouterr().err


@pytest.mark.slow
def test_another_candidate_is_trained_again_as_its_row_says(tmp_path):
    arrays, few = small_arrays(train=192), {"num_random": 2, "generations": 0, "final_epochs": 1, "final_repeats": 1}
    result = jnas.search(arrays, store=tmp_path / "a.duckdb", verbose=False, **TINY | few)
    second = result.top(2)[1]
    split = jnas.load_data(arrays).split(0.2)
    predicted = second.predict(split.x_val)
    assert float((predicted == np.asarray(split.y_val)).mean()) == pytest.approx(
        second.evaluation.val_acc_final, abs=0.03
    )


def test_the_same_again_trains_nothing(finished, monkeypatch):
    result, arrays = finished
    monkeypatch.setattr("jnas.train._trainer.Trainer.train_until", lambda *_: pytest.fail("trained what the store has"))
    again = jnas.search(arrays, store=str(result.store.path), verbose=False, **TINY)
    assert [c.evaluation for c in again.candidates] == [c.evaluation for c in result.candidates]
    assert again.best.final == result.best.final


def test_an_interrupted_search_ends_as_an_uninterrupted_one(finished, fake_trainer, tmp_path, monkeypatch):
    result, arrays = finished
    train, count = fake_trainer.train_until, iter(range(100))

    def interrupted(self, *args):
        if next(count) == 12:  # in the second step
            raise KeyboardInterrupt
        return train(self, *args)

    store = str(tmp_path / "results.duckdb")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake_trainer, "train_until", interrupted)
        jnas.search(arrays, store=store, verbose=False, **TINY)
    resumed = jnas.search(arrays, store=store, verbose=False, **TINY).to_df()
    same = ["phase", "hash", "seed", "val_acc_final", "train_acc_final", "predicted_mean"]
    assert resumed[same].equals(result.to_df()[same])


def test_more_generations_continue(finished, fake_trainer, tmp_path):
    result, arrays = finished
    store = tmp_path / "results.duckdb"
    shutil.copy(result.store.path, store)
    longer = jnas.search(arrays, store=str(store), verbose=False, **TINY | {"generations": 3})
    frame = longer.to_df()
    assert longer.experiment == result.experiment and len(frame) == 17
    assert frame.hash[:15].equals(result.to_df().hash) and frame.hash.is_unique


def test_several_objectives_and_a_limit_of_latency(finished, fake_trainer, tmp_path, monkeypatch, capsys):
    """Goes on from the trained templates of another search, by NSGA-II."""
    monkeypatch.setattr("jnas._search.objectives.latency_ms", lambda template, _: template.cost.macs / 1e6)
    result, arrays = finished
    store = tmp_path / "results.duckdb"
    shutil.copy(result.store.path, store)
    settings = TINY | {"objectives": ("accuracy", "macs", "latency"), "max_latency_ms": 1e4}
    found = jnas.search(arrays, store=str(store), **settings)
    assert "Pareto front" in capsys.readouterr().out
    assert found.experiment != result.experiment and len(found.to_df()) == 15
    assert found.front.latency_ms.gt(0).all() and found.front.hash.isin(found.to_df().hash).all()
    measured = found.store.sql("SELECT hash FROM latencies").hash
    assert set(found.to_df().hash) <= set(measured)


@pytest.mark.slow
def test_a_board_limits_what_is_trained(fake_trainer, tmp_path):
    settings = TINY | {"objectives": ("accuracy", "memory", "flash"), "max_memory_kb": 2, "max_flash_kb": 4}
    settings |= {"num_random": 4, "generations": 1}
    result = jnas.search(small_arrays(), out=tmp_path, verbose=False, **settings)
    needs = [board_needs(Template.from_hash(hash, (3, 8, 8), 3)) for hash in result.to_df().hash]
    assert all(one["memory_bytes"] <= 2048 and one["flash_bytes"] <= 4096 for one in needs)
    front = result.front
    assert [board_needs(Template.from_hash(hash, (3, 8, 8), 3)) for hash in front.hash] == front[
        ["flash_bytes", "memory_bytes"]
    ].to_dict("records")


def test_a_search_without_a_predictor_breeds(fake_trainer, tmp_path):
    settings = TINY | {"num_random": 4, "generations": 1}  # too few rows for a predictor
    frame = jnas.search(small_arrays(), out=tmp_path, verbose=False, **settings).to_df()
    assert frame.phase.tolist() == ["random"] * 4 + ["evolved"] * 2 and frame.hash.is_unique
    assert frame.predicted_mean.isna().all()


def pool(names, means, far=1):
    genomes = np.zeros((len(names), 4, 6), np.int8)
    genomes[:, 0, 0] = np.arange(len(names)) * far
    candidates = [Candidate(*values, Space()) for values in zip(names, names, genomes, strict=True)]
    std, costs = np.full(len(names), 0.02), np.zeros((len(names), 0), np.float32)
    return CandidatePool(candidates, np.array(means), std, costs, np.array([[0.5], [0.4]]))


def apart(first, second):
    return (first != second).any().astype(jnp.float32)


def test_a_batch_is_good_and_varied():
    means = [0.55, 0.549, 0.5489, 0.3]

    def names(pool, count):
        return [proposal.candidate.hash for proposal in select_batch(pool, count, 0, apart)]

    assert names(pool("abcd", means), 3) == ["a", "b", "c"]
    unknown = pool("abcd", means)
    unknown.std[3] = 0.2  # what may be anything is likely to be worse
    assert names(unknown, 3) == ["a", "b", "c"]
    alike = names(pool("abcd", means, far=0), 2)  # all the same: the next one is no better than another
    assert alike[0] == "a" and len(alike) == 2
    assert len(names(pool("ab", means[:2]), 5)) == 2


def test_command_line(tmp_path, monkeypatch, capsys):
    """In a process of its own, as a user runs it; then once more, when nothing is trained."""
    np.savez(tmp_path / "small.npz", **small_arrays(train=192))
    words = options(TINY | {"data": "small.npz", "num_random": 1, "generations": 0})
    done = subprocess.run([sys.executable, "-m", "jnas.search", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    monkeypatch.setattr(Trainer, "train_until", lambda *_: pytest.fail("trained what the store has"))
    monkeypatch.chdir(tmp_path)
    assert main(["search", *words]) == 0
    for told in (done.stdout, capsys.readouterr().out):
        assert "Random networks: 1 trained" in told
        assert "The winner" in told and "test accuracy" in told and "jnas.duckdb" in told


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["search", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in SearchConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "missing.npz"], "There is no file or folder missing.npz"),
        (["--data", "bad.npz"], "must be an .npz file with x_train"),
        (["--data", "empty.npz"], "must hold x_train, y_train"),
        (["--data", "small.npz", "--classes", "2"], "must be from 0 to 1, got 2"),
        (
            ["--data", "small.npz", "--batch-size", "1000"],
            "batch_size must be <= 77, the number of training images, got 1000",
        ),
        (["--data", "small.npz", "--store", "bad.npz"], "must be a DuckDB file that jnas wrote, got a text file"),
        (["--data", "small.npz", "--max-params", "3", "--batch-size", "24"], "raise the limits"),
        (["--classes", "5"], "must be from 0 to 4, got 6"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    np.savez("small.npz", **small_arrays())
    np.savez("empty.npz", images=np.zeros(3))
    (tmp_path / "bad.npz").write_text("this is neither an archive nor a database " * 100)
    assert main(["search", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("jnas: ") and error.count("\n") == 1
    assert (tmp_path / "bad.npz").read_text().startswith("this is neither")


def test_settings_from_python_may_be_paths_lists_and_numbers_of_numpy(tmp_path):
    config = SearchConfig(store=tmp_path / "a.duckdb", objectives=["accuracy", "macs"], seed=np.int64(3))
    assert config == SearchConfig(store=str(tmp_path / "a.duckdb"), objectives=("accuracy", "macs"), seed=3)
    assert hash(config) and json.dumps(dataclasses.asdict(config))


def test_a_store_in_use(tmp_path, monkeypatch, capsys, npz):
    path = tmp_path / "results.duckdb"
    jnas.Store(path)
    monkeypatch.setattr(
        "duckdb.connect",
        lambda *_: (_ for _ in ()).throw(duckdb.IOException("Could not set lock on file: Conflicting lock is held")),
    )
    monkeypatch.setattr("time.sleep", lambda _: None)
    ticks = iter(range(1000))
    monkeypatch.setattr("jnas.store._connection.time.monotonic", lambda: next(ticks))
    assert main(["search", "--data", str(npz), "--batch-size", "24", "--store", str(path)]) == 2
    assert "is open in another process" in capsys.readouterr().err


def test_an_unknown_setting_in_python():
    with pytest.raises(JnasError, match="A search has no setting 'epoch': perhaps you mean epochs"):
        jnas.search(epoch=3)


def test_the_first_lines_tell_what_was_understood_and_a_remark_that_nothing_learns(
    tmp_path, fake_trainer, monkeypatch, capsys
):
    monkeypatch.setattr(fake_trainer, "fake_epoch", lambda *_: Epoch(1.0, 0.3, 0.3))
    data = jnas.Dataset("toy", **small_arrays(), class_names=("left", "right", "up"))
    settings = TINY | {"num_random": 3, "generations": 0, "store": tmp_path / "a.duckdb"}
    jnas.search(data, minutes=5, shift=1, **settings)
    told = capsys.readouterr().out.splitlines()
    size, images, recipe, augmentation, device, results = told[:6]
    assert size.endswith("8 x 8 x 3 (height x width x channels), 3 classes (left, right, up).")
    assert "77 for training, 19 for validation (taken from the training images), 24 for the test of the" in images
    assert recipe == "Recipe fast, 1 epoch a network, of at most 100k multiply-accumulates (MACs)."
    assert augmentation.startswith("Training images are mirrored in every other epoch and moved by up to 1 pixel;")
    assert "at most 5 minutes" in device and f"{tmp_path / 'a.duckdb'}" in results
    (remark,) = [line for line in told if line.startswith("Remark: ")]
    assert remark.startswith("Remark: all 3 are at chance (best 0.3000, chance 0.")
    assert "Try flip=False (--no-flip) if one class looks like the mirror image of another;" in remark


def test_augmentation_is_an_option(monkeypatch):
    made = []
    monkeypatch.setattr("jnas._cli.search.search", lambda config, **_: made.append(config.make_recipe(1)))
    for words in (["--no-flip", "--shift", "0"], ["--no-test-flip"], ["--recipe", "sophius", "--flip"], []):
        assert main(["search", *words]) == 0
    assert [(r.flip, r.shift, r.test_flip) for r in made] == [
        *((False, 0, False), (True, 2, False), (True, 0, True), (True, 2, True))
    ]
