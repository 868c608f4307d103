"""Whether what was written answers as what was trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import jnas
from jnas._runtime.devices import device_name
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export._select import Source
from jnas.store import Evaluation


def check(folder: Path, source: Source, row: Evaluation, data: Dataset) -> dict:
    """Compares the right answers of the three files, loaded in a fresh process, with a row's accuracy.

    Test images are used where the row was tested, which is a winner's only; validation images elsewhere.

    Returns:
      Facts: `split` ("test" or "validation"), `images`, and the number of right answers, `stored` (as the row says, in
      the precision `stored_in`) and by file.

    Raises:
      JnasError: one of the three answers otherwise.
    """
    tested = row.test_acc_final is not None
    images, labels = data.x_test, data.y_test
    if not tested:
        split = data.split(source.recipe.val_fraction, row.key.split_seed)
        images, labels = np.asarray(split.x_val), np.asarray(split.y_val)
    stored = round((row.test_acc_final if tested else row.val_acc_final) * len(labels))
    found = right_answers(folder, images, labels, source.recipe.test_flip)
    precision = source.recipe.precision
    facts = {"split": "test" if tested else "validation", "images": len(labels), "stored": stored}
    facts |= {"stored_in": precision, **found}
    # A row in bfloat16 was rounded as only its own program rounds; what is written computes in float32.
    expected = stored if precision == "float32" else found["weights"]
    others = ", ".join(f"{name} {number}" for name, number in found.items() if number != expected)
    if others:
        raise JnasError(
            f"Trained on {row.device} it answers {expected} of {len(labels)} {facts['split']} images right, loaded "
            f"again on {device_name()} another number ({others}): export it where it was trained, or write it as it is "
            "with --no-check."
        )
    return facts


def right_answers(folder: Path, images: np.ndarray, labels: np.ndarray, mirrored: bool = False) -> dict[str, int]:
    """How many of `images` `[N, H, W, C]` uint8 each of the three files labels right, by a process of its own.

    `mirrored` says how the weights are evaluated, as in `code`; the other two files know.

    Raises:
      JnasError: that process failed.
    """
    home = str(Path(jnas.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH")))),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process may hold most of a GPU already
    }
    with tempfile.TemporaryDirectory() as work:
        arrays = Path(work) / "arrays.npz"
        np.savez(arrays, images=images, labels=labels, mirrored=mirrored)
        command = [sys.executable, "-m", "jnas.export._verify_subprocess", str(folder), str(arrays)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise JnasError(f"What was written cannot be loaded again ({reason}): --no-check writes it all the same.")
    return json.loads(done.stdout.splitlines()[-1])
