"""The program that loads an export again: `python -m jnas.export._verify_subprocess FOLDER ARRAYS`.

ARRAYS is an .npz with `images`, `labels` and `mirrored`, whether logits are means over images and mirror images. It
prints, in JSON, how many right answers each of the three files gives. See `check`, which runs it.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax import export

from jnas._runtime import checkpoint
from jnas.export._codegen import imported
from jnas.space import Template
from jnas.train import load_weights, logits, predict_with

Logits = Callable[[np.ndarray], jax.Array]


def main(folder: Path, arrays: Path) -> None:
    """Prints the number of right answers by file."""
    with np.load(arrays, allow_pickle=False) as file:
        images, labels, mirrored = file["images"], file["labels"], bool(file["mirrored"])
    ways = {"weights": functools.partial(_by_jnas, mirrored), "model.py": _by_code, "model.stablehlo": _by_stablehlo}
    right = {name: int((predict_with(way(folder / name), images) == labels).sum()) for name, way in ways.items()}
    print(json.dumps(right))


def _by_jnas(mirrored: bool, folder: Path) -> Logits:
    about = checkpoint.load_metadata(folder)
    module = load_weights(folder, Template.from_hash(about["hash"], about["in_shape"], about["classes"]))
    return lambda images: logits(module, images, mirrored)


def _by_code(path: Path) -> Logits:
    code = imported(path)
    module = code.load()
    program = nnx.jit(code.logits)
    return lambda images: program(module, images)


def _by_stablehlo(path: Path) -> Logits:
    return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
