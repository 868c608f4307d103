"""The process that loads exported files again: `python -m jnas.export._verify_subprocess FOLDER ARRAYS`.

ARRAYS is an .npz file with the arguments of `num_correct`, whose result is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax import export
from jaxtyping import Int32, UInt8

from jnas._runtime import checkpoint
from jnas.export._codegen import import_from_path
from jnas.space import Template
from jnas.train import load_weights, logits, predict_with


def num_correct(
    folder: Path, images: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"], test_flip: bool
) -> dict[str, int]:
    """Returns how many images each of the three files in a folder classifies correctly."""
    metadata = checkpoint.load_metadata(folder / "weights")
    template = Template.from_hash(metadata["hash"], metadata["in_shape"], metadata["classes"])
    module = load_weights(folder / "weights", template)
    model = import_from_path(folder / "model.py")
    network, network_logits = model.load(), nnx.jit(model.logits)
    program = export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
    functions = {
        "weights": lambda batch: logits(module, jax.numpy.asarray(batch), test_flip),
        "model.py": lambda batch: network_logits(network, batch),
        "model.stablehlo": jax.jit(program.call),
    }
    return {name: int((predict_with(function, images) == labels).sum()) for name, function in functions.items()}


if __name__ == "__main__":
    with np.load(sys.argv[2], allow_pickle=False) as file:
        arguments = file["images"], file["labels"], bool(file["test_flip"])
    print(json.dumps(num_correct(Path(sys.argv[1]), *arguments)))
