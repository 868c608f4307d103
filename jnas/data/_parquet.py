"""Parquet files with encoded pictures and labels, as Hugging Face writes them; DuckDB reads them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jnas._validation import first_line, shown
from jnas.data._files import printable, sample
from jnas.data._folders import Entry, walk
from jnas.data._listing import SPLITS, Listing, find_split
from jnas.data._reading import Pictures
from jnas.errors import JnasError

if TYPE_CHECKING:
    import duckdb

_ROWS = 128
_IMAGES = ("image", "img", "picture", "photo")
_LABELS = ("label", "labels", "fine_label", "class", "target", "category")
"""What columns are called, the usual name first."""


class _Columns(NamedTuple):
    """The columns of a picture and of its label as SQL, and the names of the classes where the file has them."""

    image: str
    label: str
    class_names: list[str] | None
    others: list[str]


def find_parquet(path: Path) -> list[Entry]:
    """Returns the Parquet files that a path is, or has below it."""
    if path.is_dir():
        return [entry for entry in walk(path) if entry.path.suffix.lower() == ".parquet"]
    status = path.stat()
    return [Entry(path.name, path, (status.st_size, status.st_mtime_ns))]


def list_parquet(path: Path, entries: Sequence[Entry]) -> Listing:
    """Returns the pictures of Parquet files; the names of files or of their folders say which part they are.

    Raises:
      JnasError: if they are no such files.
    """
    location, notes = printable(path), []
    splits = {entry: _split_of(entry.name) for entry in entries}
    if not any(splits.values()):
        splits = dict.fromkeys(entries, "train")
    if unknown := [entry.name for entry, split in splits.items() if split is None]:
        notes.append(f"Files that are no train, validation or test are left out: {sample(unknown)}.")
    columns: _Columns | None = None
    names: list[str] = []
    labels: list[Any] = []
    parts: list[str] = []
    used: list[Entry] = []
    for split in SPLITS:
        for entry in (one for one in entries if splits[one] == split):
            found = _find_columns(entry.path)
            if columns is not None and found[:3] != columns[:3]:
                raise JnasError(
                    f"The Parquet files of {location} must have the same columns, got others in {shown(entry.name)}."
                )
            columns = found
            values = [label for (label,) in _rows(entry.path, columns.label)]
            if all(value in (None, -1) for value in values):
                notes.append(f"{printable(entry.name)} has no labels and is left out.")
                continue
            used.append(entry)
            labels += values
            parts += [split] * len(values)
            names += [f"row {number:,} of {sample([entry.name])}" for number in range(1, len(values) + 1)]
    if columns is None or not used:
        raise JnasError(f"{location} must have pictures with labels, got none; name other Parquet files.")
    if columns.others:
        notes.append(f"Columns that are not used: {sample(columns.others)}.")
    expression = columns.image

    def files() -> Iterator[bytes]:
        for entry in used:
            for (content,) in _rows(entry.path, expression):
                yield content or b""

    stamp = [(entry.name, *entry.stamp) for entry in used]
    pictures = Pictures(names, files, ("parquet", str(path.resolve()), columns.image, stamp))
    name = printable(path.resolve().name or path)
    return Listing(name, pictures, labels, parts, columns.class_names, tuple(notes))


def _split_of(name: str) -> str | None:
    """Returns the part that the beginning of a file's name says, or one of its folders'."""
    path = Path(name)
    words = [re.split(r"[-_.]", path.stem)[0], *(part.removeprefix("partial-") for part in reversed(path.parts[:-1]))]
    return next((split for word in words if (split := find_split(word))), None)


def _find_columns(path: Path) -> _Columns:
    location = printable(path)
    with _connect(path) as connection:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        metadata = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    features = _features(dict(metadata))
    types = {name: kind for name, kind, *_ in described}
    images = {
        name: f"{_quote(name)}.bytes" if kind.startswith("STRUCT") else _quote(name)
        for name, kind in types.items()
        if kind == "BLOB" or (kind.startswith("STRUCT(") and "bytes BLOB" in kind)
    }
    labels = [name for name, kind in types.items() if name not in images and re.match(r"[A-Z]*INT|VARCHAR|BOOL", kind)]
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    classes = [name for name in labels if kinds.get(name) == "ClassLabel"]
    image = _choose(list(images), _IMAGES)
    label = _choose(classes, _LABELS) or next((name for name in _LABELS if name in labels), None)
    if image is None or label is None:
        raise JnasError(
            f"{location} must have a column image with the bytes of pictures, and a column label, got "
            f"{sample(f'{name} ({kind[:30]})' for name, kind in types.items())}; rename them, or write a CSV file."
        )
    names = features.get(label, {}).get("names") if isinstance(features.get(label), dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        names = None
    return _Columns(images[image], _quote(label), names, [name for name in types if name not in (image, label)])


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """Returns the types that Hugging Face writes beside the columns, if they are there."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _choose(found: Sequence[str], usual: Sequence[str]) -> str | None:
    """Returns the only name, or the first one of those that are usual."""
    return found[0] if len(found) == 1 else next((name for name in usual if name in found), None)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(path: Path, expression: str) -> Iterator[tuple]:
    """Yields the values of a column one after another, of which few are in memory at a time."""
    with _connect(path) as connection:
        connection.execute(f"SELECT {expression} FROM read_parquet(?)", [str(path)])
        while rows := connection.fetchmany(_ROWS):
            yield from rows


@contextlib.contextmanager
def _connect(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory; what it says of a file becomes a sentence."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            yield connection
    except (duckdb.Error, UnicodeError) as error:
        raise JnasError(
            f"{printable(path)} must be a Parquet file that can be read, got another ({first_line(error)}); write or "
            "copy it again."
        ) from error
