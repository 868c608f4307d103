"""A trained network as one StableHLO program, its weights inside, which needs nothing but JAX to run."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from jnas.export._codegen import imported

PLATFORMS = ("cpu", "cuda")


def stablehlo(model: Path, in_shape: tuple[int, int, int]) -> bytes:
    """Any number of images, `[N, H, W, C]` uint8, to their logits, `[N, classes]` float32.

    Made from `model.py`, and not from jnas' own module, whose operations are chosen for one device.

    Args:
      model: the `model.py` with its weights beside it.
      in_shape: `(C, H, W)` of one image.

    Returns:
      What `jax.export.deserialize` reads.
    """
    code = imported(model)
    network = code.load()
    channels, *sides = in_shape
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), *sides, channels), jnp.uint8)
    program = jax.jit(lambda images: code.logits(network, images))
    return bytes(export.export(program, platforms=PLATFORMS)(images).serialize())
