"""A layer as a 32-bit vector, and a sequence of vectors as a hash.

Twelve bits tell the type (one-hot, in the order of `LAYER_TYPES`); then each parameter takes as many bits as it has
values (one-hot, in order); zeros fill the rest. This is the encoding of Sophius, bit for bit, so that its tables of
runs can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jnas.errors import JnasError
from jnas.space._layers import LAYER_TYPES, LayerTemplate

BITS = 32
DIGITS = BITS // 4


def layer_to_word(layer: LayerTemplate) -> int:
    """The 32 bits of one layer as an integer, the vector's first element as its highest bit."""
    offset = len(LAYER_TYPES)
    positions = [LAYER_TYPES.index(type(layer))]
    for name, values in layer.ranges():
        value = getattr(layer, name)
        if value not in values:
            allowed = ", ".join(map(str, values))
            raise JnasError(f"{type(layer).__name__} {name}={value} has no bits: only {allowed} can be encoded.")
        positions.append(offset + values.index(value))
        offset += len(values)
    return sum(1 << (BITS - 1 - position) for position in positions)


def _all_layers() -> list[LayerTemplate]:
    """Every layer template that has a vector."""

    def combinations(names_and_values):
        if not names_and_values:
            yield {}
            return
        (name, values), *rest = names_and_values
        for value in values:
            for others in combinations(rest):
                yield {name: value, **others}

    return [cls(**kwargs) for cls in LAYER_TYPES for kwargs in combinations(list(cls.ranges()))]


_LAYER_OF_WORD = {layer_to_word(layer): layer for layer in _all_layers()}


def layers_to_vectors(layers: Sequence[LayerTemplate]) -> np.ndarray:
    """`[T, 32]` uint8 of zeros and ones for T layers."""
    words = np.array([layer_to_word(layer) for layer in layers], dtype=np.uint32)
    return words_to_vectors(words)


def words_to_vectors(words: np.ndarray) -> np.ndarray:
    """`[..., T]` uint32 to `[..., T, 32]` uint8 of zeros and ones."""
    shifts = np.arange(BITS - 1, -1, -1, dtype=np.uint32)
    return ((words[..., None] >> shifts) & 1).astype(np.uint8)


def vectors_to_hash(vectors: np.ndarray) -> str:
    """`[T, 32]` zeros and ones to 8 T hex digits."""
    return np.packbits(np.asarray(vectors, np.uint8), axis=-1).tobytes().hex()


def layers_from_hash(hash: str) -> tuple[LayerTemplate, ...]:
    """The layers that `hash` spells, the last Linear not among them.

    Raises:
      JnasError: `hash` is not a string of 8 hex digits a layer, or some 8 digits are no layer.
    """
    if not isinstance(hash, str) or not hash or len(hash) % DIGITS:
        shown = hash if not isinstance(hash, str) or len(hash) <= 40 else hash[:40] + "..."
        raise JnasError(f"{shown!r} is not a hash: give 8 hex digits for each layer, as Template.hash prints them.")
    layers = []
    for start in range(0, len(hash), DIGITS):
        digits = hash[start : start + DIGITS]
        # int() also takes signs, blanks, underscores and other scripts' digits; a hash has none of these
        word = int(digits, 16) if set(digits) <= set("0123456789abcdefABCDEF") else None
        if word not in _LAYER_OF_WORD:
            raise JnasError(
                f"{digits!r}, digits {start + 1} to {start + DIGITS} of the hash, encodes no layer: copy the whole "
                "hash as Template.hash prints it."
            )
        layers.append(_LAYER_OF_WORD[word])
    return tuple(layers)
