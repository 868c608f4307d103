"""Arrays of images of any kind of number and order of axes as uint8 `[N, H, W, C]`, where that is certain."""

import math
import warnings
from typing import Any

import numpy as np

from jnas.data._pictures import fit_array
from jnas.data._reading import check_memory
from jnas.data._sizes import Fit, Size, default_size, describe_sizes
from jnas.errors import JnasError

_FEW_CHANNELS = (1, 3)
_LEAST_PIXELS = 8
"""Height and width from which on an axis of 1 or 3 before them can only be the channels."""
_LEAST_OF_BYTES = 64
"""Floats above 1 that stay below this are of some other range than 0 to 255, such as 0 to 16."""
_BITS = (8, 10, 12, 14, 16)
"""Of pixels that are whole numbers, as cameras and scanners write them."""
_CHUNK = 1024


def convert_images(name: str, arrays: dict[str, Any], size: Size | None, fit: Fit) -> tuple[dict[str, Any], list[str]]:
    """Returns images by their names, `x_train` first, as uint8, and what was done to them, in sentences.

    Scale and axes follow from `x_train` for all. What is not certain stays as it is, and is refused by `check_images`.
    """
    notes: list[str] = []
    if any(np.ma.is_masked(images) for images in arrays.values()):
        return arrays, notes
    values = {key: _as_array(images) for key, images in arrays.items()}
    train = values["x_train"]
    if isinstance(train, np.ndarray) and _is_channels_first(train):
        warnings.warn(
            f"x_train of {name} is read as channels first, {train.shape} = (N, channels, height, width): "
            "numpy.transpose(images, (0, 2, 3, 1)) makes images as jnas has them.",
            stacklevel=1,
        )
        is_whole = {key: isinstance(one, np.ndarray) and one.ndim == 4 for key, one in values.items()}
        values = {key: one.transpose(0, 2, 3, 1) if is_whole[key] else one for key, one in values.items()}
    if isinstance(train, np.ndarray) and train.ndim and train.size and (scale := _find_scale(name, train, notes)):
        for key, images in values.items():
            if isinstance(images, np.ndarray) and images.ndim and images.size and images.dtype != np.uint8:
                values[key] = _convert(f"{key} of {name}", images, *scale)
    if size is not None or any(isinstance(images, list) for images in values.values()):
        values = _resize(name, values, size, fit, notes)
    return values, notes


def _as_array(images: Any) -> Any:
    """Returns an array; a list of arrays where these are of several sizes; what is neither as it is."""
    if np.ma.is_masked(images):
        return images
    try:
        array = np.asarray(images)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        array = np.empty((), object)
    if array.dtype.kind in "uifb":
        return array
    if not isinstance(images, list | tuple | np.ndarray) or array.dtype.kind not in "O":
        return images
    try:
        pictures = [np.asarray(one) for one in images]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return images
    pictures = [one[..., None] if one.ndim == 2 else one for one in pictures]
    return pictures if all(map(_is_picture, pictures)) else images


def _is_picture(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.size > 0


def _resize(name: str, values: dict[str, Any], size: Size | None, fit: Fit, notes: list[str]) -> dict[str, Any]:
    """Returns images of one size, by default one that follows from all of them."""
    found = {key: _pictures(images) for key, images in values.items()}
    if any(pictures is None for pictures in found.values()):
        return values
    known = {key: pictures for key, pictures in found.items() if pictures is not None}
    sizes = [one.shape[:2] for pictures in known.values() for one in pictures]
    chosen = size or default_size(sizes)
    if note := describe_sizes(sizes, chosen, fit, size is None):
        notes.append(note)
    channels = next((one.shape[2] for pictures in known.values() for one in pictures), 1)
    check_memory(name, (len(sizes), *chosen, channels))
    resized = {}
    for key, pictures in known.items():
        resized[key] = np.zeros((len(pictures), *chosen, channels), np.uint8)
        for index, one in enumerate(pictures):
            if one.shape[2] != channels:
                raise JnasError(
                    f"{key} of {name} must have {channels} channels in all images, got {one.shape[2]}; make them alike."
                )
            resized[key][index] = fit_array(one, chosen, fit)
    return resized


def _pictures(images: Any) -> Any:
    """Returns images `[H, W, C]` one after another, or None if they are not that."""
    if isinstance(images, list):
        return images if all(map(_is_picture, images)) else None
    if not isinstance(images, np.ndarray) or not images.ndim:
        return None
    if not len(images):
        return []
    if images.ndim == 3:
        images = images[..., None]
    return images if images.dtype == np.uint8 and images.ndim == 4 and images.size else None


def _is_channels_first(images: np.ndarray) -> bool:
    if images.ndim != 4:
        return False
    few, height, width = images.shape[1:]
    return few in _FEW_CHANNELS and min(height, width) >= _LEAST_PIXELS


def _find_scale(name: str, images: np.ndarray, notes: list[str]) -> tuple[float, float] | None:
    """Returns the largest pixel of training images, as they were meant, and what makes 255 of it; None if unknown."""
    if images.dtype == np.uint8:
        return 255.0, 1.0
    if images.dtype.kind not in "uifb":
        return None
    low, high = float(np.min(images)), float(np.max(images))
    if images.dtype.kind == "b":
        return 1.0, 255.0
    if not (low >= 0 and high < 65536):  # also NaN
        return None
    if images.dtype.kind in "iu":
        largest = next(2**bits - 1 for bits in _BITS if high < 2**bits)
        if largest > 255:
            notes.append(f"The pixels of {name}, from {low:g} to {high:g}, are divided by {largest / 255:.4g}.")
        return float(largest), 255 / largest
    if high <= 1:
        return 1.0, 255.0
    if high <= _LEAST_OF_BYTES:
        raise JnasError(
            f"The pixels of {name} must be from 0 to 255, or floats from 0 to 1, got from {low:g} to {high:g}; "
            f"multiply them by 255 / {math.ceil(high)}."
        )
    if high < 255.5:
        return 255.0, 1.0
    return None


def _convert(name: str, images: np.ndarray, largest: float, factor: float) -> Any:
    """Returns pixels from 0 to `largest` as uint8; such as are outside are refused."""
    low, high = float(np.min(images)), float(np.max(images))
    if not (low >= 0 and high <= 1.002 * largest):
        raise JnasError(
            f"{name} must be pixels from 0 to {largest:g}, as x_train is, got from {low:g} to {high:g}; scale all "
            "images alike."
        )
    check_memory(name, images.shape)
    pixels = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(np.float64) * factor
        pixels[start : start + _CHUNK] = np.minimum(np.rint(part), 255)
    return pixels
