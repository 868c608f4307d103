"""The check that exported files classify like the trained module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

import jnas
from jnas._runtime.devices import device_name
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export._select import TrainedTemplate
from jnas.store import Evaluation


def verify(folder: Path, source: TrainedTemplate, row: Evaluation, data: Dataset) -> dict[str, Any]:
    """Compares how many images the three exported files classify correctly with the accuracy of an evaluation.

    The files are loaded in a fresh process. The images are the test images if the evaluation was tested, which only the
    winner of a search is, and the validation images otherwise.

    Args:
      folder: the exported files.
      source: what is exported.
      row: the training that produced the exported weights.
      data: the images of the search.

    Returns:
      A dictionary: "split" ("test" or "validation"), "images" (their number), "stored" (how many are correct according
      to the evaluation), "stored_in" (its precision), and for each file how many are correct.

    Raises:
      JnasError: if a file classifies another number correctly.
    """
    accuracy = row.val_acc_final if row.test_acc_final is None else row.test_acc_final
    images, labels = data.x_test, data.y_test
    if row.test_acc_final is None:
        split = data.split(source.recipe.val_fraction, row.key.split_seed)
        images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
    stored, precision = round((accuracy or 0.0) * len(labels)), source.recipe.precision
    correct = num_correct(folder, images, labels, source.recipe.test_flip)
    # An evaluation in bfloat16 is rounded as only its own program rounds; the exported files compute in float32.
    expected = stored if precision == "float32" else correct["weights"]
    split_name = "validation" if row.test_acc_final is None else "test"
    differing = ", ".join(f"{name} {number}" for name, number in correct.items() if number != expected)
    if differing:
        raise JnasError(
            f"The exported files must classify {expected} of {len(labels)} {split_name} images correctly, as in the "
            f"training on {row.device}, got another number on {device_name()} ({differing}): export the template where "
            "it was trained, or write it unchecked with --no-check."
        )
    return {"split": split_name, "images": len(labels), "stored": stored, "stored_in": precision, **correct}


def num_correct(
    folder: Path, images: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"], test_flip: bool = False
) -> dict[str, int]:
    """Returns how many images each of the three files classifies correctly, computed in a fresh process.

    Args:
      folder: the exported files.
      images: the images.
      labels: their labels.
      test_flip: the recipe's `test_flip`, for the weights; the other two files contain it.

    Raises:
      JnasError: if the process fails.
    """
    root = str(Path(jnas.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process may use most of the GPU's memory
    }
    with tempfile.TemporaryDirectory() as work:
        arrays = Path(work) / "arrays.npz"
        np.savez(arrays, images=images, labels=labels, test_flip=test_flip)
        command = [sys.executable, "-m", "jnas.export._verify_subprocess", str(folder), str(arrays)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise JnasError(f"The exported files cannot be loaded again ({reason}): --no-check writes them all the same.")
    return json.loads(done.stdout.splitlines()[-1])
