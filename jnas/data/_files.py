"""Paths and files in sentences: what a file is, by its first bytes, if it is no .npz file."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from jnas._validation import kind_of_file

_CONVERT = "give a folder with a sub-folder a class, or save arrays of images and labels with numpy.savez"
_READERS = {"an HDF5 file": " (h5py reads it)", "a MATLAB file": " (scipy.io.loadmat reads it)"}


def printable(path: str | Path) -> str:
    """Returns a path as text of at most 200 characters; bytes that are not UTF-8, and what ends a line, as \\xff."""
    try:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, which no file system writes
        text = os.fspath(path).encode("utf-8", "backslashreplace").decode()
    text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def describe_file(path: Path) -> str | None:
    """Returns what a file is and what to do; None if it is an .npz file, whole or not."""
    with path.open("rb") as file:
        first = file.read(1024)
    if first[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _describe_zip(path)
    kind = kind_of_file(first)
    if kind == "a NumPy file":
        return f"{kind} of a single array; save images and labels together with numpy.savez"
    return f"{kind}; {_CONVERT}{_READERS.get(kind, '')}"


def _describe_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "a zip file that is cut off or damaged; write or copy it again"
    if not names:
        return f"an empty zip file; {_CONVERT}"
    others = [name for name in names if not name.endswith(".npy")]
    if len(others) == len(names):
        shown = " ".join(others[0].split())[:60]
        return f"a zip file of {len(names):,} other files, such as {shown}; {_CONVERT}"
    return None


def sample(names: Iterable[str]) -> str:
    """Returns the first three names for a sentence, none of them long, and how many there are beside them."""
    found = [printable(name) for name in names]
    some = [name if len(name) <= 40 else f"...{name[-37:]}" for name in found[:3]]
    return ", ".join(some) + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")
