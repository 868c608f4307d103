"""A table of pictures: a CSV file with a path and a label a row, and which part of the data set it belongs to."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from jnas._validation import first_line
from jnas.data._files import printable, sample
from jnas.data._listing import SPLITS, Listing, find_split
from jnas.data._pictures import SUFFIXES
from jnas.data._reading import Pictures
from jnas.errors import JnasError

CSV_SUFFIXES = (".csv", ".tsv")
_COLUMNS = {
    "path": "path file filename file_name filepath file_path image image_path image_name image_file img name id",
    "label": "label labels class class_name category target y",
    "split": "split subset set partition part usage",
}
"""What a column is, and how it may be named; of several, the first one that is here."""


def list_csv(path: Path) -> Listing:
    """Returns the pictures of a table; their paths are relative to its folder.

    Raises:
      JnasError: if it is no such table.
    """
    location = printable(path)
    rows = _read_rows(path, location)
    columns, has_header = _find_columns(rows[0], location)
    notes = []
    if has_header and (others := [name for i, name in enumerate(rows[0]) if i not in columns.values()]):
        notes.append(f"Columns that are not used: {sample(others)}.")
    entries = []
    for number, row in enumerate(rows[has_header:], 1 + has_header):
        if len(row) <= max(columns.values()):
            raise JnasError(f"{location} must have {len(rows[0])} columns, got {len(row)} in row {number:,}; mend it.")
        name, label = row[columns["path"]].strip(), row[columns["label"]].strip()
        split = find_split(row[columns["split"]]) if "split" in columns else "train"
        if not name or not label or split is None:
            raise JnasError(
                f"{location} must have a path, a label and one of train, val and test in each row, got "
                f"{sample(row) or 'nothing'} in row {number:,}; mend it."
            )
        entries.append((split, name, label))
    if not entries:
        raise JnasError(f"{location} must have a row for each picture, got none; add some.")
    entries.sort(key=lambda entry: list(SPLITS).index(entry[0]))
    splits, names, labels = zip(*entries, strict=True)
    paths = [path.parent / _native(name) for name in names]
    stamp = [(name, *_stamp(one)) for name, one in zip(names, paths, strict=True)]
    pictures = Pictures(
        [sample([name]) for name in names], lambda: iter(paths), ("csv", str(path.parent.resolve()), stamp)
    )
    return Listing(printable(path.name), pictures, labels, splits, notes=tuple(notes))


def _read_rows(path: Path, location: str) -> list[list[str]]:
    """Returns the rows that are not empty; columns are apart by what is most frequent in the first line."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise JnasError(f"{location} must be a CSV file, got another ({first_line(error)}); write it again.") from error
    if not rows:
        raise JnasError(f"{location} must be a CSV file with the columns path and label, got an empty one.")
    return rows


def _find_columns(first: Sequence[str], location: str) -> tuple[dict[str, int], bool]:
    """Returns the places of the columns, and whether the first row names them."""
    names = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in first]
    found = {}
    for column, words in _COLUMNS.items():
        places = [names.index(word) for word in words.split() if word in names]
        if places:
            found[column] = places[0]
    if {"path", "label"} <= set(found):
        return found, True
    if len(first) in (2, 3) and Path(names[0]).suffix in SUFFIXES:  # without names: in this order
        return dict(zip(_COLUMNS, range(len(first)), strict=False)), False
    raise JnasError(
        f"{location} must be a CSV file with the columns path, label and, if there are parts, split, got "
        f"{sample(first)}; name the columns so in its first row."
    )


def _native(name: str) -> str:
    return name.replace("\\", "/") if os.sep == "/" else name


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):  # it is not there, which is told when it is read
        return -1, -1
    return status.st_size, status.st_mtime_ns
