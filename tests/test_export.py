"""A trained template as files that need no jnas: each answers as the trained module does, in a fresh process too."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays
from flax import nnx
from jax import export

import jnas
from jnas._cli import main
from jnas.data import normalise
from jnas.errors import JnasError
from jnas.export._codegen import code, imported
from jnas.export._restore import images_of
from jnas.export._select import _named, find
from jnas.export._stablehlo import stablehlo
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train import _step as program
from jnas.train import _weights as weights

SEARCH = {
    "num_random": 2,
    "num_screened": 0,
    "generations": 0,
    "epochs": 1,
    "final_epochs": 2,
    "conv_num": 1,
    "lin_num": 1,
}
SEARCH |= {"batch_size": 24, "max_macs": 200_000, "verbose": False}

LAYERS = [
    *(lt.Conv2d(8, 4, 1, True), lt.BatchNorm2d(), lt.PReLU(True), lt.MaxPool2d(3, 2, True), lt.Dropout2d(0.3)),
    *(lt.Conv2d(16, 3, 2, False), lt.LeakyReLU(0.1), lt.AvgPool2d(4, 1, True, False), lt.PReLU(False)),
    *(lt.AvgPool2d(3, 2, True, True), lt.ReLU(), lt.MaxPool2d(2, 1, False), lt.Conv2d(8, 1, 1, False)),
    *(lt.Flatten(), lt.Dropout(0.5), lt.Linear(32), lt.PReLU(True), lt.LeakyReLU(0.001), lt.Linear(5)),
]
GLOBAL = [lt.LeakyReLU(0.01), lt.AvgPool2d(2, 1, False), lt.GlobalAvgPool2d(), lt.Flatten(), lt.Linear(5)]

ALONE = """
import json, sys
sys.modules["jnas"] = None  # to import it fails
from pathlib import Path
import numpy as np
from flax import nnx
from jax import export

folder = Path(sys.argv[1])
images = np.load(folder.parent / "images.npy")
sys.path.insert(0, str(folder))
import model
network = model.load()
program = export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
found = [nnx.jit(model.logits)(network, images), program.call(images)]
classes = model.predict(network, images)

del sys.modules["jnas"]
from jnas.data import normalise
from jnas.space import Template
from jnas.train import weights
about = json.loads((folder / "metadata.json").read_text())
template = Template.from_hash(about["hash"], about["in_shape"], about["classes"])
both = nnx.jit(lambda module, inputs: (module(inputs) + module(inputs[:, :, ::-1])) / 2)
found.append(both(weights.load(folder / "weights", template), normalise(images)))
np.savez(folder.parent / "found.npz", *found, classes=classes)
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with a store, its weights, and the images of the search."""
    folder = tmp_path_factory.mktemp("export")
    arrays = small_arrays(train=192, test=120)
    np.savez(folder / "small.npz", **arrays)
    return jnas.search(str(folder / "small.npz"), store=str(folder / "jnas.duckdb"), **SEARCH), arrays


@pytest.fixture
def store(searched, tmp_path, monkeypatch):
    """A copy of it that a test may spoil, in the present folder."""
    shutil.copytree(searched[0].store.path.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "jnas.duckdb"


def restless(template):
    """A module whose every weight and statistic is at random, so that one that is lost or swapped shows."""
    module = template.build(nnx.Rngs(0))
    state = nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
    random = np.random.default_rng(1)
    nnx.update(module, jax.tree.map(lambda leaf: leaf + random.uniform(0, 0.2, leaf.shape).astype(np.float32), state))
    module.eval()
    return module


@nnx.jit
def logits_of(module, inputs):
    return module(inputs)


@pytest.mark.parametrize(
    ("layers", "count", "mirrored"),
    [(LAYERS, 7, False), (GLOBAL, 1, False), (LAYERS, 3, True)],
    ids=["all", "global", "mirrored"],
)
def test_code_and_program_give_the_logits_of_jnas(layers, count, mirrored, tmp_path):
    template = Template(layers, (3, 19, 26))
    module = restless(template)
    weights.save(tmp_path / "weights", template, module)
    (tmp_path / "model.py").write_text(code(template, mirrored))
    images = np.random.default_rng(0).integers(0, 256, (count, 19, 26, 3), np.uint8)
    logits = np.asarray(logits_of(module, normalise(images)))
    assert logits.std() > 0.01
    if mirrored:
        logits = (logits + np.asarray(logits_of(module, normalise(images)[:, :, ::-1]))) / 2
    plain = imported(tmp_path / "model.py")
    network = plain.load()
    np.testing.assert_allclose(plain.logits(network, images), logits, rtol=1e-4, atol=1e-5)
    assert (plain.predict(network, images) == logits.argmax(-1)).all()
    # As `check` computes it with jnas' own module.
    own = program.logits_of(module, normalise(images), mirrored)
    np.testing.assert_allclose(own, logits, rtol=1e-4, atol=1e-5)
    exported = export.deserialize(bytearray(stablehlo(tmp_path / "model.py", template.in_shape)))
    assert exported.platforms == ("cpu", "cuda")
    np.testing.assert_allclose(exported.call(images), logits, rtol=1e-4, atol=1e-5)


def test_every_layer_type_is_covered():
    assert {type(layer) for layer in (*LAYERS, *GLOBAL)} == set(lt.LAYER_TYPES)


def test_the_code_is_one_layer_a_line_and_formatted(tmp_path):
    path = tmp_path / "model.py"
    for layers, mirrored in ((LAYERS, False), (GLOBAL, True)):
        path.write_text(code(Template(layers, (3, 19, 26)), mirrored))
        lines = path.read_text().splitlines()
        first = lines.index("    return nnx.Sequential(") + 1
        assert lines[first + len(layers)] == "    )"
        assert "jnas" not in "".join(line for line in lines if "import" in line)
        for command in (
            ["format", "--check", "--line-length", "120"],
            ["check", "--select", "E,F,I", "--line-length", "120"],
        ):
            done = subprocess.run([sys.executable, "-m", "ruff", *command, str(path)], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout


def test_the_winner_answers_as_the_store_says_without_jnas(searched, tmp_path):
    """The three files in a fresh process; the first two where jnas cannot be imported."""
    result, arrays = searched
    written = jnas.export_model(result.store, out=tmp_path / "model", check=False)
    np.save(tmp_path / "images.npy", arrays["x_test"])
    subprocess.run([sys.executable, "-c", ALONE, str(written.folder)], check=True, capture_output=True, text=True)
    logits = np.asarray(program.logits_of(result.best.build(), normalise(jnp.asarray(arrays["x_test"])), True))
    stored = result.best.final.test_acc_final
    with np.load(tmp_path / "found.npz") as found:
        for name in ("arr_0", "arr_1", "arr_2"):
            np.testing.assert_allclose(found[name], logits, rtol=1e-4, atol=1e-5)
            assert (found[name].argmax(-1) == arrays["y_test"]).sum() == round(stored * 120)
        assert (found["classes"] == logits.argmax(-1)).all()
    assert written.facts["accuracies"]["test_acc_final"] == stored and written.facts["checked"] is None
    assert written.facts["recipe"]["epochs"] == 2 and written.facts["hash"] == result.best.template.hash


def test_command_line_writes_and_checks(store, searched, capsys):
    """A template without weights is trained again, and checked on validation images: test images are the winner's."""
    other = searched[0].candidates[1]
    assert main(["export", str(store), "--hash", other.template.hash, "--out", "second"]) == 0
    told = capsys.readouterr().out
    about = json.loads(Path("second/metadata.json").read_text())
    right = round(other.evaluation.val_acc_final * 38)
    numbers = dict.fromkeys(("stored", "weights", "model.py", "model.stablehlo"), right)
    assert about["checked"] == {"split": "validation", "images": 38, "stored_in": "float32", **numbers}
    assert "trained again" in told and "as its row says" in told and f"model.py {right}" in told
    assert about["trained_again"] and about["accuracies"]["test_acc_final"] is None
    assert sorted(path.name for path in Path("second").iterdir()) == [
        *("README.md", "metadata.json", "model.py", "model.stablehlo", "weights")
    ]
    assert other.template.hash in Path("second/README.md").read_text()
    assert [path.name for path in store.parent.glob(".*")] == []


def test_what_answers_otherwise_is_not_written(store, monkeypatch, capsys):
    numbers = {"weights": 1, "model.py": 1, "model.stablehlo": 1}
    monkeypatch.setattr("jnas.export._verify.right_answers", lambda *_: numbers)
    before = sorted(path.name for path in store.parent.iterdir())
    assert main(["export", str(store)]) == 2
    assert "(weights 1, model.py 1, model.stablehlo 1): export it where" in capsys.readouterr().err
    assert sorted(path.name for path in store.parent.iterdir()) == before


def test_a_winner_without_weights_is_trained_again(store, searched, monkeypatch):
    result, _ = searched
    shutil.rmtree(store.with_suffix(".checkpoints"))
    final = result.best.final
    right = dict.fromkeys(("weights", "model.py", "model.stablehlo"), round(final.test_acc_final * 120))
    monkeypatch.setattr("jnas.export._verify.right_answers", lambda *_: right)
    written = jnas.export_model(store)
    assert written.facts["accuracies"]["test_acc_final"] == final.test_acc_final
    assert written.folder == store.with_suffix(".export") and written.facts["trained_again"]
    assert written.facts["recipe"]["epochs"] == 2 and written.facts["checked"]["split"] == "test"


def test_weights_of_another_template_are_not_taken(store):
    """The folder's name tells the beginning of the hash only."""
    (folder,) = Path("jnas.checkpoints").glob("*/winner-*")
    about = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(about | {"hash": about["hash"][:16]}))
    assert find(jnas.Store(store)).weights is None


def test_a_search_does_not_take_the_weights_of_another_winner(store, searched):
    """Their folder has the same name where the first layers are the same: then the winner is trained again."""
    (folder,) = Path("jnas.checkpoints").glob("*/winner-*")
    facts = folder / "metadata.json"
    about = json.loads(facts.read_text())
    facts.write_text(json.dumps(about | {"hash": about["hash"][:16]}))
    again = jnas.search("small.npz", store=str(store), **SEARCH)
    assert json.loads(facts.read_text()) == about
    images = normalise(jnp.asarray(searched[1]["x_test"]))
    expected = logits_of(searched[0].best.build(), images)
    np.testing.assert_allclose(logits_of(again.best.build(), images), expected, rtol=1e-4, atol=1e-5)


def test_images_that_a_search_was_given_are_asked_for(tmp_path):
    """As nobody knows where they were; a data set's name is no place."""
    arrays = small_arrays()
    data = dataclasses.replace(jnas.load_data(arrays), name="mnist")
    result = jnas.search(data, store=tmp_path / "results.duckdb", **SEARCH)
    with pytest.raises(JnasError, match="was given mnist from Python: say where they are"):
        images_of(find(result.store))
    assert images_of(find(result.store), arrays).fingerprint == data.fingerprint


def test_an_export_is_replaced_and_nothing_else(store):
    first = jnas.export_model(store, check=False).folder
    assert jnas.export_model(store, check=False).folder == first
    (first / "mine.txt").write_text("mine")
    with pytest.raises(JnasError, match=r"exists and is not, or not only, what jnas exported: name another"):
        jnas.export_model(store, check=False)
    assert (first / "mine.txt").read_text() == "mine"
    (first / "mine.txt").unlink()
    with (first / "model.py").open("a") as file:
        file.write("# edited")
    with pytest.raises(JnasError, match="exists and is not, or not only"):
        jnas.export_model(store, check=False)
    assert (first / "model.py").read_text().endswith("# edited")


def test_without_the_images_the_check_is_skipped(store, capsys):
    (store.parent / "small.npz").unlink()
    shutil.move(store, "elsewhere.duckdb")
    shutil.move("jnas.checkpoints", "elsewhere.checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "jnas.export._restore.load_data", lambda *_: (_ for _ in ()).throw(JnasError("There is no file."))
        )
        assert main(["export", "elsewhere.duckdb"]) == 0
        told = capsys.readouterr().out
        assert "Not checked, as the images are not at hand: name them with --data. (There is no file.)" in told
        assert "The files were not checked." in Path("elsewhere.export/README.md").read_text()
        hashes = jnas.Store("elsewhere.duckdb").to_df().hash.unique()
        winner = json.loads(Path("elsewhere.export/metadata.json").read_text())["hash"]
        other = next(hash for hash in hashes if hash != winner)
        assert main(["export", "elsewhere.duckdb", "--hash", other, "--out", "other"]) == 2
    assert "has no weights on disk, and the images to train it again are not at hand" in capsys.readouterr().err


def spoil(kind):
    """Makes one thing wrong in the present folder."""
    (folder,) = Path("jnas.checkpoints").glob("*/winner-*")
    match kind:
        case "weights":
            largest = max((folder / "arrays").rglob("d/*"), key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[:-20] + bytes(20))
        case "facts":
            (folder / "metadata.json").write_text("{")
        case "foreign":
            Path("jnas.export").mkdir()
            Path("jnas.export/letter.txt").write_text("Dear")
        case "other":
            np.savez("other.npz", **small_arrays(seed=7))
        case "empty":
            Path("empty.duckdb").touch()
        case "unfinished":
            shutil.rmtree("jnas.checkpoints")
            with duckdb.connect("jnas.duckdb") as connection:
                connection.execute("UPDATE evaluations SET test_acc_final = NULL")
        case "none":
            jnas.Store("none.duckdb")
        case "text":
            Path("text.duckdb").write_text("no database " * 500)


@pytest.mark.parametrize(
    ("kind", "words", "sentence"),
    [
        ("", ["missing.duckdb"], "There is no store missing.duckdb: name the .duckdb file that a search wrote"),
        ("empty", ["empty.duckdb"], "There is no store empty.duckdb"),
        ("text", ["text.duckdb"], "text.duckdb cannot be opened as a DuckDB file"),
        ("none", ["none.duckdb"], "none.duckdb holds no search yet: run python -m jnas.search --store none.duckdb"),
        ("", ["--hash", "f00"], "There is no template 'f00' in search"),
        ("", ["--hash", ""], "--hash '' begins the names of 2 in search"),
        ("", ["--experiment", "zz"], "There is no search 'zz' in jnas.duckdb: give --experiment one that is there ("),
        ("weights", [], "cannot be read: remove that folder and run the search again"),
        ("facts", [], "cannot be read: remove that folder and run the search again"),
        ("foreign", [], "exists and is not, or not only, what jnas exported: name another folder with --out"),
        ("", ["--out", "no/where"], "would be in one that does not exist: make that first"),
        ("", ["--data", "missing.npz"], "There is no file or folder missing.npz"),
        ("other", ["--data", "other.npz"], "holds other images than search"),
        ("unfinished", [], "has not trained its winner for longer yet, or that failed: run the search to its end"),
    ],
)
def test_bad_input_is_one_sentence_and_loses_nothing(store, capfd, kind, words, sentence):
    spoil(kind)
    before = {
        path: path.read_bytes() for path in store.parent.rglob("*") if path.is_file() and path.suffix != ".duckdb"
    }
    names = sorted(store.parent.rglob("*"))
    assert main(["export", *words]) == 2
    error = capfd.readouterr().err
    assert sentence in error and error.startswith("jnas: ") and error.count("\n") == 1
    assert sorted(store.parent.rglob("*")) == names
    assert {path: path.read_bytes() for path in before} == before


def test_a_whole_name_is_meant_where_others_begin_with_it():
    assert _named("ab", ["abc", "ab"], "template", "search", "--hash") == "ab"
    assert _named("abc", ["abcd", "ab"], "template", "search", "--hash") == "abcd"
