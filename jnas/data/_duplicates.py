"""Images that are in two parts of a data set, equal or nearly so."""

import numpy as np
from jaxtyping import Float

from jnas.data._dataset import Dataset

_SIDE = 8
"""Of the small grey picture that stands for an image."""
_LEAST_ALIKE, _LEAST_EQUAL = 0.95, 0.9
"""Correlation of the small pictures, and of all pixels, from which on two images are nearly equal."""
_NUM_RIVALS, _MOST_OF_RIVAL = 5, 0.3
"""The nearest image has at most this share of the distance of the one that comes so many places after it: else images
are alike by their kind, as digits are."""
_MOST_PAIRS = 1_000_000_000
"""That are compared, in a second or two; with more, some of the images are looked at."""
_CHUNK = 1024


def describe_duplicates(data: Dataset) -> str | None:
    """Returns in a sentence how many images occur more than once, equal or nearly so; None if none does."""
    train = _digests(data.x_train)
    seen = set(train)
    found = [f"{len(train) - len(seen):,} of {len(train):,} training images repeat others"] * (len(seen) < len(train))
    for part, images in (("validation", data.x_val), ("test", data.x_test)):
        if images is None or not len(images):
            continue
        is_equal = np.array([digest in seen for digest in _digests(images)])
        if count := int(is_equal.sum()):
            found.append(f"{count:,} of {len(images):,} {part} images are training images")
        count, looked_at = count_near_duplicates(data.x_train, images[~is_equal])
        if count:
            found.append(f"{count:,} of {looked_at:,} {part} images are nearly equal to one")
    if not found:
        return None
    return f"Equal images: {'; '.join(found)}. Accuracies on images that are trained on are too high."


def count_near_duplicates(train: np.ndarray, others: np.ndarray) -> tuple[int, int]:
    """Returns how many of some images `[N, H, W, C]` are nearly equal to a training image, and how many were looked at.

    They may differ in brightness, contrast, compression and a pixel of position. Where there are very many, an even
    selection is looked at.
    """
    others = others[:: max(1, -(-len(train) * len(others) // _MOST_PAIRS))]
    if len(train) <= _NUM_RIVALS or not len(others):
        return 0, len(others)
    known, shown, count = _thumbnails(train), _thumbnails(others), 0
    for start in range(0, len(shown), _CHUNK):
        alike = shown[start : start + _CHUNK] @ known.T
        nearest = alike.argmax(1)
        highest = alike[np.arange(len(alike)), nearest]
        rows = np.flatnonzero(highest >= _LEAST_ALIKE)
        rivals = np.partition(alike[rows], -1 - _NUM_RIVALS, 1)[:, -1 - _NUM_RIVALS]
        rows = rows[1 - highest[rows] <= _MOST_OF_RIVAL * (1 - rivals)]
        if not len(rows):
            continue
        count += int((_correlations(others[start + rows], train[nearest[rows]]) >= _LEAST_EQUAL).sum())
    return count, len(others)


def _thumbnails(images: np.ndarray) -> Float[np.ndarray, "n f"]:
    """Small grey pictures of images as vectors of mean 0 and length 1; of length 0 for images of one colour."""
    height, width, channels = images.shape[1:]
    rows, columns = _averaging(height), np.repeat(_averaging(width), channels, 1)
    parts = [np.zeros((0, len(rows) * len(columns)), np.float32)]
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].reshape(-1, height, width * channels).astype(np.float32)
        parts.append((rows @ part @ columns.T).reshape(len(part), -1))
    return _normalised(np.concatenate(parts))


def _averaging(side: int) -> Float[np.ndarray, "s side"]:
    """The matrix that adds up pixels in up to eight parts of a side."""
    count = min(side, _SIDE)
    return (np.arange(side) * count // side == np.arange(count)[:, None]).astype(np.float32)


def _correlations(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, " n"]:
    one, other = (_normalised(images.reshape(-1, images[0].size).astype(np.float32)) for images in (first, second))
    return (one * other).sum(1)


def _normalised(vectors: np.ndarray) -> Float[np.ndarray, "n f"]:
    vectors = vectors - vectors.mean(1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _digests(images: np.ndarray) -> list[int]:
    """Returns 64 bits of each image."""
    return [hash(image.tobytes()) for image in images]
