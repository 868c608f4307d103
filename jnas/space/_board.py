"""What a microcontroller board must have for a template: bytes of flash and of working memory, computed from shapes."""

import math

import jax.numpy as jnp
import numpy as np

from jnas.space._genome import LAYER_TYPE, Genomes
from jnas.space._layers import (
    LAYER_TYPES,
    Activation,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LayerTemplate,
    Linear,
)
from jnas.space._shape_inference import InferredShapes
from jnas.space._template import Template
from jnas.space._uint64 import UInt64

_EXTRA_BYTES = 3
"""Of a bias beyond those of a weight: sums have 32 bits."""


def _has_no_output(layer_type: type[LayerTemplate]) -> bool:
    """Whether layers of a type work in place, or are part of the one before."""
    return issubclass(layer_type, Activation | BatchNorm2d | Dropout | Flatten)


_NO_OUTPUT = np.array([True, *map(_has_no_output, LAYER_TYPES)])  # an unused row has none, either
_HAS_BIAS = np.array([False, *(layer_type in (Conv2d, Linear) for layer_type in LAYER_TYPES)])


def board_needs(template: Template) -> dict[str, int]:
    """Returns the bytes of flash and of working memory that inference on one image takes with int8 values.

    "flash_bytes" is a byte for each weight, and four for each bias, which is added to sums of 32 bits; the code of the
    runtime comes on top. "memory_bytes" is the peak over the layers of input and output, which exist at once; layers
    that work in place or are part of the one before have no output of their own (Liberis et al. 2021,
    arXiv:2010.14246; David et al. 2021, arXiv:2010.08678).
    """
    peak, biases, current = 0, 0, math.prod(template.in_shape)
    for layer, out in zip(template.layers, template.shapes, strict=True):
        peak = max(peak, current if _has_no_output(type(layer)) else current + math.prod(out))
        biases += out[0] if isinstance(layer, Conv2d | Linear) else 0
        current = math.prod(out)
    return {"flash_bytes": template.cost.params + _EXTRA_BYTES * biases, "memory_bytes": peak}


def infer_board_needs(
    genomes: Genomes, inferred: InferredShapes, in_shape: tuple[int, int, int], classes: int
) -> dict[str, UInt64]:
    """Returns `board_needs` of genomes `[..., L, 6]` with these shapes: arrays `[...]`, undefined for invalid ones."""
    layer_types, shapes = jnp.asarray(genomes)[..., LAYER_TYPE].astype(jnp.int32), inferred.shapes
    outputs = shapes.prod(-1, dtype=jnp.uint32)
    first = jnp.full_like(outputs[..., :1], math.prod(in_shape))
    inputs = jnp.concatenate([first, outputs[..., :-1]], -1)
    both = inputs + jnp.where(jnp.asarray(_NO_OUTPUT)[layer_types], jnp.uint32(0), outputs)
    peak = jnp.maximum(both.max(-1), outputs[..., -1] + jnp.uint32(classes))
    biases = jnp.where(jnp.asarray(_HAS_BIAS)[layer_types], shapes[..., 0], 0).sum(-1) + classes
    extra = UInt64.product(biases, jnp.full_like(biases, _EXTRA_BYTES))
    return {"flash_bytes": inferred.params + extra, "memory_bytes": UInt64.from_integers(peak)}
