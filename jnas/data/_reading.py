"""Many pictures as one array: read in parallel, counted, and kept on disk for the next time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8

from jnas._runtime.console import is_live, make_console, say
from jnas._runtime.devices import machine_memory, num_cores
from jnas._validation import first_line
from jnas.data._files import printable
from jnas.data._picture_cache import cache_path, load_cached, save_cached
from jnas.data._pictures import File, read_header, read_picture
from jnas.data._sizes import Fit, Size, default_size, describe_sizes
from jnas.errors import JnasError

T = TypeVar("T")

_MOST_BROKEN = 0.01
"""Share of pictures that may be damaged: they are left out, and told."""
_MANY = 500
"""Pictures from which on reading them takes long enough for a bar."""
_BATCH = 128
"""Pictures that threads are given at once; of those in tables, the files that are in memory."""


@dataclass(frozen=True)
class Pictures:
    """Pictures in order: for each its name in sentences, and `files()` yields where it is, or its bytes.

    `stamp` is another one where any of them may have changed.
    """

    names: Sequence[str]
    files: Callable[[], Iterator[File]]
    stamp: Any


class Reading(NamedTuple):
    """What was read: the images without the broken ones, which are the others, and sentences on both."""

    images: UInt8[np.ndarray, "n h w c"]
    is_good: Bool[np.ndarray, " m"]
    notes: tuple[str, ...]


def read_all(name: str, pictures: Pictures, size: Size | None, fit: Fit, progress: bool) -> Reading:
    """Returns pictures as one array, grey if all of them are; by default in a size that follows from theirs.

    Raises:
      JnasError: if there are none, more than 1 % of them are damaged, or they would not fit into memory.
    """
    path = cache_path((pictures.stamp, size, fit))
    if (stored := load_cached(path)) and {"images", "is_good", "notes"} <= set(stored):
        return Reading(stored["images"], stored["is_good"], tuple(map(str, stored["notes"])))
    reader = _Reader(name, pictures, progress)
    headers = reader.map(lambda file: read_header(file), "Looking at")
    good = [header for header in headers if header is not None]
    reader.check_broken()
    sizes = [header.size for header in good]
    note = describe_sizes(sizes, chosen := size or default_size(sizes), fit, size is None)
    shape = (*chosen, 1 if all(header.is_grey for header in good) else 3)
    check_memory(name, (len(pictures.names), *shape))
    images = np.zeros((len(pictures.names), *shape), np.uint8)
    reader.fill(images, fit)
    broken = reader.check_broken()
    is_good = np.array([index not in reader.reasons for index in range(len(images))])
    reading = Reading(_close_gaps(images, is_good), is_good, tuple(filter(None, (note, broken))))
    save_cached(path, {**reading._asdict(), "notes": np.array(reading.notes, str)})
    return reading


def read_files(files: Sequence[File], size: Size, channels: int, fit: Fit) -> tuple[np.ndarray, dict[int, str]]:
    """Returns pictures as `[N, H, W, channels]`, black where one cannot be read, and by its index why that is so."""
    reader = _Reader("", Pictures(list(map(str, range(len(files)))), lambda: iter(files), None), False)
    images = np.zeros((len(files), *size, channels), np.uint8)
    reader.fill(images, fit)
    return images, reader.reasons


def check_memory(name: str, shape: Sequence[int], item_bytes: int = 1) -> None:
    """Raises a JnasError where an array would take more memory than the machine has."""
    num_bytes, limit = item_bytes * int(np.prod(shape, dtype=object)), machine_memory()
    if num_bytes > limit:
        raise JnasError(
            f"The images of {name} must fit into the memory of this machine ({limit / 2**30:.1f} GiB), got "
            f"{' x '.join(f'{length:,}' for length in shape)} bytes ({num_bytes / 2**30:,.1f} GiB); give a smaller "
            "size, or fewer images."
        )


class _Reader:
    """Passes over pictures with threads: Pillow decodes outside of Python's lock. `reasons` are of the broken ones."""

    def __init__(self, name: str, pictures: Pictures, progress: bool) -> None:
        self.name, self.pictures = name, pictures
        self.reasons: dict[int, str] = {}
        self.progress = progress and len(pictures.names) >= _MANY

    def map(self, function: Callable[[File], T], title: str) -> list[T | None]:
        """Returns what a function has of each picture, None where it fails."""
        return list(self._track(self._results(function), title))

    def fill(self, images: UInt8[np.ndarray, "n h w c"], fit: Fit) -> None:
        """Reads all pictures into an array."""
        size, channels = (images.shape[1], images.shape[2]), images.shape[3]
        shape = " x ".join(map(str, images.shape[1:]))
        title = f"Reading as {shape} ({images.nbytes / 2**20:,.0f} MiB)"
        read = self._results(lambda file: read_picture(file, size, channels, fit))
        for place, image in enumerate(self._track(read, title)):
            if image is not None:
                images[place] = image

    def _results(self, function: Callable[[File], T]) -> Iterator[T | None]:
        def attempt(item: tuple[int, File]) -> T | None:
            try:
                return function(item[1])
            except Exception as error:  # of damaged files Pillow raises nearly every type
                self.reasons[item[0]] = _reason(error)
                return None

        files = enumerate(self.pictures.files())
        with warnings.catch_warnings(), ThreadPoolExecutor(num_cores()) as pool:
            warnings.simplefilter("ignore")  # of very large pictures, of odd EXIF data
            while batch := list(itertools.islice(files, _BATCH)):
                yield from pool.map(attempt, batch)

    def _track(self, results: Iterable[T], title: str) -> Iterable[T]:
        """Returns the results, and shows how far they are: a live bar, or a line where there is no terminal."""
        if not self.progress:
            return results
        console, total = make_console(), len(self.pictures.names)
        if not is_live(console):
            say(console, f"{title}: {total:,} pictures of {self.name}.")
            return results
        from rich.progress import track

        return track(results, title, total, console=console, transient=True)

    def check_broken(self) -> str | None:
        """Returns which pictures are left out, in a sentence; raises a JnasError where these are too many."""
        count, total = len(self.reasons), len(self.pictures.names)
        if not count:
            return None
        first = [f"{self.pictures.names[index]} ({self.reasons[index]})" for index in sorted(self.reasons)[:2]]
        some = ", ".join(first) + (f" and {count - 2:,} more" if count > 2 else "")
        if count > _MOST_BROKEN * total:
            raise JnasError(
                f"The pictures of {self.name} must be readable, all but 1 %, got {count:,} of {total:,} that are not: "
                f"{some}; remove or replace them."
            )
        return f"Of {total:,} pictures {count:,} cannot be read and {'is' if count == 1 else 'are'} left out: {some}."


def _reason(error: Exception) -> str:
    """Returns why a picture cannot be read, in a few words."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "no picture"
    if isinstance(error, FileNotFoundError):
        return "not there"
    text = printable(first_line(error))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _close_gaps(images: UInt8[np.ndarray, "n h w c"], is_good: Bool[np.ndarray, " n"]) -> np.ndarray:
    """Returns the good images, moved within their array, which may be too large for a copy."""
    good = np.flatnonzero(is_good)
    for place, index in enumerate(good):
        if place != index:
            images[place] = images[index]
    return images[: len(good)]
