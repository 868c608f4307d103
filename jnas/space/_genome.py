"""The same architecture as a fixed-size array of small integers, for work on thousands at once.

A genome is `[L, 6]` int8, one row a layer, unused rows (all zero) at the end. A row's columns are

    KIND       0 for an unused row, else 1 + the place of the type in `LAYER_TYPES`
    WIDTH      index of out_channels, out_features, negative_slope, all_channels or p
    KERNEL     index of kernel_size
    STRIDE     index of stride
    PADDING    index of padding
    COUNT_PAD  index of count_include_pad

Columns that a type has no use for are zero. The last Linear is not in the genome, as it is not in the hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.space._encoding import BITS
from jnas.space._layers import LAYER_TYPES, Linear, Window
from jnas.space._template import Template

KIND, WIDTH, KERNEL, STRIDE, PADDING, COUNT_PAD = range(6)
COLUMNS = 6

COLUMN_OF_PARAMETER = {
    "out_features": WIDTH,
    "out_channels": WIDTH,
    "negative_slope": WIDTH,
    "all_channels": WIDTH,
    "p": WIDTH,
    "kernel_size": KERNEL,
    "stride": STRIDE,
    "padding": PADDING,
    "count_include_pad": COUNT_PAD,
}


def kind_of(cls: type) -> int:
    """The KIND of a layer type."""
    return 1 + LAYER_TYPES.index(cls)


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kinds = 1 + len(LAYER_TYPES)
    cardinality = np.ones((kinds, COLUMNS), np.int32)  # unused parameters can only be 0
    cardinality[:, KIND] = kinds
    values = np.zeros((kinds, COLUMNS, 19), np.int32)
    first_bit = np.full((kinds, COLUMNS), BITS, np.int32)  # a bit past the last: unused parameters set none
    for kind, cls in enumerate(LAYER_TYPES, start=1):
        first_bit[kind, KIND] = -1  # KIND counts from 1
        bit = len(LAYER_TYPES)
        for name, choices in cls.ranges():
            column = COLUMN_OF_PARAMETER[name]
            cardinality[kind, column] = len(choices)
            first_bit[kind, column] = bit
            bit += len(choices)
            if not isinstance(choices[0], float):  # slopes and rates change no shape and no cost
                values[kind, column, : len(choices)] = choices
    return cardinality, values, first_bit


CARDINALITY, VALUES, _FIRST_BIT = _tables()
"""`CARDINALITY[kind, column]`: number of values. `VALUES[kind, column, index]`: the value itself, where an integer."""

IS_WINDOW = np.array([False, *(issubclass(cls, Window) for cls in LAYER_TYPES)])
"""Whether a KIND has a window, stride and padding."""


def to_genome(template: Template, length: int) -> np.ndarray:
    """The genome `[length, 6]` int8 of a template.

    Raises:
      JnasError: the template has more layers than `length`, or a parameter outside the space.
    """
    layers = template.layers[:-1]
    if len(layers) > length:
        raise JnasError(f"The template has {len(layers)} layers before its last Linear, the space {length} at most.")
    template.vectors  # noqa: B018  raises where a parameter has no bits, and so no index
    genome = np.zeros((length, COLUMNS), np.int8)
    for row, layer in zip(genome, layers, strict=False):
        row[KIND] = kind_of(type(layer))
        for name, values in layer.ranges():
            row[COLUMN_OF_PARAMETER[name]] = values.index(getattr(layer, name))
    return genome


def to_genomes(templates: Iterable[Template], length: int) -> np.ndarray:
    """`to_genome` of each: `[N, length, 6]` int8."""
    genomes = [to_genome(template, length) for template in templates]
    return np.stack(genomes) if genomes else np.zeros((0, length, COLUMNS), np.int8)


def from_genome(genome: np.ndarray, in_shape: Sequence[int] = (3, 32, 32), classes: int = 10) -> Template:
    """The template of a genome `[L, 6]`.

    Raises:
      JnasError: its layers do not fit `in_shape`.
    """
    layers = []
    for row in np.asarray(genome):
        if row[KIND]:
            cls = LAYER_TYPES[row[KIND] - 1]
            layers.append(cls(**{name: values[row[COLUMN_OF_PARAMETER[name]]] for name, values in cls.ranges()}))
    return Template((*layers, Linear(classes)), in_shape)


def encode(genomes: jax.Array) -> jax.Array:
    """The bit vectors of genomes, zeros in unused rows: `[..., L, 6]` int8 to `[..., L, 32]` uint8."""
    kind = genomes[..., KIND].astype(jnp.int32)
    bits = jnp.asarray(_FIRST_BIT)[kind] + genomes.astype(jnp.int32)
    vectors = (bits[..., None] == jnp.arange(BITS)).any(-2)
    return (vectors & (kind > 0)[..., None]).astype(jnp.uint8)


def words(genomes: jax.Array) -> jax.Array:
    """The 32 bits of each layer as one number: `[..., L, 6]` int8 to `[..., L]` uint32."""
    kind = genomes[..., KIND].astype(jnp.int32)
    bits = jnp.asarray(_FIRST_BIT)[kind] + genomes.astype(jnp.int32)
    # Positions are distinct, so the sum is the union; a shift by -1 (an unused parameter) must set nothing.
    ones = jnp.where(bits < BITS, jnp.uint32(1) << (BITS - 1 - bits).astype(jnp.uint32), jnp.uint32(0))
    return jnp.where(kind > 0, ones.sum(-1, dtype=jnp.uint32), jnp.uint32(0))


def hashes(genomes: jax.Array) -> list[str]:
    """`Template.hash` of each genome: `[N, L, 6]` int8 to N strings."""
    rows = np.asarray(words(genomes)).astype(">u4")
    return [row[row != 0].tobytes().hex() for row in rows]


def lengths(genomes: jax.Array) -> jax.Array:
    """Number of used rows: `[..., L, 6]` int8 to `[...]` int32."""
    return (genomes[..., KIND] > 0).sum(-1, dtype=jnp.int32)
