"""Rows in parts of few shapes, so that few programs are compiled, and short sequences need few steps."""

from collections.abc import Iterator

import numpy as np

CHUNK_ROWS = 1024
LENGTH_BUCKET = 8


def chunks(sequences: np.ndarray, lengths: np.ndarray, early: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields `(rows, sequences, lengths, early)` of rows of similar length; `rows` are their `[n]` indices.

    The arrays are filled up to a size and a number of steps of which there are few: only the first n of them count.
    """
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), CHUNK_ROWS):
        rows = order[start : start + CHUNK_ROWS]
        steps = bucket(lengths[rows], sequences.shape[1])
        padding = [(0, min(CHUNK_ROWS, round_up(len(order))) - len(rows))]
        yield (
            rows,
            np.pad(sequences[rows, :steps], [*padding, (0, 0), (0, 0)]),
            np.pad(lengths[rows], padding, constant_values=1),
            np.pad(early[rows], [*padding, (0, 0)], constant_values=np.nan),
        )


def round_up(count: int) -> int:
    """Returns the next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def bucket(lengths: np.ndarray, max_steps: int) -> int:
    """Returns the steps of the longest sequence, rounded up to a multiple of 8, at most `max_steps`."""
    return min(max_steps, -(-int(lengths.max(initial=1)) // LENGTH_BUCKET) * LENGTH_BUCKET)
