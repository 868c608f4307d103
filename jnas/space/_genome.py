"""An architecture as a fixed-size array of small integers, for work on thousands at once.

A genome is `[L, 6]` int8 with one row per layer and unused rows, all zero, at the end. The fields of a row are

    LAYER_TYPE  0 for an unused row, else 1 + the index of the type in `LAYER_TYPES`
    WIDTH       index of out_channels, out_features, negative_slope, all_channels or p
    KERNEL      index of kernel_size
    STRIDE      index of stride
    PADDING     index of padding
    COUNT_PAD   index of count_include_pad

Fields that a type does not have are zero. The last Linear is not in the genome, as it is not in the hash.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8, Int32, UInt8, UInt32

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse, to_array
from jnas.errors import JnasError
from jnas.space._encoding import BITS_PER_LAYER
from jnas.space._layers import LAYER_TYPES, Linear
from jnas.space._template import Template

Genomes = Int8[Array | np.ndarray, "*n l 6"]

LAYER_TYPE, WIDTH, KERNEL, STRIDE, PADDING, COUNT_PAD = range(6)
NUM_FIELDS = 6

FIELD_INDEX = {"kernel_size": KERNEL, "stride": STRIDE, "padding": PADDING, "count_include_pad": COUNT_PAD}
FIELD_INDEX |= dict.fromkeys(("out_features", "out_channels", "negative_slope", "all_channels", "p"), WIDTH)


def layer_type_id(cls: type) -> int:
    """Returns the LAYER_TYPE of a class of layer templates."""
    return 1 + LAYER_TYPES.index(cls)


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    types = 1 + len(LAYER_TYPES)
    num_values = np.ones((types, NUM_FIELDS), np.int32)  # a field that the type does not have can only be 0
    num_values[:, LAYER_TYPE] = types
    all_values = np.zeros((types, NUM_FIELDS, 19), np.float32)
    first_bit = np.full((types, NUM_FIELDS), BITS_PER_LAYER, np.int32)  # past the last bit: such a field sets none
    for type_id, cls in enumerate(LAYER_TYPES, start=1):
        first_bit[type_id, LAYER_TYPE] = -1  # LAYER_TYPE counts from 1
        bit = len(LAYER_TYPES)
        for name, values in cls.parameter_values().items():
            field = FIELD_INDEX[name]
            num_values[type_id, field] = len(values)
            first_bit[type_id, field] = bit
            bit += len(values)
            all_values[type_id, field, : len(values)] = values
    return num_values, all_values, first_bit


NUM_VALUES, VALUES, _FIRST_BIT = _tables()
"""`NUM_VALUES[type, field]`: the number of values of a field. `VALUES[type, field, index]`: a value."""


def to_genome(template: Template, length: int) -> Int8[np.ndarray, "{length} 6"]:
    """Returns the genome of a template; raises a `JnasError` if it is too long, or a parameter is outside the space."""
    layers = template.layers[:-1]
    if len(layers) > length:
        raise JnasError(
            f"template must have at most {length} layers before the last, got {len(layers)}; use a larger Space."
        )
    template.vectors  # noqa: B018  raises if a parameter has no bit, and so no index
    genome = np.zeros((length, NUM_FIELDS), np.int8)
    for row, layer in zip(genome, layers, strict=False):
        row[LAYER_TYPE] = layer_type_id(type(layer))
        for name, values in layer.parameter_values().items():
            row[FIELD_INDEX[name]] = values.index(getattr(layer, name))
    return genome


def check_genomes(genomes: Any, ndim: int = 3) -> Any:
    """Returns genomes as an array, traced or not; raises a `JnasError` if they are none by shape or type."""
    name, shape = ("genome", "[L, 6]") if ndim == 2 else ("genomes", "[N, L, 6]")
    array = genomes if isinstance(genomes, jax.Array) else to_array(name, genomes)
    if array.ndim != ndim or array.shape[-1] != NUM_FIELDS or not jnp.issubdtype(array.dtype, jnp.integer):
        refuse(name, f"integers {shape}", genomes, "Space.sample makes them, and to_genome of a template")
    return array


def from_genome(genome: Any, in_shape: Sequence[int] = (3, 32, 32), classes: int = 10) -> Template:
    """Returns the template of a genome `[L, 6]`; raises a `JnasError` if it is none, or does not fit `in_shape`."""
    layers = []
    rows = np.asarray(check_genomes(genome, ndim=2))
    wrong = (rows < 0) | (rows >= NUM_VALUES[rows[:, LAYER_TYPE].clip(0, len(NUM_VALUES) - 1)])
    if wrong.any():
        row = rows[wrong.any(1)][0].tolist()
        refuse("Each field of genome", "an index of its values", row, "Space.repair mends genomes")
    for row in rows:
        if row[LAYER_TYPE]:
            cls = LAYER_TYPES[row[LAYER_TYPE] - 1]
            parameters = cls.parameter_values().items()
            layers.append(cls(**{name: values[row[FIELD_INDEX[name]]] for name, values in parameters}))
    return Template((*layers, Linear(classes)), in_shape)


@with_own_settings
def to_bits(genomes: Genomes) -> UInt8[Array, "*n l 32"]:
    """Returns the bit vectors of genomes, `Template.vectors` of each; unused rows are zero."""
    shifts = jnp.arange(BITS_PER_LAYER - 1, -1, -1, dtype=jnp.uint32)
    return ((jnp.asarray(to_uint32(genomes))[..., None] >> shifts) & 1).astype(jnp.uint8)


def to_uint32(genomes: Genomes) -> UInt32[Array | np.ndarray, "*n l"]:
    """Returns the 32 bits of each layer as one number; 0 for unused rows. Of NumPy's genomes NumPy computes them."""
    xp = np if isinstance(genomes, np.ndarray) else jnp
    indices = xp.asarray(genomes).astype(xp.int32)
    types = indices[..., LAYER_TYPE]
    bits = xp.asarray(_FIRST_BIT)[types] + indices
    # The positions are distinct, so their sum is their union. A position past the last bit must set nothing.
    shifts = xp.maximum(BITS_PER_LAYER - 1 - bits, 0).astype(xp.uint32)
    ones = xp.where(bits < BITS_PER_LAYER, xp.uint32(1) << shifts, xp.uint32(0))
    return xp.where(types > 0, ones.sum(-1, dtype=xp.uint32), xp.uint32(0))


@with_own_settings
def arch_hashes(genomes: Int8[Array | np.ndarray, "n l 6"]) -> list[str]:
    """Returns `Template.hash` of each genome."""
    rows = to_uint32(np.asarray(genomes)).astype(">u4")
    return [row[row != 0].tobytes().hex() for row in rows]


@with_own_settings
def lengths(genomes: Genomes) -> Int32[Array | np.ndarray, "*n"]:
    """Returns the number of used rows of genomes. Of NumPy's genomes NumPy computes it."""
    xp = jnp if isinstance(genomes, jax.Array) else np
    return xp.asarray((xp.asarray(genomes)[..., LAYER_TYPE] > 0).sum(-1, dtype=xp.int32))
