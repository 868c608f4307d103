"""ONNX, PyTorch and eight bits: logits equal those of jnas, for all layers and random templates."""

import json
import runpy
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from check_all import Case, check_all
from export_cases import GLOBAL, LAYERS, mean_over_views, randomised
from flax import nnx

from jnas._runtime import latency
from jnas.data import Dataset, normalise
from jnas.errors import JnasError
from jnas.export._forms import Options
from jnas.export._source import TrainedTemplate
from jnas.export._torch import generate_torch_code, torch_weights
from jnas.export._trained import TrainedModel
from jnas.space import Space, Template, board_needs
from jnas.space import _layers as lt
from jnas.train import ONE_VIEW, Recipe, Views

onnx = pytest.importorskip("onnx", reason="pip install 'jnas[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'jnas[export]'")

from jnas.export._int8 import quantise  # noqa: E402
from jnas.export._onnx import onnx_model, to_input  # noqa: E402

FLAT = [lt.Conv2d(8, 3, 2, True), lt.Flatten(), lt.PReLU(True), lt.Dropout(0.5), lt.PReLU(False), lt.Linear(5)]
NAMES = ("a cat", 'a "dog"', "it's")


def images_of(template, count=3, seed=0):
    channels, height, width = template.in_shape
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)


def run_onnx(model, images, kind="uint8"):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"images": to_input(images, kind)})[0]


def run_torch(template, module, images, folder, views=ONE_VIEW):
    torch = pytest.importorskip("torch")
    from safetensors.numpy import save_file

    torch.set_num_threads(1)
    (folder / "model_torch.py").write_text(generate_torch_code(template, views, NAMES))
    save_file(torch_weights(template, module), folder / "model.safetensors")
    model = runpy.run_path(str(folder / "model_torch.py"))
    network = model["load"]()
    assert model["CLASS_NAMES"] == NAMES and model["predict"](network, images).shape == (len(images),)
    with pytest.raises(ValueError, match="images must be uint8, from 0 to 255, of shape"):
        model["logits"](network, images / 255)
    return model["logits"](network, images).numpy()


@pytest.mark.parametrize("views", [Views(), Views(flip=True), Views(shift=1), Views(True, 2)], ids=str)
def test_onnx_and_torch_average_over_views(views, tmp_path):
    template = Template(GLOBAL, (3, 7, 5))
    module, images = randomised(template), images_of(template)
    expected = mean_over_views(module, images, views)
    for kind in ("uint8", "float32"):
        given = run_onnx(onnx_model(template, module, views=views, input_kind=kind), images, kind)
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run_torch(template, module, images, tmp_path, views), expected, rtol=1e-4, atol=1e-5)


def template_case(template, folder):
    """The logits of jnas, beside those of ONNX and PyTorch."""
    module = template.build(nnx.Rngs(1))
    state = nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
    random = np.random.default_rng(1)  # statistics and slopes that are all alike would hide an exchange

    def moved(leaf):
        return leaf + random.uniform(0, 0.5, leaf.shape).astype(np.float32) if leaf.ndim == 1 else leaf

    nnx.update(module, jax.tree.map(moved, state))
    module.eval()
    images = images_of(template)
    graph, state = nnx.split(module)
    folder.mkdir()
    expected = [run_onnx(onnx_model(template, module), images), run_torch(template, module, images, folder)]
    return Case(lambda state, x: [nnx.merge(graph, state)(normalise(x))] * 2, (state, images), expected)


def random_template(seed):
    """Of 1 to 20 channels and sides of 5 to 20 pixels, in either style."""
    random = np.random.default_rng(seed)
    in_shape = (int(random.integers(1, 21)), int(random.integers(5, 21)), int(random.integers(5, 21)))
    style = ("modern", "sophius")[seed % 2]
    return Space(in_shape, 5, conv_num=3, lin_num=2, style=style, max_params=100_000).random(seed)


@pytest.mark.parametrize(
    "first", [pytest.param(seed, marks=[pytest.mark.exhaustive] if seed >= 4 else []) for seed in range(0, 200, 4)]
)
def test_random_templates_are_the_same_network_in_every_form(first, tmp_path):
    templates = {f"seed {seed}": random_template(seed) for seed in range(first, first + 4)}
    check_all({name: template_case(one, tmp_path / name) for name, one in templates.items()}, tolerance=1e-4)


def test_every_layer_is_the_same_in_every_form(tmp_path):
    templates = {"all": Template(LAYERS, (3, 19, 26)), "flat": Template(FLAT, (4, 5, 7))}
    assert {type(layer) for layer in (*LAYERS, *GLOBAL)} == set(lt.LAYER_TYPES)
    check_all({name: template_case(one, tmp_path / name) for name, one in templates.items()}, tolerance=1e-4)


def test_torch_code_is_one_line_per_layer_and_formatted(tmp_path):
    path = tmp_path / "model_torch.py"
    for layers, views, in_shape in ((LAYERS, Views(True, 2), (3, 19, 26)), (GLOBAL, Views(shift=1), (1, 9, 9))):
        template = Template(layers, in_shape)
        path.write_text(generate_torch_code(template, views))
        lines = path.read_text().splitlines()
        first = lines.index("    return nn.Sequential(") + 1
        assert lines[first + len(layers)] == "    )"
        assert not [line for line in lines if "import" in line and ("jnas" in line or "jax" in line)]
        for command in (["format", "--check"], ["check", "--select", "E,F,I"]):
            words = [sys.executable, "-m", "ruff", *command, "--line-length", "120", str(path)]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


def test_torch_code_takes_grey_images_without_channels(tmp_path):
    template = Template(GLOBAL, (1, 7, 5))
    module, images = randomised(template), images_of(template)
    expected = run_torch(template, module, images, tmp_path)
    np.testing.assert_array_equal(run_torch(template, module, images[..., 0], tmp_path), expected)


def test_class_names_are_those_of_the_images_or_of_the_store():
    template = Template(GLOBAL, (3, 7, 5))
    images = Dataset("toy", images_of(template, 10), np.arange(10) % 5, [], [], class_names=tuple("abcde"))
    for column, data, expected in (
        ('["v", "w", "x", "y", "z"]', None, tuple("vwxyz")),
        ('["v", "w", "x", "y", "z"]', images, tuple("abcde")),
        (None, None, None),
        ("null", None, None),
    ):
        source = TrainedTemplate(pd.Series({"class_names": column}), template, None, Recipe(), None)
        assert TrainedModel(source, None, None, data, Options(("flax",))).class_names == expected


def test_onnx_model_says_what_it_is():
    template = Template(GLOBAL, (3, 7, 5))
    model = onnx_model(template, randomised(template), metadata={"hash": template.hash, "class_names": NAMES})
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert texts["hash"] == template.hash and tuple(json.loads(texts["class_names"])) == NAMES
    (images,), (logits,) = model.graph.input, model.graph.output
    sizes = [[d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in (images, logits)]
    assert sizes == [["n", 7, 5, 3], ["n", 5]]
    onnx.checker.check_model(model, full_check=True)
    assert run_onnx(model, images_of(template, 0)).shape == (0, 5)


def test_onnx_model_of_too_many_parameters_is_refused():
    template = Template([lt.Flatten(), lt.Linear(4096), lt.Linear(5)], (3, 224, 224))
    with pytest.raises(JnasError, match="must have at most 536,870,911 parameters for ONNX, got 616,587,269"):
        onnx_model(template, None)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_int8_is_close_and_small(kind, tmp_path):
    layers = [lt.Conv2d(32, 3), lt.BatchNorm2d(), lt.ReLU(), lt.Conv2d(64, 3, 2), lt.PReLU(True), lt.MaxPool2d(2, 2)]
    template = Template([*layers, lt.Flatten(), lt.Linear(5)], (3, 12, 9))
    module = template.build(nnx.Rngs(0))
    module.eval()
    model = onnx_model(template, module, input_kind=kind, metadata={"form": "onnx", "hash": template.hash})
    quantise(model, tmp_path / "int8.onnx", images_of(template, 64, seed=1), kind)
    quantised, images = onnx.load(tmp_path / "int8.onnx"), images_of(template, 64)
    expected, given = run_onnx(model, images, kind), run_onnx(quantised, images, kind)
    assert np.abs(given - expected).max() < 0.1 * np.abs(expected - expected.mean(0)).max() + 0.02
    assert {entry.key: entry.value for entry in quantised.metadata_props} == {"form": "int8", "hash": template.hash}
    assert quantised.ByteSize() < 0.4 * model.ByteSize()
    weights = [tensor for tensor in quantised.graph.initializer if len(tensor.dims) == 4]
    assert [tensor.data_type for tensor in weights] == [onnx.TensorProto.INT8] * 2


def test_board_needs_of_a_small_template():
    """Two convolutions, by hand: the second one's input and output are the peak."""
    layers = [lt.Conv2d(8, 3), lt.ReLU(), lt.Conv2d(16, 3, 2), lt.Flatten(), lt.Linear(5)]
    needs = board_needs(Template(layers, (1, 4, 4)))
    weights = 9 * 8 + 9 * 8 * 16 + 16 * 4 * 5
    assert needs == {"flash_bytes": weights + 4 * (8 + 16 + 5), "memory_bytes": 8 * 16 + 16 * 4}


def test_latency_script_runs_alone_and_prints_json(tmp_path):
    template = Template(GLOBAL, (3, 7, 5))
    metadata = {"form": "onnx", "hash": template.hash, "in_shape": template.in_shape, "classes": 5}
    model = onnx_model(template, randomised(template), metadata=metadata)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    alone = "import sys, runpy; sys.modules.update(jnas=None, jax=None, onnx=None); del sys.argv[0]; "
    words = [sys.executable, "-c", alone + "runpy.run_path(sys.argv[0], run_name='__main__')", latency.__file__]
    done = subprocess.run([*words, str(tmp_path / "model.onnx")], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    rows, threads = printed["rows"], sorted({1, latency.num_cores()})
    assert printed["processor"] == latency.processor_name() != "cpu" and printed["cores"] == latency.num_cores()
    assert [(row["threads"], row["batch_size"]) for row in rows] == [(n, size) for n in threads for size in (1, 32)]
    assert all(0 < row["median_ms"] <= row["p95_ms"] and row["runs"] >= 2 for row in rows)
    assert all(row["hash"] == template.hash and row["in_shape"] == [3, 7, 5] for row in rows)
    done = subprocess.run([*words, "no.onnx"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "no.onnx must be an ONNX model of images, got none that can be run (missing).\n"


def test_time_runs_leaves_the_first_calls_out(monkeypatch):
    """By a clock that goes on by as much as each call takes: the warm-up is slow, and one of 20 calls later."""
    now, calls = [0.0], [0]

    def run():
        calls[0] += 1
        now[0] += 0.06 if calls[0] <= 2 else 0.5 if calls[0] == 7 else 0.02

    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    assert latency.time_runs(run) == {"median_ms": 20.0, "p95_ms": 20.0, "runs": 20}
