"""A row of a genome as one 16-bit number, and what follows from it in one table.

Everything that is done to thousands of genomes at once is bound by memory: a packed row is moved in one piece, and one
lookup tells its sizes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.space import _layers as lt
from jnas.space._genome import CARDINALITY, COLUMNS, IS_WINDOW, KERNEL, KIND, PADDING, STRIDE, VALUES, WIDTH

_BITS = (4, 5, 3, 2, 1, 1)  # of each column: what its largest index takes
SHIFTS = tuple(int(n) for n in np.cumsum((0, *_BITS[:-1])))
_MASKS = tuple((1 << bits) - 1 for bits in _BITS)


def pack(genomes: jax.Array) -> jax.Array:
    """`[..., 6]` int8 to `[...]` uint32: 0 for an unused row. Indices too large for their column are cut."""
    wide = genomes.astype(jnp.uint32) & jnp.array(_MASKS, jnp.uint32)
    return (wide << jnp.array(SHIFTS, jnp.uint32)).sum(-1, dtype=jnp.uint32)


def unpack(rows: jax.Array) -> jax.Array:
    """`[...]` packed rows to `[..., 6]` int8."""
    return ((rows[..., None] >> jnp.array(SHIFTS, jnp.uint32)) & jnp.array(_MASKS, jnp.uint32)).astype(jnp.int8)


def kind(rows: jax.Array) -> jax.Array:
    """The KIND of packed rows."""
    return rows & _MASKS[KIND]


def in_columns(genomes: jax.Array) -> jax.Array:
    """Which rows `[..., 6]` pack without a loss: `[...]` bool."""
    return ((genomes & ~jnp.array(_MASKS, jnp.int8)) == 0).all(-1)


class Meaning(NamedTuple):
    """What packed rows `[...]` are; int32 where nothing else is said.

    Attributes:
      kind: as in the genome.
      known: bool, the parameters are among the type's own.
      width: output channels or features; of PReLU whether there is a slope a channel. kernel, stride, pad: of its
        window; 1, 1 and 0 where it has none.
      takes: 1 maps only, 0 vectors only, 2 both.
    """

    kind: jax.Array
    known: jax.Array
    width: jax.Array
    kernel: jax.Array
    stride: jax.Array
    pad: jax.Array
    takes: jax.Array


def _table() -> np.ndarray:
    table = np.zeros(1 << sum(_BITS), np.uint32)
    takes = [2, *(2 if cls.spatial is None else int(cls.spatial) for cls in lt.LAYER_TYPES)]
    for number, choices in enumerate(CARDINALITY):
        for indices in itertools.product(*(range(n) for n in choices[1:])):
            row = (number, *indices)
            value = dict(enumerate(VALUES[number, range(COLUMNS), row].tolist()))
            kernel, stride, pad = (value[KERNEL], value[STRIDE], value[KERNEL] // 2 * value[PADDING])
            if not IS_WINDOW[number]:
                kernel, stride, pad = 1, 1, 0
            fields = (1, value[WIDTH], kernel, stride, pad, takes[number])
            code = sum(int(index) << shift for index, shift in zip(row, SHIFTS, strict=True))
            table[code] = sum(int(field) << shift for field, shift in zip(fields, _FIELD_SHIFTS, strict=True))
    return table


_FIELD_BITS = (1, 13, 3, 3, 2, 2)  # known, width, kernel, stride, pad, takes
_FIELD_SHIFTS = tuple(int(n) for n in np.cumsum((0, *_FIELD_BITS[:-1])))
_TABLE = _table()


def meaning(rows: jax.Array) -> Meaning:
    """What packed rows are."""
    code = rows.astype(jnp.int32)
    found = jnp.asarray(_TABLE).at[code].get(mode="promise_in_bounds").astype(jnp.int32)
    known, *sizes = (
        (found >> shift) & ((1 << bits) - 1) for shift, bits in zip(_FIELD_SHIFTS, _FIELD_BITS, strict=True)
    )
    return Meaning(code & _MASKS[KIND], known == 1, *sizes)


def compact(rows: jax.Array) -> jax.Array:
    """Moves the zeros of packed rows `[L]` to the end, keeping the others' order.

    One sort of plain numbers, each row below its place: several times as fast as a sort with a comparison of its own.
    """
    place = jnp.arange(len(rows), dtype=jnp.uint32) << 16
    return jnp.sort(jnp.where(rows != 0, place | rows, jnp.uint32(0xFFFF0000))) & 0xFFFF
