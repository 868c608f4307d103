"""The check that exported files, each loaded in a fresh process of its own, classify like the trained module."""

import json
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jnas._runtime.devices import device_name, num_cores
from jnas.errors import JnasError
from jnas.export._forms import CHECKED_FILES, FormName, is_installed
from jnas.export._process import run_fresh
from jnas.export._trained import Labelled, TrainedModel
from jnas.train import accuracy, load_weights

_MODULES = ("jnas", "jax", "flax", "orbax", "onnx", "onnxruntime", "torch", "safetensors")
"""What a form may need, and what the processes of the other forms are denied."""
_NEEDS: dict[FormName, tuple[str, ...]] = {
    "flax": ("jax", "flax", "orbax"),
    "onnx": ("onnxruntime",),
    "torch": ("torch", "safetensors"),
    "stablehlo": ("jax",),
    "int8": ("onnxruntime",),
}
_ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession(file)
normalised = lambda batch: (batch.transpose(0, 3, 1, 2) * np.float32(2 / 255) - 1).astype(np.float32)
is_uint8 = session.get_inputs()[0].type == "tensor(uint8)"
classify = lambda batch: session.run(None, {"images": batch if is_uint8 else normalised(batch)})[0]
"""
_LOADERS: dict[FormName, str] = {
    "flax": """
from flax import nnx
model = runpy.run_path(file)
network, logits = model["load"](), nnx.jit(model["logits"])
classify = lambda batch: logits(network, batch)
""",
    "stablehlo": """
import jax.export
classify = jax.jit(jax.export.deserialize(bytearray(open(file, "rb").read())).call)
""",
    "torch": """
model = runpy.run_path(file)
network = model["load"]()
classify = lambda batch: model["logits"](network, batch)
""",
    "onnx": _ONNX,
    "int8": _ONNX,
}
"""Code that makes a function of `file`, from images to their logits."""
_SCRIPT = """
import json, runpy, sys
sys.modules.update(dict.fromkeys({denied}, None))  # an import of these fails
import numpy as np
file, arrays = sys.argv[1:]
{loader}
correct = []
with np.load(arrays) as splits:
    for number in range(len(splits) // 2):
        images, labels = splits[f"x{{number}}"], splits[f"y{{number}}"]
        batches = np.array_split(images, -(-len(images) // {batch_size}))  # of one size: a program for each is compiled
        classes = np.concatenate([np.asarray(classify(batch)).argmax(-1) for batch in batches])
        correct.append(int((classes == labels).sum()))
print(json.dumps(correct))
"""
_BATCH_SIZE = 512


def verify(folder: Path, trained: TrainedModel) -> dict[str, Any]:
    """Compares how many images each exported form classifies correctly with the accuracy of an evaluation.

    The images are the test images if the evaluation was tested, which only the winner of a search is, and the
    validation images otherwise. Returns their "split" and number ("images"), how many are correct according to the
    evaluation ("stored"), its precision ("stored_in"), and for the weights and each file how many are correct. For int8
    also by how much its validation accuracy is lower ("int8_loss").

    Raises:
      JnasError: if a file classifies another number correctly; int8 may.
    """
    split_name, stored_accuracy, checked = trained.checked_images()
    forms: list[FormName] = [form for form in trained.options.forms if form != "torch" or is_installed("torch")]
    splits: dict[FormName, list[Labelled]] = {
        form: [checked, trained.validation_images()] if form == "int8" else [checked] for form in forms
    }
    with ThreadPoolExecutor(num_cores()) as pool:
        futures = {CHECKED_FILES[form]: pool.submit(num_correct, form, folder, splits[form]) for form in forms}
        module = load_weights(folder / "weights", trained.source.template)
        weights = _num_correct_here(module, checked, trained)
        found = {name: future.result() for name, future in futures.items()}
    stored, precision = round(stored_accuracy * len(checked[1])), trained.source.recipe.precision
    correct = {"weights": weights, **{name: counts[0] for name, counts in found.items()}}
    # An evaluation in bfloat16 is rounded as only its own program rounds; the exported files compute in float32.
    same = precision == "float32" and trained.views == trained.source.recipe.views
    _require_equal(correct, stored if same else weights, split_name, len(checked[1]), trained)
    result = {"split": split_name, "images": len(checked[1]), "stored": stored, "stored_in": precision, **correct}
    if "int8" in forms:
        images, labels = trained.validation_images()
        accuracy_of_float = trained.row.val_acc_final if same else None
        if accuracy_of_float is None:
            accuracy_of_float = _num_correct_here(module, (images, labels), trained) / len(labels)
        result["int8_loss"] = round(accuracy_of_float - found[CHECKED_FILES["int8"]][1] / len(labels), 6)
    return result


def _num_correct_here(module: nnx.Module, split: Labelled, trained: TrainedModel) -> int:
    return round(accuracy(module, *split, trained.views) * len(split[1]))


def _require_equal(correct: dict[str, int], expected: int, split: str, count: int, trained: TrainedModel) -> None:
    exact = {name: number for name, number in correct.items() if name != CHECKED_FILES["int8"]}
    differing = ", ".join(f"{name} {number}" for name, number in exact.items() if number != expected)
    if differing:
        raise JnasError(
            f"The exported files must classify {expected} of {count} {split} images correctly, as in the "
            f"training on {trained.row.device}, got another number on {device_name()} ({differing}); export the "
            "template where it was trained, or write it unchecked with --no-check."
        )


def num_correct(form: FormName, folder: Path, splits: Iterable[Labelled]) -> list[int]:
    """Returns how many images of each split a form classifies correctly, in a fresh process with what it needs alone.

    What it needs are NumPy and the form's own packages: others that jnas uses cannot be imported there.
    """
    denied = [name for name in _MODULES if name not in _NEEDS[form]]
    script = _SCRIPT.format(denied=denied, loader=_LOADERS[form], batch_size=_BATCH_SIZE)
    with tempfile.TemporaryDirectory() as work:
        arrays = Path(work) / "arrays.npz"
        pairs: dict[str, Any] = {
            f"{letter}{n}": a for n, split in enumerate(splits) for letter, a in zip("xy", split, strict=True)
        }
        np.savez(arrays, **pairs)
        arguments = ["-c", script, str(folder / CHECKED_FILES[form]), str(arrays)]
        printed = run_fresh(arguments, work, f"The exported file {CHECKED_FILES[form]} cannot be loaded again")
    return json.loads(printed.splitlines()[-1])
