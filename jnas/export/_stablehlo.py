"""A trained network as a StableHLO program that contains its weights."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from jnas.export._codegen import import_from_path

PLATFORMS = ("cpu", "cuda")


def generate_stablehlo(model_file: Path, in_shape: tuple[int, int, int]) -> bytes:
    """Returns a program from any number of images, `[N, H, W, C]` uint8, to their logits, `[N, classes]` float32.

    It is made from `model.py` rather than from jnas' module, whose operations are chosen for one device. It needs only
    JAX: `jax.export.deserialize` reads it.

    Args:
      model_file: the generated `model.py`, beside its weights.
      in_shape: `(C, H, W)` of one image.
    """
    model = import_from_path(model_file)
    network = model.load()
    channels, *sides = in_shape
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), *sides, channels), jnp.uint8)
    program = jax.jit(lambda images: model.logits(network, images))
    return bytes(export.export(program, platforms=PLATFORMS)(images).serialize())
