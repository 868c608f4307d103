"""uint8 images to network inputs, on the device and inside the training step."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def normalise(images: jax.Array) -> jax.Array:
    """Pixels 0 to 255 as floats -1 to 1, the original's scaling: `[..., H, W, C]` uint8 to float32."""
    return images.astype(jnp.float32) * (2 / 255) - 1


def mirror(images: jax.Array) -> jax.Array:
    """Images `[N, H, W, C]`, left and right exchanged."""
    return images[:, :, ::-1]


def flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image of `[N, H, W, C]` left to right with probability one half."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, mirror(images), images)


def alternate(key: jax.Array, images: jax.Array, numbers: jax.Array, epoch: jax.Array) -> jax.Array:
    """Mirrors each image in every other epoch, half of them in even ones.

    So in two epochs an image is seen both ways, where chance shows it twice the same way in every second case.

    Args:
      key: decides which images begin mirrored; the same in all epochs.
      images: `[N, H, W, C]`.
      numbers: `[N]`, which images they are.
      epoch: its number.
    """
    first = jax.vmap(lambda number: jax.random.bernoulli(jax.random.fold_in(key, number)))(numbers)
    mirrored = first ^ (epoch % 2 == 1)
    return jnp.where(mirrored[:, None, None, None], mirror(images), images)


def shift(key: jax.Array, images: jax.Array, pixels: int) -> jax.Array:
    """Moves each image of `[N, H, W, C]` by up to `pixels` each way, the border mirrored into the gap.

    This is padding and cropping at random, in one gather.
    """
    count, height, width, _ = images.shape
    offsets = jax.random.randint(key, (2, count, 1), -pixels, pixels + 1)
    rows, columns = (_mirror(jnp.arange(n) + offset, n) for n, offset in zip((height, width), offsets, strict=True))
    return images[jnp.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _mirror(index: jax.Array, size: int) -> jax.Array:
    """Positions outside 0 to size - 1, reflected at the border (which is not repeated)."""
    last = max(size - 1, 1)
    return jnp.clip(last - jnp.abs(last - jnp.abs(index)), 0, size - 1)
