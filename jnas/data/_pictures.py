"""One picture file as pixels of a given size, by Pillow: any mode, turned as its camera was held."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jnas.data._sizes import Fit, Size

if TYPE_CHECKING:
    from PIL import Image

File = Path | bytes
"""A picture: where it is, or its bytes."""

# Not all that Pillow reads: it would hand some formats to other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""How the names of picture files end, in lower case."""

_ORIENTATION = 0x0112  # the number of EXIF's field
_SIDEWAYS = range(5, 9)
"""EXIF's orientations of pictures that lie on their side."""
_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


class Header(NamedTuple):
    """What a picture file says at its beginning, of the picture upright."""

    size: Size
    is_grey: bool


def read_header(file: File) -> Header:
    """Returns the size of a picture; whatever Pillow raises if it is damaged."""
    with _open(file) as image:
        is_sideways = _is_sideways(image)
        if is_sideways and image.format == "TIFF":
            image.load()  # Pillow turns these itself, and not all its versions say the size before
            is_sideways = False
        width, height = image.size
        return Header((width, height) if is_sideways else (height, width), image.mode in _GREY)


def read_picture(file: File, size: Size, channels: int, fit: Fit) -> UInt8[np.ndarray, "h w c"]:
    """Returns a picture of 1 channel (grey) or 3 (red, green, blue); whatever Pillow raises if it is damaged.

    Of an animation it is the first frame. What is transparent is white.
    """
    from PIL import ImageOps

    mode, (height, width) = "L" if channels == 1 else "RGB", size
    with _open(file) as image:
        image.draft(mode, (max(size), max(size)))  # a JPEG is decoded at 1/2, 1/4 or 1/8 of its size
        image.load()
        with contextlib.suppress(Exception):  # damaged EXIF data raises many types, and the pixels may be whole
            ImageOps.exif_transpose(image, in_place=True)
        fitted = _fit_image(_to_8_bits(image).convert(mode), (width, height), fit)
        return np.asarray(fitted).reshape(height, width, channels)


def fit_array(image: UInt8[np.ndarray, "h w c"], size: Size, fit: Fit) -> UInt8[np.ndarray, "k l c"]:
    """Returns an image of any number of channels in another size."""
    from PIL import Image

    if image.shape[:2] == size:
        return image
    target = (size[1], size[0])
    if image.shape[2] == 3:
        return np.asarray(_fit_image(Image.fromarray(image), target, fit))
    layers = [Image.fromarray(np.ascontiguousarray(image[..., i])) for i in range(image.shape[2])]
    return np.stack([np.asarray(_fit_image(layer, target, fit)) for layer in layers], -1)


def _open(file: File) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_FORMATS)


def _is_sideways(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except Exception:  # damaged EXIF data raises many types, and the pixels may be whole
        return False


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Returns a picture of 8 bits a channel on a white ground, in a mode that can be converted."""
    from PIL import Image

    if image.mode[0] in "IF":
        return Image.fromarray(_scale(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _scale(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Returns numbers of 16 or 32 bits, or floats from 0 to 1 or to 255, as pixels."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    is_float, is_16_bits = image.mode == "F", image.mode[:2] == "I;" or image.format == "PNG"
    if not (low >= 0 and high < (256 if is_float else 65536)):  # also NaN
        raise ValueError(f"numbers from {low:g} to {high:g}")
    whole = 65535 if is_16_bits or high > 255 else 1 if is_float and high <= 1 else 255
    return (values * (255 / whole)).round().astype(np.uint8)


def _fit_image(image: Image.Image, target: tuple[int, int], fit: Fit) -> Image.Image:
    """Returns a picture of a target's width and height."""
    from PIL import Image, ImageOps

    if fit == "stretch":
        return image.resize(target)
    if fit == "crop":
        return ImageOps.fit(image, target)
    # Not `ImageOps.pad`, of which a very thin picture has no pixels.
    ratio = min(target[0] / image.width, target[1] / image.height)
    inner = image.resize((max(1, round(image.width * ratio)), max(1, round(image.height * ratio))))
    canvas = Image.new(image.mode, target)
    canvas.paste(inner, ((target[0] - inner.width) // 2, (target[1] - inner.height) // 2))
    return canvas
