"""Which images a step sees, and how they are augmented: compiled once for all templates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8, UInt32

from jnas._runtime.compile_options import fast_compile_jit
from jnas.data import alternating_hflip, normalise, random_cut_out, random_hflip, random_translate
from jnas.train._views import Views

# The module's own streams are small numbers folded into the seed's key; these are far from them.
_ORDER, _AUGMENTATION, _ALTERNATION, _CUT_OUT = 0x0DE50001, 0x0DE50002, 0x0DE50003, 0x0DE50004

EVAL_BATCH_SIZE = 512
"""Most images that are classified at once when accuracy is measured."""


@fast_compile_jit(static_argnames=("num_images", "steps", "batch_size"))
def epoch_permutation(
    seeds: UInt32[Array, " lanes"], epoch: Int32[Array, ""] | np.int32, *, num_images: int, steps: int, batch_size: int
) -> Int32[Array, "lanes steps batch"]:
    """Returns the images of each step of one epoch, shuffled for each lane."""

    def permute(seed):
        key = jax.random.fold_in(_stream(seed, _ORDER), epoch)
        return jax.random.permutation(key, num_images)[: steps * batch_size].reshape(steps, batch_size)

    return jax.vmap(permute)(seeds)


@functools.partial(jax.jit, static_argnames=("flip", "shift", "cut_out", "steps_per_alternation"))
def augment_batch(
    seeds: UInt32[Array, " lanes"],
    step: Int32[Array, ""] | np.int32,
    images: UInt8[Array, "n h w c"],
    labels: Int32[Array, " n"],
    batch: Int32[Array, "lanes b"],
    *,
    flip: bool,
    shift: int,
    cut_out: int = 0,
    steps_per_alternation: int = 0,
) -> tuple[Float32[Array, "lanes b h w c"], Int32[Array, "lanes b"]]:
    """Returns each lane's batch, of these indices, augmented and normalised, and its labels.

    `step` counts from the start of training. `steps_per_alternation` are the steps of an epoch, where each image is
    mirrored in every other epoch; 0 mirrors at random.
    """

    def augment_lane(seed, batch):
        flip_key, shift_key = jax.random.split(jax.random.fold_in(_stream(seed, _AUGMENTATION), step))
        inputs = images[batch]
        if flip and steps_per_alternation:
            key = _stream(seed, _ALTERNATION)
            inputs = alternating_hflip(key, inputs, batch, jnp.asarray(step // steps_per_alternation))
        elif flip:
            inputs = random_hflip(flip_key, inputs)
        if shift:
            inputs = random_translate(shift_key, inputs, shift)
        if cut_out:
            inputs = random_cut_out(jax.random.fold_in(_stream(seed, _CUT_OUT), step), inputs, cut_out)
        return normalise(inputs), labels[batch]

    return jax.vmap(augment_lane)(seeds, batch)


@functools.partial(jax.jit, static_argnames="views")
def normalised_views(images: UInt8[Array, "n h w c"], views: Views) -> list[Float32[Array, "n h w c"]]:
    """Returns the views of images as a module takes them."""
    return views.of(normalise(images))


def _stream(seed: jax.Array, purpose: int) -> jax.Array:
    """A key for one purpose of a trial's seed."""
    return jax.random.fold_in(jax.random.key(seed), purpose)
