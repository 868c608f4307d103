"""A row of a genome as one 16-bit number, and a table that decodes it.

Work on thousands of genomes is bound by memory traffic: a packed row is moved in one piece, and one lookup gives all of
its sizes.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8, UInt32

from jnas.space._genome import KERNEL, LAYER_TYPE, NUM_FIELDS, NUM_VALUES, PADDING, STRIDE, VALUES, WIDTH
from jnas.space._layers import LAYER_TYPES, LayerTemplate, WindowedLayer

_BITS = (4, 5, 3, 2, 1, 1)  # per field: what its largest index takes
SHIFTS = tuple(int(n) for n in np.cumsum((0, *_BITS[:-1])))
_MASKS = tuple((1 << bits) - 1 for bits in _BITS)


def pack(genomes: Int8[Array | np.ndarray, "*n 6"]) -> UInt32[Array, "*n"]:
    """Returns rows as numbers, 0 for an unused row; indices that are too large for their field lose their high bits."""
    fields = jnp.asarray(genomes).astype(jnp.uint32) & jnp.array(_MASKS, jnp.uint32)
    return (fields << jnp.array(SHIFTS, jnp.uint32)).sum(-1, dtype=jnp.uint32)


def unpack(rows: UInt32[Array, "*n"]) -> Int8[Array, "*n 6"]:
    """Returns the rows that `pack` packed."""
    return ((rows[..., None] >> jnp.array(SHIFTS, jnp.uint32)) & jnp.array(_MASKS, jnp.uint32)).astype(jnp.int8)


def layer_types(rows: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """Returns the LAYER_TYPE of packed rows."""
    return rows & _MASKS[LAYER_TYPE]


class DecodedRow(NamedTuple):
    """The contents of packed rows, int32 but for `is_valid`."""

    layer_type: jax.Array  # as in the genome
    is_valid: jax.Array  # bool, whether the parameters are among the type's own
    width: jax.Array  # output channels or features; of PReLU whether there is a slope per channel
    kernel: jax.Array  # pixels of the window on a side; 1 for layers without a window
    stride: jax.Array  # 1 for layers without a window
    pad: jax.Array  # pixels of padding on each side
    input_rank: jax.Array  # 3 for maps only, 1 for vectors only, 0 for both


_ENTRY_BITS = (1, 13, 3, 3, 2, 2)  # is_valid, width, kernel, stride, pad, input_rank
_ENTRY_SHIFTS = tuple(int(n) for n in np.cumsum((0, *_ENTRY_BITS[:-1])))


def _decoding_table() -> np.ndarray:
    table = np.zeros(1 << sum(_BITS), np.uint32)
    for type_id, (cls, num_values) in enumerate(zip((LayerTemplate, *LAYER_TYPES), NUM_VALUES, strict=True)):
        for indices in itertools.product(*(range(n) for n in num_values[1:])):
            row = (type_id, *indices)
            value = VALUES[type_id, range(NUM_FIELDS), row].astype(int)  # slopes and rates change no shapes
            kernel, stride, pad = 1, 1, 0
            if issubclass(cls, WindowedLayer):
                kernel, stride, pad = value[KERNEL], value[STRIDE], value[KERNEL] // 2 * value[PADDING]
            entry = (1, value[WIDTH], kernel, stride, pad, cls.input_rank or 0)
            code = sum(int(index) << shift for index, shift in zip(row, SHIFTS, strict=True))
            table[code] = sum(int(part) << shift for part, shift in zip(entry, _ENTRY_SHIFTS, strict=True))
    return table


_TABLE = _decoding_table()


def decode(rows: UInt32[Array, "*n"]) -> DecodedRow:
    """Returns the contents of packed rows."""
    codes = rows.astype(jnp.int32)
    entries = jnp.asarray(_TABLE).at[codes].get(mode="promise_in_bounds").astype(jnp.int32)
    is_valid, *sizes = (
        (entries >> shift) & ((1 << bits) - 1) for shift, bits in zip(_ENTRY_SHIFTS, _ENTRY_BITS, strict=True)
    )
    return DecodedRow(codes & _MASKS[LAYER_TYPE], is_valid == 1, *sizes)


def left_align(rows: UInt32[Array, " l"]) -> UInt32[Array, " l"]:
    """Returns packed rows with the unused ones moved to the end; the order of the others stays.

    One sort of plain numbers, each with its index in the upper bits: several times as fast as a sort by a comparison.
    """
    index = jnp.arange(len(rows), dtype=jnp.uint32) << 16
    return jnp.sort(jnp.where(rows != 0, index | rows, jnp.uint32(0xFFFF0000))) & 0xFFFF
