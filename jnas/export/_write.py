"""The files of all forms in a folder."""

import shutil
from pathlib import Path

import numpy as np

from jnas._runtime import latency
from jnas.export._codegen import generate_code, generate_stablehlo
from jnas.export._forms import CHECKED_FILES, FormName
from jnas.export._latencies import LATENCY_SCRIPT
from jnas.export._trained import TrainedModel
from jnas.train import save_weights


def write_forms(folder: Path, trained: TrainedModel) -> None:
    """Writes the forms that are asked for; StableHLO is made of the Flax form, and the check needs the weights."""
    template, forms = trained.source.template, trained.options.forms
    save_weights(folder / "weights", template, trained.module)
    if {"flax", "stablehlo"} & set(forms):
        (folder / CHECKED_FILES["flax"]).write_text(generate_code(template, trained.views))
    if "stablehlo" in forms:
        program = generate_stablehlo(folder / CHECKED_FILES["flax"], template.in_shape)
        (folder / CHECKED_FILES["stablehlo"]).write_bytes(program)
    if "torch" in forms:
        _write_torch(folder, trained)
    if {"onnx", "int8"} & set(forms):
        _write_onnx(folder, trained)
        shutil.copyfile(str(latency.__file__), folder / LATENCY_SCRIPT)


def remove_unwanted(folder: Path, forms: tuple[FormName, ...]) -> None:
    """Removes what was written only to make or to check the forms that are asked for."""
    if "flax" not in forms:
        shutil.rmtree(folder / "weights")
        (folder / CHECKED_FILES["flax"]).unlink(missing_ok=True)


def _write_torch(folder: Path, trained: TrainedModel) -> None:
    from safetensors.numpy import save_file

    from jnas.export._torch import generate_torch_code, torch_weights

    template = trained.source.template
    code = generate_torch_code(template, trained.views, trained.class_names)
    (folder / CHECKED_FILES["torch"]).write_text(code)
    metadata = {"format": "pt", "hash": template.hash}
    save_file(torch_weights(template, trained.module), folder / "model.safetensors", metadata)


def _write_onnx(folder: Path, trained: TrainedModel) -> None:
    from jnas.export._int8 import quantise
    from jnas.export._onnx import onnx_model

    template, options = trained.source.template, trained.options
    metadata = {"form": "onnx", "hash": template.hash, "in_shape": template.in_shape, "classes": template.classes}
    if trained.class_names is not None:
        metadata["class_names"] = trained.class_names
    model = onnx_model(template, trained.module, views=trained.views, input_kind=options.input, metadata=metadata)
    if "onnx" in options.forms:
        (folder / CHECKED_FILES["onnx"]).write_bytes(model.SerializeToString())
    if "int8" in options.forms:
        quantise(model, folder / CHECKED_FILES["int8"], np.asarray(trained.split.x_train), options.input)
