"""The check that exported files, loaded in a fresh process, classify like the trained module."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import export
from jaxtyping import Int32, UInt8

import jnas
from jnas._runtime import checkpoint
from jnas._runtime.devices import device_name
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export._codegen import import_from_path
from jnas.export._source import TrainedTemplate
from jnas.space import Template
from jnas.store import Evaluation
from jnas.train import ONE_VIEW, Views, load_weights, logits, predict_with


def verify(folder: Path, source: TrainedTemplate, row: Evaluation, data: Dataset) -> dict[str, Any]:
    """Compares how many images the three exported files classify correctly with the accuracy of an evaluation.

    The images are the test images if the evaluation was tested, which only the winner of a search is, and the
    validation images otherwise. Returns their "split" and number ("images"), how many are correct according to the
    evaluation ("stored"), its precision ("stored_in"), and for each file how many are correct.

    Raises:
      JnasError: if a file classifies another number correctly.
    """
    accuracy, split_name = row.test_acc_final, "test"
    images, labels = data.x_test, data.y_test
    if accuracy is None:
        accuracy, split_name = row.val_acc_final, "validation"
        split = data.split(source.recipe.val_fraction, row.key.split_seed)
        images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
    stored, precision = round((accuracy or 0.0) * len(labels)), source.recipe.precision
    correct = num_correct_in_subprocess(folder, images, labels, source.recipe.views)
    # An evaluation in bfloat16 is rounded as only its own program rounds; the exported files compute in float32.
    expected = stored if precision == "float32" else correct["weights"]
    differing = ", ".join(f"{name} {number}" for name, number in correct.items() if number != expected)
    if differing:
        raise JnasError(
            f"The exported files must classify {expected} of {len(labels)} {split_name} images correctly, as in the "
            f"training on {row.device}, got another number on {device_name()} ({differing}); export the template where "
            "it was trained, or write it unchecked with --no-check."
        )
    return {"split": split_name, "images": len(labels), "stored": stored, "stored_in": precision, **correct}


def num_correct_in_subprocess(
    folder: Path, images: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"], views: Views = ONE_VIEW
) -> dict[str, int]:
    """Returns `num_correct`, computed in a fresh process."""
    root = str(Path(jnas.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process may use most of the GPU's memory
    }
    with tempfile.TemporaryDirectory() as work:
        arrays = Path(work) / "arrays.npz"
        np.savez(arrays, images=images, labels=labels, views=np.asarray(views))
        code = "from jnas.export import _verify; _verify.print_num_correct()"
        command = [sys.executable, "-c", code, str(folder), str(arrays)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise JnasError(f"The exported files cannot be loaded again ({reason}): --no-check writes them all the same.")
    return json.loads(done.stdout.splitlines()[-1])


def print_num_correct() -> None:
    """Prints `num_correct` of a folder and an .npz file with the other arguments, named on the command line."""
    with np.load(sys.argv[2], allow_pickle=False) as file:
        arguments = file["images"], file["labels"], Views(bool(file["views"][0]), int(file["views"][1]))
    print(json.dumps(num_correct(Path(sys.argv[1]), *arguments)))


def num_correct(
    folder: Path, images: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"], views: Views
) -> dict[str, int]:
    """Returns how many images each of the three files in a folder classifies correctly.

    The recipe's views are for the weights; the other two files contain it.
    """
    metadata = checkpoint.load_metadata(folder / "weights")
    template = Template.from_hash(metadata["hash"], metadata["in_shape"], metadata["classes"])
    module = load_weights(folder / "weights", template)
    model = import_from_path(folder / "model.py")
    network, network_logits = model.load(), nnx.jit(model.logits)
    program = export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
    functions = {
        "weights": lambda batch: logits(module, jax.numpy.asarray(batch), views),
        "model.py": lambda batch: network_logits(network, batch),
        "model.stablehlo": jax.jit(program.call),
    }
    return {name: int((predict_with(function, images) == labels).sum()) for name, function in functions.items()}
