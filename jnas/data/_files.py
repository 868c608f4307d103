"""Paths and files in sentences: what a file is, by its first bytes, if it is no .npz file."""

import os
import zipfile
from pathlib import Path

_CONVERT = "read the images into arrays and save them with numpy.savez"
_SIGNATURES = {
    b"\x93NUMPY": "a single array; save images and labels together with numpy.savez",
    b"\x89HDF\r\n": f"an HDF5 file; {_CONVERT} (h5py reads it)",
    b"MATLAB 5.0": f"a MATLAB file; {_CONVERT} (scipy.io.loadmat reads it)",
    b"\x89PNG": f"one picture; {_CONVERT}",
    b"\xff\xd8\xff": f"one picture; {_CONVERT}",
    b"GIF8": f"one picture; {_CONVERT}",
    b"BM": f"one picture; {_CONVERT}",
    b"RIFF": f"one picture; {_CONVERT}",
    b"II*\0": f"one picture; {_CONVERT}",
    b"MM\0*": f"one picture; {_CONVERT}",
    b"\x1f\x8b": f"a gzip file; {_CONVERT}",
    b"PAR1": f"a Parquet file; {_CONVERT}",
    b"SQLite format 3": f"a SQLite file; {_CONVERT}",
    b"%PDF": f"a PDF; {_CONVERT}",
    # Python's own format of any objects. Its name is left out: reading it runs what is in it.
    **{bytes((0x80, version)): f"a file of Python objects; {_CONVERT}" for version in range(2, 6)},
}


def printable(path: str | Path) -> str:
    """Returns a path as text of at most 200 characters; bytes that are not UTF-8 as \\xff."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return text if len(text) <= 200 else f"{text[:197]}..."


def describe_file(path: Path) -> str | None:
    """Returns what a file is and what to do; None if it is an .npz file, whole or not."""
    with path.open("rb") as file:
        first = file.read(1024)
    if first[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _describe_zip(path)
    if not first:
        return f"an empty file; {_CONVERT}"
    for signature, what in _SIGNATURES.items():
        if first.startswith(signature):
            return what
    if b"\0" in first:
        return f"a file of another kind; {_CONVERT}"
    return f"{'a table as text' if path.suffix.lower() in ('.csv', '.tsv') else 'text'}; {_CONVERT}"


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
