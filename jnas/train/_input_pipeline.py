"""Which images a step sees, and how they look: shared by all templates, so compiled once."""

from __future__ import annotations

import functools
import weakref

import jax
import numpy as np

from jnas._runtime import compile_options as compiler
from jnas.data import Split
from jnas.data import _augment as augment

# The module's own streams are small numbers folded into the seed's key; these are far from them.
_ORDER, _AUGMENTATION, _ALTERNATION = 0x0DE50001, 0x0DE50002, 0x0DE50003


def _stream(seed: jax.Array, purpose: int) -> jax.Array:
    """A key for one purpose of a lane's seed."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


EVALUATION_BATCH = 512
"""Images a step when measuring accuracy, at most."""


@compiler.jit(static_argnames=("images", "steps", "batch_size"))
def order(seeds: jax.Array, epoch: jax.Array, *, images: int, steps: int, batch_size: int) -> jax.Array:
    """The images of each step of one epoch, shuffled for each lane: `[lanes, steps, batch_size]` below `images`."""

    def one(seed):
        key = jax.random.fold_in(_stream(seed, _ORDER), epoch)
        return jax.random.permutation(key, images)[: steps * batch_size].reshape(steps, batch_size)

    return jax.vmap(one)(seeds)


@functools.partial(jax.jit, static_argnames=("flip", "shift", "alternate"))
def prepare(
    seeds: jax.Array,
    number: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    batch: jax.Array,
    *,
    flip: bool,
    shift: int,
    alternate: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Each lane's batch, augmented and normalised.

    Args:
      seeds: `[lanes]` uint32.
      number: the step's number since the start of training.
      images, labels: all training images, `[N, H, W, C]` uint8 and `[N]` int32.
      batch: `[lanes, B]` int32, which of them.
      flip, shift: as in `Recipe`.
      alternate: steps an epoch, where each image is mirrored in every other one; 0 for chance.

    Returns:
      `[lanes, B, H, W, C]` float32 and `[lanes, B]` int32.
    """

    def one(seed, batch):
        flip_key, shift_key = jax.random.split(jax.random.fold_in(_stream(seed, _AUGMENTATION), number))
        inputs = images[batch]
        if flip and alternate:
            inputs = augment.alternating_hflip(_stream(seed, _ALTERNATION), inputs, batch, number // alternate)
        elif flip:
            inputs = augment.random_hflip(flip_key, inputs)
        if shift:
            inputs = augment.random_translate(shift_key, inputs, shift)
        return augment.normalise(inputs), labels[batch]

    return jax.vmap(one)(seeds, batch)


_CHUNKS: weakref.WeakKeyDictionary[Split, dict[int, tuple]] = weakref.WeakKeyDictionary()


def validation_chunks(split: Split, lanes: int = 1) -> tuple[jax.Array, jax.Array]:
    """The validation images in equal chunks, once for all templates; smaller ones for more lanes side by side."""
    known = _CHUNKS.setdefault(split, {})
    size = validation_chunk(len(split.x_val), lanes)
    if size not in known:
        known[size] = chunks(split.x_val, split.y_val, size)
    return known[size]


def validation_chunk(images: int, lanes: int = 1) -> int:
    """Images in each of the `validation_chunks` of so many images."""
    return chunk_size(images, max(EVALUATION_BATCH // lanes, 32))


def chunks(images: jax.Array, labels: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Images for measuring accuracy in equal chunks: `[K, size, H, W, C]` and `[K, size]`, filled up with label -1."""
    count = -(-len(images) // size)
    missing = count * size - len(images)
    images = np.pad(np.asarray(images), ((0, missing), (0, 0), (0, 0), (0, 0)))
    labels = np.pad(np.asarray(labels), (0, missing), constant_values=-1)
    return jax.device_put(images.reshape(count, size, *images.shape[1:])), jax.device_put(labels.reshape(count, size))


def chunk_size(images: int, most: int = EVALUATION_BATCH) -> int:
    """The size of chunk that fills the last one best, at most `most`."""
    return -(-images // -(-images // most))
