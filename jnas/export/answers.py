"""The program that loads an export again: `python -m jnas.export.answers FOLDER ARRAYS`.

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

from jnas import checkpoint
from jnas.data import normalise
from jnas.export.code import imported
from jnas.space import Template
from jnas.train import weights
from jnas.train.program import logits_of

_AT_ONCE = 500
"""Images that are classified at once."""

Logits = Callable[[np.ndarray], jax.Array]


def main(folder: Path, arrays: Path) -> None:
    """Prints the number of right answers by file."""
    with np.load(arrays, allow_pickle=False) as file:
        images, labels, mirrored = file["images"], file["labels"], bool(file["mirrored"])
    ways = {"weights": functools.partial(_by_jnas, mirrored), "model.py": _by_code, "model.stablehlo": _by_stablehlo}
    print(json.dumps({name: _right(way(folder / name), images, labels) for name, way in ways.items()}))


def _right(logits: Logits, images: np.ndarray, labels: np.ndarray) -> int:
    parts = np.array_split(images, -(-len(images) // _AT_ONCE))
    return int((np.concatenate([np.asarray(logits(part)).argmax(-1) for part in parts]) == labels).sum())


def _by_jnas(mirrored: bool, folder: Path) -> Logits:
    about = checkpoint.load_facts(folder)
    module = weights.load(folder, Template.from_hash(about["hash"], about["in_shape"], about["classes"]))
    program = nnx.jit(lambda module, images: logits_of(module, normalise(images), mirrored))
    return lambda images: program(module, images)


def _by_code(path: Path) -> Logits:
    code = imported(path)
    module = code.load()
    program = nnx.jit(code.logits)
    return lambda images: program(module, images)


def _by_stablehlo(path: Path) -> Logits:
    return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
