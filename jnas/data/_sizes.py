"""The size of images: as a user writes it, and as it follows from pictures of several sizes."""

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jnas._validation import refuse, to_choice, to_int, to_tuple
from jnas.errors import JnasError

Fit = Literal["crop", "pad", "stretch"]
"""How a picture comes to another shape: what is too much is cut off, black is added, or it is distorted."""
Size = tuple[int, int]
"""Height and width in pixels."""

_LARGEST = 4096
_DEFAULT_LARGEST = 64
"""Pixels of the height and of the width, at most, where nothing is said: small networks see enough by then."""


def to_size(name: str, value: Any) -> Size:
    """Returns `(height, width)` of 32, "32", "48x64" or (48, 64)."""
    condition = f"pixels from 1 to {_LARGEST:,}, such as 32, or height x width, such as 48x64"
    parts = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[xX*]\s*(\d{1,9}))?\s*", value)
        parts = (match[1], match[2] or match[1]) if match else ()
        parts = tuple(map(int, parts))
    try:
        is_number = not isinstance(parts, Sequence) and not getattr(parts, "ndim", 0)
        height, width = (parts, parts) if is_number else to_tuple(name, parts, condition, 2)
        return to_int(name, height, 1, _LARGEST), to_int(name, width, 1, _LARGEST)
    except JnasError:
        refuse(name, condition, value)


def to_fit(name: str, value: Any) -> Fit:
    """Returns how pictures come to another shape: "crop", "pad" or "stretch"."""
    return to_choice(name, value, get_args(Fit))


def size_text(size: Size) -> str:
    """Returns a size as it is written on the command line, such as "48x64"."""
    return f"{size[0]}x{size[1]}"


def default_size(sizes: Sequence[Size]) -> Size:
    """Returns the median height and the median width, of at most 64 pixels each."""
    height, width = np.median(np.asarray(sizes), axis=0)
    return min(_DEFAULT_LARGEST, int(height)), min(_DEFAULT_LARGEST, int(width))


def describe_sizes(sizes: Sequence[Size], size: Size, fit: Fit, is_default: bool) -> str | None:
    """Returns what was done to pictures of these sizes, in a sentence; None if they all had that size."""
    smallest, largest = (np.asarray(sizes).min(0), np.asarray(sizes).max(0)) if len(sizes) else (size, size)
    if tuple(smallest) == tuple(largest) == size:
        return None
    before = f"{smallest[0]} x {smallest[1]}"
    if tuple(smallest) != tuple(largest):
        before = f"from {before} to {largest[0]} x {largest[1]}"
    how = {"crop": ", the middle of each", "pad": ", each with black borders", "stretch": ", each stretched"}[fit]
    if all(height * size[1] == width * size[0] for height, width in sizes):
        how = ""
    advice = "; size (--size) and fit (--fit) change that" if is_default else ""
    return f"The pictures, {before} (height x width), are read as {size[0]} x {size[1]}{how}{advice}."
