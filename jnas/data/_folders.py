"""A folder of pictures: a sub-folder a class, or that under train, val and test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jnas.data._files import printable, sample
from jnas.data._listing import Listing, find_split
from jnas.data._numbering import sort_names
from jnas.data._pictures import SUFFIXES
from jnas.data._reading import Pictures
from jnas.errors import JnasError

_OF_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx"}
"""What systems put into folders, in lower case; names that begin with a dot are not shown by them either."""


class Entry(NamedTuple):
    """A file below a folder: its path within it, where it is, and what changes with its content."""

    name: str
    path: Path
    stamp: tuple[int, int]


def list_folder(folder: Path) -> Listing:
    """Returns the pictures of a folder, those of training first; the classes are the names of their folders.

    Raises:
      JnasError: if it has no pictures, or not in a folder a class.
    """
    root, location = _descend(folder), printable(folder)
    roots = _find_splits(root, location)
    files, labels, splits, loose, others = [], [], [], [], []
    empty: list[str] = []
    for split, top in roots.items():
        for entry in walk(top):
            name = Path(entry.name)
            if name.suffix.lower() not in SUFFIXES:
                others.append(entry.name)
            elif len(name.parts) == 1:
                loose.append(entry.name)
            else:
                files.append(entry)
                labels.append(printable(name.parts[0]))
                splits.append(split)
        if split == "train":
            empty = sort_names({printable(path.name) for path in _subfolders(top)}.difference(labels))
    if not files:
        got = (
            f"{len(loose):,} pictures outside of such folders" if loose else f"none (but {sample(others) or 'no file'})"
        )
        raise JnasError(
            f"{location} must hold pictures in a sub-folder a class, such as cat/1.jpg, or train/cat/1.jpg and "
            f"val/cat/2.jpg, got {got}; put them so, or list them in a CSV file with the columns path and label."
        )
    notes = []
    for what, names in (("outside of the folders of classes", loose), ("no pictures", others)):
        if names:
            notes.append(f"Left out, as {what}: {sample(names)}.")
    if empty:
        notes.append(f"Folders without pictures: {sample(empty)}.")
    names = [printable(entry.path.relative_to(folder)) for entry in files]
    paths, stamp = [entry.path for entry in files], [(entry.name, *entry.stamp) for entry in files]
    pictures = Pictures(names, lambda: iter(paths), ("folder", str(root.resolve()), stamp))
    return Listing(printable(folder.resolve().name or folder), pictures, labels, splits, notes=tuple(notes))


def walk(folder: Path) -> Iterator[Entry]:
    """Yields the files below a folder in the order of their names; those that systems hide are left out."""
    stack, seen = [("", folder)], set()
    while stack:
        prefix, path = stack.pop()
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            visible = sorted((entry for entry in entries if _is_visible(entry.name)), key=lambda entry: entry.name)
        for entry in visible:
            if entry.is_file():
                status = entry.stat()
                yield Entry(prefix + entry.name, Path(entry.path), (status.st_size, status.st_mtime_ns))
        folders = [(f"{prefix}{entry.name}/", Path(entry.path)) for entry in visible if entry.is_dir()]
        stack += reversed(folders)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def _descend(folder: Path) -> Path:
    """Returns the folder, or the only one in it that has folders, as archives often unpack."""
    while len(inner := _subfolders(folder)) == 1 and _subfolders(inner[0]):
        if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir()):
            break
        folder = inner[0]
    return folder


def _find_splits(root: Path, location: str) -> dict[str, Path]:
    """Returns the folders of training, validation and test images, in this order; all in one for training."""
    folders = _subfolders(root)
    named = [(split, path) for path in folders if (split := find_split(path.name))]
    if not any(split == "train" and _subfolders(path) for split, path in named):  # a class may be called train
        return {"train": root}
    for split, path in named:
        if twice := [other for name, other in named if name == split and other != path]:
            raise JnasError(
                f"{location} must have one folder of each part, got {path.name} and {twice[0].name}; leave one out."
            )
    others = [path for path in folders if not find_split(path.name)]
    for path in others:
        if any(Path(entry.name).suffix.lower() in SUFFIXES for entry in walk(path)):
            raise JnasError(
                f"{location} must have pictures in train, val and test only, got some in {printable(path.name)} as "
                "well; move that folder away, or into one of these."
            )
    found = dict(named)
    return {split: found[split] for split in ("train", "val", "test") if split in found}
