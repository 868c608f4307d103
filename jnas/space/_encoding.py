"""A layer as a 32-bit vector, and a sequence of vectors as a hash.

Twelve bits are one-hot for the type, in the order of `LAYER_TYPES`. Each parameter follows with as many bits as it has
values, one-hot and in order. Zeros fill the rest. This is the encoding of Sophius, bit for bit, so that its tables of
runs can be read.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jnas._validation import refuse
from jnas.errors import JnasError
from jnas.space._layers import LAYER_TYPES, LayerTemplate

BITS_PER_LAYER = 32
HEX_DIGITS_PER_LAYER = BITS_PER_LAYER // 4


def layer_to_uint32(layer: LayerTemplate) -> int:
    """Returns the 32 bits of a layer, the first one highest; a value without a bit (`Linear(100)`) is a `JnasError`."""
    offset = len(LAYER_TYPES)
    positions = [LAYER_TYPES.index(type(layer))]
    for name, values in layer.parameter_values().items():
        value = getattr(layer, name)
        if value not in values:
            allowed = ", ".join(map(str, values))
            raise JnasError(f"{type(layer).__name__} {name} must be one of {allowed} to be encoded, got {value}.")
        positions.append(offset + values.index(value))
        offset += len(values)
    return sum(1 << (BITS_PER_LAYER - 1 - position) for position in positions)


_LAYER_BY_UINT32 = {
    layer_to_uint32(layer): layer
    for cls in LAYER_TYPES
    for layer in (cls(*values) for values in itertools.product(*cls.parameter_values().values()))
}


def layers_to_vectors(layers: Sequence[LayerTemplate]) -> UInt8[np.ndarray, "t 32"]:
    """Returns the bit vectors of layers, as zeros and ones; raises as `layer_to_uint32` does."""
    numbers = np.array([layer_to_uint32(layer) for layer in layers], dtype=np.uint32)
    shifts = np.arange(BITS_PER_LAYER - 1, -1, -1, dtype=np.uint32)
    return ((numbers[..., None] >> shifts) & 1).astype(np.uint8)


def layers_from_hash(arch_hash: str) -> tuple[LayerTemplate, ...]:
    """Returns the layers that a hash spells, without the last Linear; raises a `JnasError` if it is no hash."""
    if not arch_hash or len(arch_hash) % HEX_DIGITS_PER_LAYER:
        refuse("hash", "8 hex digits per layer", arch_hash, "copy the whole hash as Template.hash prints it")
    layers = []
    for start in range(0, len(arch_hash), HEX_DIGITS_PER_LAYER):
        digits = arch_hash[start : start + HEX_DIGITS_PER_LAYER]
        # int() also accepts signs, blanks, underscores and the digits of other scripts.
        number = int(digits, 16) if set(digits) <= set("0123456789abcdefABCDEF") else None
        if number not in _LAYER_BY_UINT32:
            raise JnasError(
                f"hash must encode a layer with each 8 digits, got {digits!r} as digits {start + 1} to "
                f"{start + HEX_DIGITS_PER_LAYER}; copy the whole hash as Template.hash prints it."
            )
        layers.append(_LAYER_BY_UINT32[number])
    return tuple(layers)
