"""Exported files: they classify as the trained module does, without jnas and in a fresh process."""

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import jax
import numpy as np
import pandas as pd
import pytest
from conftest import small_arrays
from export_cases import GLOBAL, LAYERS, mean_over_views, randomised
from flax import nnx
from jax import export

import jnas
from jnas._cli import main
from jnas._search.stored_images import StoredImages
from jnas.data import IN_MEMORY_SOURCE, load_data
from jnas.errors import JnasError
from jnas.export import _verify, export_model
from jnas.export._codegen import generate_code, generate_stablehlo, import_from_path
from jnas.export._source import resolve_prefix, select
from jnas.export._verify import num_correct
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.store import Store, paths
from jnas.train import Recipe, TrainingRequest, Trial, Views, accuracy, make_key, predict, save_weights, train_modules
from jnas.train._inference import logits

HAS_ONNX = importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="pip install 'jnas[export]'")
NAMES = ("a stripe, of course", 'a "second" one', "it's another")
RECIPE = Recipe.standard(epochs=1, batch_size=24)
FINAL_RECIPE = dataclasses.replace(RECIPE, epochs=2)
EXPERIMENT = "f0e1d2c3b4a5"

WITHOUT_JNAS = """
import sys
sys.modules["jnas"] = None  # an import of it fails
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
results = {"code": nnx.jit(model.logits)(network, images), "stablehlo": program.call(images)}
np.savez(folder.parent / "results.npz", classes=model.predict(network, images), **results)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder as a finished search leaves it: images, a store with two templates, and the weights of the winner."""
    folder = tmp_path_factory.mktemp("export")
    np.savez(folder / "small.npz", **small_arrays(train=192, test=120), class_names=NAMES)
    data = load_data(folder / "small.npz")
    winner = Template([lt.Conv2d(8, 3, 2, True), lt.ReLU(), lt.Flatten(), lt.Linear(3)], data.in_shape)
    other = Template([lt.MaxPool2d(2, 2), lt.Flatten(), lt.Linear(3)], data.in_shape)
    store = Store(folder / "jnas.duckdb")
    columns = {"recipe_id": RECIPE.id, "dataset_fingerprint": data.fingerprint, "dataset_name": data.name}
    columns |= {"in_shape": "x".join(map(str, data.in_shape)), "num_classes": 3, "split_seed": 0, "seed": 0}
    store.add_experiment(EXPERIMENT, config_json={"data": str(folder / "small.npz")}, **columns)
    store.add_candidates(EXPERIMENT, "random", 0, [(winner.hash, None, None), (other.hash, None, None)])
    modules = {}
    for templates, recipe in (([winner, other], RECIPE), ([winner], FINAL_RECIPE)):
        trials = [Trial(template, 0) for template in templates]
        keys = [make_key(trial, recipe, data, 0) for trial in trials]
        request = TrainingRequest(trials, keys, recipe, data.split(recipe.val_fraction, 0))
        for row, module in train_modules(request):
            modules[row.key] = module
            store.add([row], recipe.to_json())
    module = modules[keys[0]]
    checkpoints = paths.checkpoint_dir(store.path, EXPERIMENT)
    save_weights(paths.winner_dir(checkpoints, FINAL_RECIPE.id, winner.hash), winner, module)
    store.set_test_accuracy(keys[0], accuracy(module, data.x_test, data.y_test, FINAL_RECIPE.views))
    store.update_experiment(EXPERIMENT, winner_hash=winner.hash, final_recipe_id=FINAL_RECIPE.id)
    return folder, winner, other


@pytest.fixture
def store(finished, tmp_path, monkeypatch):
    """The store in a copy of that folder, which a test may change; it is the current folder."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "jnas.duckdb")


@pytest.mark.parametrize(
    ("layers", "count", "views"),
    [
        (LAYERS, 7, Views()),
        (GLOBAL, 1, Views(flip=True)),
        (GLOBAL, 2, Views(flip=True, shift=2)),
        pytest.param(LAYERS, 3, Views(flip=True), marks=pytest.mark.exhaustive),
        pytest.param(LAYERS, 3, Views(shift=1), marks=pytest.mark.exhaustive),
    ],
    ids=["all", "global_flipped", "global_moved", "all_flipped", "all_moved"],
)
def test_generated_files_give_the_logits_of_jnas(layers, count, views, tmp_path):
    template = Template(layers, (3, 19, 26))
    module = randomised(template)
    save_weights(tmp_path / "weights", template, module)
    (tmp_path / "model.py").write_text(generate_code(template, views))
    images = np.random.default_rng(0).integers(0, 256, (count, 19, 26, 3), np.uint8)
    expected = np.asarray(logits(module, jax.numpy.asarray(images), Views()))
    assert expected.std() > 0.01
    if views.count > 1:
        expected = mean_over_views(module, images, views)
        np.testing.assert_allclose(logits(module, jax.numpy.asarray(images), views), expected, rtol=1e-4, atol=1e-5)
    model = import_from_path(tmp_path / "model.py")
    network = model.load()
    np.testing.assert_allclose(nnx.jit(model.logits)(network, images), expected, rtol=1e-4, atol=1e-5)
    assert (model.predict(network, images) == expected.argmax(-1)).all()
    assert model.predict(network, images[:0]).shape == model.predict(network, []).shape == (0,)
    for wrong in (images / 255, images[0], images[:, :9], images.transpose(0, 3, 1, 2), [images[0], 3], None):
        for function in (model.predict, model.logits):
            with pytest.raises(ValueError) as caught:
                function(network, wrong)
            with pytest.raises(JnasError, match=re.escape(str(caught.value))):
                predict(module, wrong, in_shape=template.in_shape)
    with pytest.raises(ValueError, match="images must be uint8, from 0 to 255, of shape"):
        nnx.jit(model.logits)(network, images / 255)
    program = export.deserialize(bytearray(generate_stablehlo(tmp_path / "model.py", template.in_shape)))
    assert program.platforms == ("cpu", "cuda")
    np.testing.assert_allclose(program.call(images), expected, rtol=1e-4, atol=1e-5)


def test_generated_files_tests_cover_every_layer_type():
    assert {type(layer) for layer in (*LAYERS, *GLOBAL)} == set(lt.LAYER_TYPES)


def test_generate_code_is_one_line_per_layer_and_formatted(tmp_path):
    path = tmp_path / "model.py"
    for layers, views in (
        (LAYERS, Views()),
        (GLOBAL, Views(True)),
        (LAYERS, Views(False, 1)),
        (GLOBAL, Views(True, 2)),
    ):
        path.write_text(generate_code(Template(layers, (3, 19, 26)), views))
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


def test_export_model_winner_needs_no_jnas(store, finished, tmp_path):
    """A fresh process that cannot import jnas classifies as the store says."""
    written = export_model(store, out=tmp_path / "model", check=False, format=["flax", "stablehlo"])
    assert repr(written) == f"Export({str(tmp_path / 'model')!r}, template {finished[1].hash[:16]}…)"
    with np.load("small.npz") as file:
        images, labels = file["x_test"], file["y_test"]
    np.save("images.npy", images)
    subprocess.run([sys.executable, "-c", WITHOUT_JNAS, str(written.folder)], check=True, capture_output=True)
    source = select(store)
    module = jnas.train.load_weights(source.weights, source.template)
    expected = np.asarray(logits(module, jax.numpy.asarray(images), FINAL_RECIPE.views))
    stored = source.evaluation.test_acc_final
    with np.load("results.npz") as results:
        for name in ("code", "stablehlo"):
            np.testing.assert_allclose(results[name], expected, rtol=1e-4, atol=1e-5)
            assert (results[name].argmax(-1) == labels).sum() == round(stored * 120)
        assert (results["classes"] == expected.argmax(-1)).all()
    assert written.metadata["accuracies"]["test_acc_final"] == stored and written.metadata["check"] is None
    assert written.metadata["recipe"]["epochs"] == 2 and written.metadata["hash"] == finished[1].hash


def stored_count(store):
    """How many of the 120 test images the winner classifies correctly."""
    return round(select(store).evaluation.test_acc_final * 120)


@pytest.mark.exhaustive
def test_export_model_checks_all_forms_in_fresh_processes(store):
    written = export_model(store, format="all")
    check, folder = written.metadata["check"], store.path.parent / "jnas.export"
    assert abs(check.pop("model_int8.onnx") - check["stored"]) < 12 and abs(check.pop("int8_loss")) < 0.1
    names = ("stored", "weights", "model.py", "model.onnx", "model_torch.py", "model.stablehlo")
    assert check == {"split": "test", "images": 120, "stored_in": "float32"} | dict.fromkeys(names, stored_count(store))
    engines = {(row["engine"], row["file"]) for row in written.metadata["latencies"]}
    assert engines == {("onnxruntime", "model.onnx"), ("onnxruntime", "model_int8.onnx"), ("jax", "weights")}
    (folder / "model.py").write_text("raise ValueError('no model')")
    with pytest.raises(JnasError, match=r"model.py cannot be loaded again \(ValueError: no model\): --no-check writes"):
        num_correct("flax", folder, [(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int32))])


@needs_onnx
def test_export_model_onnx_and_int8(store, finished):
    """Both are checked without JAX; the float one is only written where it is asked for."""
    written = export_model(store, format=["onnx", "int8"])
    check, counts = written.metadata["check"], {"training": 154, "validation": 38, "test": 120}
    assert check["stored"] == check["weights"] == check["model.onnx"] == stored_count(store)
    assert written.metadata["data"]["images"] == counts and written.metadata["class_names"] == NAMES
    low, high = written.metadata["intervals"]["test_acc_final"]
    assert low < stored_count(store) / 120 < high and 0.1 < high - low < 0.2
    names = {"README.md", "facts.json", "latency.py", "model.onnx", "model_int8.onnx"}
    assert {path.name for path in written.folder.iterdir()} == names
    assert f"model_int8.onnx: {check['model_int8.onnx']} (" in written.messages[0]
    card = (written.folder / "README.md").read_text()
    assert written.messages[0] in card and "model.py" not in card and "a stripe, of course" in card
    assert " ms in model_int8.onnx (" in written.messages[1] and written.messages[1].endswith(" ms in JAX.")
    rows = written.metadata["latencies"]
    assert {row["batch_size"] for row in rows} == {1, 32} and all(row["median_ms"] > 0 for row in rows)
    again = export_model(store, format="int8", views=False, input="float32", check=False)
    assert {path.name for path in again.folder.iterdir()} == names - {"model.onnx"}


def test_model_card_has_a_head_that_the_hub_reads(store):
    yaml = pytest.importorskip("yaml")
    text = (export_model(store, format="flax", check=False).folder / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pipeline_tag"] == "image-classification" and "flax" in head["tags"]
    test, validation = head["model-index"][0]["results"]
    assert test["dataset"]["split"] == "test" and validation["dataset"]["split"] == "validation"
    assert test["metrics"][0]["value"] == round(stored_count(store) / 120, 4)


def test_export_model_without_weights_retrains_and_checks(store, finished, monkeypatch):
    """The check is on validation images: only the winner is tested."""
    other = finished[2]
    (row,) = store.evaluations_of(EXPERIMENT, other.hash)
    correct = round(row.val_acc_final * 38)
    monkeypatch.setattr(_verify, "num_correct", lambda *_: [correct])
    written = export_model(store, other.hash, "second", format=("flax", "stablehlo"))
    numbers = dict.fromkeys(("stored", "weights", "model.py", "model.stablehlo"), correct)
    metadata = json.loads(Path("second/facts.json").read_text())
    assert metadata["check"] == {"split": "validation", "images": 38, "stored_in": "float32", **numbers}
    assert metadata["retrained"] and metadata["accuracies"]["test_acc_final"] is None
    retrained, checked, speed, _ = written.messages
    assert speed.startswith("One image takes, on ") and speed.endswith(" ms in JAX.")
    assert "was trained again" in retrained and "(as stored)" in retrained and f"model.py {correct}" in checked
    assert sorted(path.name for path in Path("second").iterdir()) == [
        *("README.md", "facts.json", "model.py", "model.stablehlo", "weights")
    ]
    assert other.hash in Path("second/README.md").read_text() and checked in Path("second/README.md").read_text()
    assert list(store.path.parent.glob(".*")) == []


def test_export_model_failing_check_writes_nothing(store, monkeypatch):
    monkeypatch.setattr(_verify, "num_correct", lambda *_: [1])
    before = sorted(path.name for path in store.path.parent.iterdir())
    with pytest.raises(JnasError, match=r"\(model.py 1, model.stablehlo 1\); export the template where"):
        export_model(store, format=["stablehlo", "flax"])
    assert sorted(path.name for path in store.path.parent.iterdir()) == before


def test_export_model_winner_without_weights_is_retrained(store, monkeypatch):
    expected = select(store).evaluation.test_acc_final
    shutil.rmtree(store.path.with_suffix(".checkpoints"))
    monkeypatch.setattr(_verify, "num_correct", lambda *_: [round(expected * 120)])
    written = export_model(store, format="flax")
    assert written.metadata["accuracies"]["test_acc_final"] == expected
    assert written.folder == store.path.with_suffix(".export") and written.metadata["retrained"]
    assert written.metadata["recipe"]["epochs"] == 2 and written.metadata["check"]["split"] == "test"


def test_export_model_without_optional_packages_writes_the_other_forms(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    written = export_model(store, check=False)
    assert written.metadata["forms"] == ("flax", "stablehlo")
    assert written.messages[0] == (
        "Left out: onnx (not installed: onnx); torch (not installed: safetensors); int8 (not installed: onnx). To have "
        "all forms: pip install 'jnas[export]'."
    )
    for format, sentence in (
        ("int8", "The form int8 needs onnx, which is not installed: run pip install 'jnas[export]'."),
        ("torch", "The form torch needs safetensors, which is not installed: run pip install 'jnas[export]'."),
        ("all", "The form onnx needs onnx, which is not installed: run pip install 'jnas[export]'."),
    ):
        with pytest.raises(JnasError) as caught:
            export_model(store, format=format, check=False)
        assert str(caught.value) == sentence


def test_select_weights_of_another_template_are_not_used(store):
    """The name of the folder has only the beginning of the hash."""
    (folder,) = Path("jnas.checkpoints").glob("*/winner-*")
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"hash": metadata["hash"][:16]}))
    assert select(store).weights is None


def test_resolve_prefix_whole_name_is_preferred():
    assert resolve_prefix("ab", ["abc", "ab"], "template", "search", "--hash") == "ab"
    assert resolve_prefix("abc", ["abcd", "ab"], "template", "search", "--hash") == "abcd"


def test_load_images_given_as_arrays_must_be_given_again():
    arrays = small_arrays()
    data = dataclasses.replace(load_data(arrays), name="mnist")
    columns = {"config_json": json.dumps({"data": IN_MEMORY_SOURCE}), "experiment_id": EXPERIMENT, "num_classes": 3}
    columns |= {"dataset_name": data.name, "dataset_fingerprint": data.fingerprint}
    images = StoredImages(pd.Series(columns))
    with pytest.raises(JnasError, match="was given mnist as arrays: give them again"):
        images.load()
    assert images.load(arrays).fingerprint == data.fingerprint


def test_export_model_replaces_unchanged_exports_only(store):
    first = export_model(store, check=False, format="flax").folder
    assert export_model(store, check=False, format="flax").folder == first
    (first / "mine.txt").write_text("mine")
    with pytest.raises(JnasError, match=r"has more or other files than jnas exported: name another folder with --out"):
        export_model(store, check=False, format="flax")
    assert (first / "mine.txt").read_text() == "mine"
    (first / "mine.txt").unlink()
    with (first / "model.py").open("a") as file:
        file.write("# edited")
    with pytest.raises(JnasError, match="has more or other files than jnas exported"):
        export_model(store, check=False, format="flax")
    assert (first / "model.py").read_text().endswith("# edited")


def test_export_model_without_images_is_not_checked(store, finished, monkeypatch):
    def load_nothing(*_, **__):
        raise JnasError("There is no file.")

    monkeypatch.setattr("jnas._search.stored_images.load_data", load_nothing)
    written = export_model(store, format=["flax"])
    assert "Not checked, as the images are not available (There is no file): name them with --data." in written.messages
    assert "The files were not checked." in Path("jnas.export/README.md").read_text()
    with pytest.raises(JnasError, match="has no weights on disk, and the images to train it again are not available"):
        export_model(store, finished[2].hash, "other")
    with pytest.raises(JnasError, match=r"^There is no file\.$"):
        export_model(store, data="elsewhere.npz")
    if HAS_ONNX:
        written = export_model(store, format=["flax", "int8"])
        assert written.messages[0].endswith("name them with --data. Left out: int8, which is calibrated on them.")
        with pytest.raises(JnasError, match="The form int8 needs training images, which are not available"):
            export_model(store, format="int8")


def spoil(kind):
    """Makes one thing wrong in the current folder."""
    (folder,) = Path("jnas.checkpoints").glob("*/winner-*")
    match kind:
        case "weights":
            largest = max((folder / "arrays").rglob("d/*"), key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[:-20] + bytes(20))
        case "metadata":
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
            Store("none.duckdb").create()
        case "text":
            Path("text.duckdb").write_text("no database " * 500)


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        ("", {"store": "no.duckdb"}, "There is no store no.duckdb: name the .duckdb file that a search wrote"),
        ("empty", {"store": "empty.duckdb"}, "There is no store empty.duckdb"),
        ("text", {"store": "text.duckdb"}, "text.duckdb must be a DuckDB file that jnas wrote, got a text file"),
        ("none", {"store": "none.duckdb"}, "none.duckdb has no search: run jnas search --store none.duckdb first"),
        ("", {"hash": "f00"}, "There is no template 'f00' in search"),
        ("", {"hash": ""}, "--hash must match one template in search"),
        ("", {"experiment": "zz"}, "There is no search 'zz' in jnas.duckdb: give --experiment one of"),
        ("weights", {}, "cannot be read: remove that folder and run the search again"),
        ("metadata", {}, "cannot be read: remove that folder and run the search again"),
        ("foreign", {}, "has more or other files than jnas exported: name another folder with --out"),
        ("", {"out": "no/where"}, "is in a folder that does not exist: create that folder first"),
        ("", {"data": "missing.npz"}, "There is no file or folder missing.npz"),
        ("other", {"data": "other.npz"}, "--data must be the images of search"),
        ("unfinished", {}, "has not trained its winner for longer yet, or that failed: run the search to its end"),
    ],
)
def test_export_model_bad_input_is_one_sentence_and_changes_nothing(store, kind, arguments, sentence):
    spoil(kind)
    folder = store.path.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".duckdb"}
    names = sorted(folder.rglob("*"))
    with pytest.raises(JnasError) as caught:
        export_model(**{"store": "jnas.duckdb"} | arguments)
    assert sentence in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert sorted(folder.rglob("*")) == names
    assert {path: path.read_bytes() for path in before} == before


def test_export_command_prints_messages_or_one_sentence(store, finished, capsys):
    assert main(["export", "jnas.duckdb", "--out", "model", "--no-check", "--format", "flax", "stablehlo"]) == 0
    assert f"Template {finished[1].hash} is in {store.path.parent / 'model'}." in capsys.readouterr().out
    assert main(["export", "no.duckdb"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jnas: There is no store no.duckdb") and error.count("\n") == 1
