"""The one check of images, of data sets and for predictions; exported code has a copy of these functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError


def check_images(images: Any, shape: tuple[int, int, int] | None = None, name: str = "images") -> Any:
    """Returns images as an array of `[N, H, W, C]` uint8, or says what they must be and how to make that of them.

    `shape` is `(H, W, C)`, None for any. Images of one channel may come as `[N, H, W]`, no images as an empty list.
    """
    if np.ma.is_masked(images):
        raise JnasError(f"{name} must have no masked pixels; fill them with images.filled(0).")
    try:
        array = images if isinstance(images, jax.Array) and hasattr(images.dtype, "kind") else np.asarray(images)
    except (TypeError, ValueError, RuntimeError):  # lists of several lengths, tensors of another device
        array = np.empty(0, object)
    if array.ndim == 1 and array.dtype == float and not len(array):
        array = np.empty((0, *(shape or (1, 1, 1))), np.uint8)
    if array.ndim == 3 and shape in (None, (*array.shape[1:], 1)):
        array = array[..., None]
    axes = _advise_on_axes(array.shape, shape)
    if array.dtype == np.uint8 and axes is None:
        return array
    wanted = f"[N, {', '.join(map(str, shape or ('height', 'width', 'channels')))}]"
    if shape and shape[2] == 1:
        wanted += f" or [N, {shape[0]}, {shape[1]}]"
    is_array = array.dtype.kind not in "OSU"
    got = f"{array.dtype} of shape {array.shape}" if is_array else type(images).__name__
    advice = " and ".join(filter(None, (axes if is_array else None, _advise_on_pixels(array))))
    raise JnasError(f"{name} must be uint8, from 0 to 255, of shape {wanted}, got {got}; {advice}.")


def _advise_on_axes(got: tuple, shape: tuple[int, int, int] | None) -> str | None:
    """Returns how to make `[N, H, W, C]` of an array's shape; None if it is that."""
    transpose = "transpose them with numpy.transpose(images, (0, 2, 3, 1))"
    if shape is None:
        if len(got) != 4 or min(got[1:]) < 1:
            return "give one array with these axes"
        few, height, width = got[1:]
        is_channels_first = few < height and (few <= 4 < min(height, width) or few < height == width)
        return transpose if is_channels_first else None
    height, width, channels = shape
    if len(got) == 4 and got[1:] == shape:
        return None
    if got == shape or (channels == 1 and got == (height, width)):
        return "add an axis with images[None]"
    if got == (channels, height, width):
        return "give numpy.transpose(images, (1, 2, 0))[None]"
    if got[1:] == (channels, height, width):
        return transpose
    if got[1:] == (height * width * channels,):
        return f"reshape them to (-1, {height}, {width}, {channels})"
    if got[1:3] == (height, width) and len(got) in (3, 4):
        if got[3:] in ((), (1,)):
            return f"repeat the grey channel with images.reshape(-1, {height}, {width}, 1).repeat({channels}, 3)"
        if got[3] == channels + 1:
            return f"leave the last channel out with images[..., :{channels}]"
        return f"give images of {channels} channel{'s' * (channels > 1)}"
    if len(got) not in (3, 4):
        return "give one array with these axes"
    return f"make them {height} pixels high and {width} wide, as the images of training are"


def _advise_on_pixels(array: Any) -> str | None:
    """Returns how to make uint8 of an array's type and values; None if they are that."""
    if array.dtype == np.uint8:
        return None
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.integer, jnp.floating, jnp.bool_)):
        return "give one array of numbers, with images of one size (numpy.stack makes one of a list)"
    if isinstance(array, jax.Array) or not array.size:  # within jit there are no values
        return "convert them to uint8, those from 0 to 1 after multiplying by 255"
    low, high = np.min(array), np.max(array)
    if not (low >= 0 and high < 65536):  # also NaN
        return "scale them to pixels from 0 to 255 without NaN, and convert them to uint8"
    if high > 255:
        return "divide them by 257 and convert them with .astype('uint8')"
    return f"{'multiply by 255 and ' if high <= 1 else ''}convert them to uint8 with .round().astype('uint8')"
