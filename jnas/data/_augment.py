"""Scaling and augmentation of uint8 images, on the device and within the training step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int, Key, Shaped, UInt8

from jnas._runtime.jax_config import with_own_settings
from jnas.data._images import check_images


@with_own_settings
def normalise(images: UInt8[Array, "*n h w c"]) -> Float32[Array, "*n h w c"]:
    """Returns pixels from 0 to 255 as floats from -1 to 1, the scaling of Sophius.

    Raises:
      JnasError: if they are not uint8.
    """
    if getattr(images, "dtype", None) != jnp.uint8:
        images = check_images(images)
    return images.astype(jnp.float32) * (2 / 255) - 1


@with_own_settings
def hflip(images: Shaped[Array, "n h w c"]) -> Shaped[Array, "n h w c"]:
    """Returns images with left and right exchanged."""
    return images[:, :, ::-1]


@with_own_settings
def random_hflip(key: Key[Array, ""], images: Shaped[Array, "n h w c"]) -> Shaped[Array, "n h w c"]:
    """Returns images of which each is flipped horizontally with probability 0.5."""
    is_flipped = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(is_flipped, hflip(images), images)


@with_own_settings
def alternating_hflip(
    key: Key[Array, ""], images: Shaped[Array, "n h w c"], indices: Int[Array, " n"], epoch: Int[Array, ""]
) -> Shaped[Array, "n h w c"]:
    """Returns images of which each is flipped horizontally in every other epoch, half of them in the even ones.

    In two epochs every image is seen both ways, whereas random flips show half of the images twice the same way (Jordan
    2024, arXiv:2404.00498). The key is the same in all epochs; `indices` are the places of the images in the data set.
    """
    even = jax.vmap(lambda index: jax.random.bernoulli(jax.random.fold_in(key, index)))(indices)
    is_flipped = even ^ (epoch % 2 == 1)
    return jnp.where(is_flipped[:, None, None, None], hflip(images), images)


@with_own_settings
def random_translate(key: Key[Array, ""], images: Shaped[Array, "n h w c"], max_shift: int) -> Shaped[Array, "n h w c"]:
    """Returns images of which each is moved by up to `max_shift` pixels in both directions.

    The same as padding by reflection and cropping at random, in one gather.
    """
    count, height, width, _ = images.shape
    offsets = jax.random.randint(key, (2, count, 1), -max_shift, max_shift + 1)
    rows = _reflect(jnp.arange(height) + offsets[0], height)
    columns = _reflect(jnp.arange(width) + offsets[1], width)
    return images[jnp.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


@with_own_settings
def random_cut_out(key: Key[Array, ""], images: UInt8[Array, "n h w c"], size: int) -> UInt8[Array, "n h w c"]:
    """Returns images with a square of so many pixels a side in grey, at any place, also partly outside.

    The same as DeVries and Taylor 2017 (arXiv:1708.04552), whose images have the mean 0.
    """
    count, height, width, _ = images.shape
    tops, lefts = (
        jax.random.randint(side_key, (count, 1), 0, side) - size // 2
        for side_key, side in zip(jax.random.split(key), (height, width), strict=True)
    )
    rows, columns = jnp.arange(height) - tops, jnp.arange(width) - lefts
    is_row, is_column = (rows >= 0) & (rows < size), (columns >= 0) & (columns < size)
    return jnp.where(is_row[:, :, None, None] & is_column[:, None, :, None], jnp.uint8(128), images)


@with_own_settings
def translate(images: Shaped[Array, "n h w c"], shift: int) -> Shaped[Array, "n h w c"]:
    """Returns images moved down and right by so many pixels, up and left where negative; borders are reflected."""
    height, width = images.shape[1:3]
    return images[:, _reflect(jnp.arange(height) - shift, height)][:, :, _reflect(jnp.arange(width) - shift, width)]


def _reflect(index: Int[Array, "*n k"], size: int) -> Int[Array, "*n k"]:
    """Returns indices with those outside of [0, size - 1] reflected at the border, which is not repeated."""
    last = max(size - 1, 1)
    return jnp.clip(last - jnp.abs(last - jnp.abs(index)), 0, size - 1)
