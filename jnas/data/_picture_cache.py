"""Pictures that were read, as one array on disk, so that the next run has them in moments.

A cache only: what cannot be written or read is read from the pictures again.
"""

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jnas._runtime.compilation_cache import MAX_PICTURE_CACHE_BYTES, cache_dir, remove_oldest

_VERSION = 2
"""Of what is written, and of how pictures are decoded and resized."""


def cache_path(key: Any) -> Path | None:
    """Returns the file of what `repr` of a key stands for; None where there is no cache."""
    folder = cache_dir("pictures")
    digest = hashlib.sha256(repr((_VERSION, key)).encode("utf-8", "surrogatepass")).hexdigest()
    return folder and folder / f"{digest[:32]}.npz"


def load_cached(path: Path | None) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file, which is used now; None if there is none, or it is damaged."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        os.utime(path)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError):
        return None
    return arrays


def save_cached(path: Path | None, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays, and removes those that were used the longest time ago where the cache is too large."""
    num_bytes = sum(array.nbytes for array in arrays.values())
    if path is None or num_bytes > MAX_PICTURE_CACHE_BYTES:
        return
    with contextlib.suppress(OSError):  # no room, or no right to write there
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as folder:  # gone also if the disk is full
            file = Path(folder) / path.name
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            os.replace(file, path)
        remove_oldest(path.parent, MAX_PICTURE_CACHE_BYTES)
