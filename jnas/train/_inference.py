"""The accuracy of a trained module, as whoever loads it would measure it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

from jnas.data._augment import normalise
from jnas.train._step import logits_of

AT_ONCE = 500
"""Images that are classified at once."""


def classes_by(logits: Callable[[np.ndarray], jax.Array], images: np.ndarray) -> np.ndarray:
    """The class of each of `images` `[N, H, W, C]` uint8 by a function from some of them to their logits: `[N]`."""
    parts = np.array_split(np.asarray(images), max(1, -(-len(images) // AT_ONCE)))
    return np.concatenate([np.asarray(logits(part)).argmax(-1) for part in parts])


def classes(module: nnx.Module, images: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """The same by a module in evaluation mode; `mirrored` is the recipe's `test_flip`."""
    return classes_by(lambda part: logits(module, jax.device_put(part), mirrored), images)


def accuracy(module: nnx.Module, images: np.ndarray, labels: np.ndarray, mirrored: bool = False) -> float:
    """The share of `images` that `classes` gets right."""
    return float((classes(module, images, mirrored) == np.asarray(labels)).sum() / len(labels))


@functools.partial(nnx.jit, static_argnames="mirrored")
def logits(module: nnx.Module, images: jax.Array, mirrored: bool) -> jax.Array:
    """The logits of images `[N, H, W, C]` uint8 by a module in evaluation mode: `[N, classes]`."""
    return logits_of(module, normalise(images), mirrored)
