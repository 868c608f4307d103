"""The accuracy of a trained module, as whoever loads it would measure it."""

from __future__ import annotations

import functools

import jax
import numpy as np
from flax import nnx

from jnas.data.augment import normalise
from jnas.train.program import logits_of

AT_ONCE = 500
"""Images that are classified at once."""


def accuracy(module: nnx.Module, images: np.ndarray, labels: np.ndarray, mirrored: bool = False) -> float:
    """The share of `images` `[N, H, W, C]` uint8 that a module in evaluation mode labels right, in its own precision.

    `mirrored` is the recipe's `test_flip`.
    """
    parts = np.array_split(np.asarray(images), -(-len(images) // AT_ONCE))
    classes = [np.asarray(_logits(module, jax.device_put(part), mirrored)).argmax(-1) for part in parts]
    return float((np.concatenate(classes) == np.asarray(labels)).sum() / len(labels))


@functools.partial(nnx.jit, static_argnames="mirrored")
def _logits(module: nnx.Module, images: jax.Array, mirrored: bool) -> jax.Array:
    return logits_of(module, normalise(images), mirrored)
