"""Crossover, mutation and repair of genomes, written for one individual; the caller vmaps them.

Crossover and mutation keep layers that take maps before Flatten and the others after it, and repair drops the layers
that do not fit, so nearly all children are valid. Repair also keeps children like the sampled templates. Without it,
changes without effect (an activation after an activation, two batch norms in a row) accumulate over the generations,
and the predictor is asked about templates unlike its training rows. Rows are packed while they are moved (see
`_packed_genome`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Integer, UInt32

from jnas._runtime.jax_config import with_own_settings
from jnas.space import _layers as lt
from jnas.space._genome import LAYER_TYPE, NUM_FIELDS, NUM_VALUES, layer_type_id, to_uint32
from jnas.space._packed_genome import SHIFTS, decode, layer_types, left_align, pack, unpack
from jnas.space._sampler import ACTIVATIONS
from jnas.space._shape_inference import initial_state, propagate

_CONV, _LINEAR, _FLATTEN = map(layer_type_id, (lt.Conv2d, lt.Linear, lt.Flatten))
_GLOBAL_POOL = layer_type_id(lt.GlobalAvgPool2d)
# Types that mutation inserts before and after Flatten, about as often as they are sampled.
_MAP_TYPES = (*ACTIVATIONS, *map(layer_type_id, (lt.Conv2d, lt.MaxPool2d, lt.AvgPool2d, lt.BatchNorm2d)))
_MAP_LAYERS = np.repeat(_MAP_TYPES, (2, 2, 2, 6, 3, 3, 3))
_VECTOR_LAYERS = np.array([*ACTIVATIONS, *map(layer_type_id, (lt.Linear, lt.Dropout))])

_STEP, _INSERT, _DELETE, _DUPLICATE, _SWAP, _REPLACE = range(6)
_MUTATION_CUMPROBS = np.cumsum([0.5, 0.1, 0.1, 0.08, 0.08, 0.14])
_NUM_RANDOM_WORDS = 4  # 32-bit random numbers of one change

# Per type: the fields with more than one value, their number, and the types that have any as the bits of a number.
_MUTABLE_FIELDS = [[field for field in range(1, NUM_FIELDS) if counts[field] > 1] for counts in NUM_VALUES]
_NUM_MUTABLE_FIELDS = np.array([len(fields) for fields in _MUTABLE_FIELDS], np.int32)
_MUTABLE_FIELD = np.array([(fields + [0] * NUM_FIELDS)[:NUM_FIELDS] for fields in _MUTABLE_FIELDS], np.int32)
_IS_MUTABLE_MASK = np.uint32(sum(1 << type_id for type_id, fields in enumerate(_MUTABLE_FIELDS) if fields))

# A block has at most one layer of each of these types, a bit per type; all activations share one bit. Those that take
# maps must follow a convolution.
_UNIQUE_PER_BLOCK_MASK = np.zeros(len(NUM_VALUES), np.uint32)
_UNIQUE_PER_BLOCK_MASK[[*ACTIVATIONS]] = 1
for _bit, _layer in enumerate((lt.BatchNorm2d, lt.MaxPool2d, lt.AvgPool2d, lt.GlobalAvgPool2d, lt.Dropout), start=1):
    _UNIQUE_PER_BLOCK_MASK[layer_type_id(_layer)] = 1 << _bit
_AFTER_CONV_MASK = np.bitwise_or.reduce(_UNIQUE_PER_BLOCK_MASK[_MAP_LAYERS])


@with_own_settings
def crossover(key: jax.Array, first: Int8[Array, "l 6"], second: Int8[Array, "l 6"]) -> Int8[Array, "l 6"]:
    """Returns a child by one-point crossover on aligned blocks.

    A block is a Conv2d or Linear with the layers that follow it. The child has the first k blocks of `first`, then the
    blocks of `second` from its k-th on. Convolution blocks are aligned with convolution blocks, Linear with Linear; if
    `second` has fewer, its head (GlobalAvgPool2d or Flatten) or its end follows. Rows past the L-th are cut off.
    """
    rows, other_rows = pack(first), pack(second)
    length = len(rows)
    index = jnp.arange(length)
    num_convs, num_linears = (starts[-1] for starts in _block_starts(rows))
    # Cuts 1 to n are before convolution block n + 1 or the head; the cuts after these are before Linear blocks.
    cut = 1 + jax.random.randint(key, (), 0, num_convs + num_linears + 1)

    def cut_index(rows):
        convs, linears = _block_starts(rows)
        is_head = (layer_types(rows) == _GLOBAL_POOL) | (layer_types(rows) == _FLATTEN)
        in_maps = (convs <= cut) & (index < jnp.where(is_head, index, length).min())
        return jnp.where(cut <= num_convs, in_maps, (linears < cut - num_convs) & (rows != 0)).sum()

    first_cut = cut_index(rows)
    source = index - first_cut + cut_index(other_rows)
    tail = jnp.where(source < length, other_rows[jnp.clip(source, 0, length - 1)], 0)
    return unpack(jnp.where(index < first_cut, rows, tail))


@with_own_settings
def mutate(
    key: jax.Array, genome: Int8[Array, "l 6"], mutation_rate: Float[Array, ""] | float = 1.0
) -> Int8[Array, "l 6"]:
    """Returns a genome after one or two random changes.

    Half of the changes step one parameter to a neighboring value. The others insert a layer, remove one, replace one by
    a layer that takes the same input, swap one with the next, or repeat a Conv2d or Linear. `mutation_rate` is the
    expected number of changes, clipped to [1, 2].
    """
    bits = jax.random.bits(key, (2 * _NUM_RANDOM_WORDS + 1,), jnp.uint32)
    rows = _change(bits[:_NUM_RANDOM_WORDS], pack(genome))
    is_twice = (bits[-1] >> 8).astype(jnp.float32) / (1 << 24) < mutation_rate - 1
    return unpack(jnp.where(is_twice, _change(bits[_NUM_RANDOM_WORDS:-1], rows), rows))


@with_own_settings
def repair(genome: Int8[Array, "l 6"], in_shape: tuple[int, int, int]) -> Int8[Array, "l 6"]:
    """Returns a genome without the layers that do not fit; it is a template for images of `in_shape`.

    Layers that the sampler never draws are dropped, too: a second activation or a second layer of a type in a block,
    and those before the first convolution. A genome without Flatten gets one at its end.
    """
    rows = pack(genome)
    index = jnp.arange(len(rows))
    has_flatten = (layer_types(rows) == _FLATTEN).any()
    end = jnp.minimum((rows != 0).sum(), len(rows) - 1)
    rows = jnp.where(~has_flatten & (index == end), jnp.uint32(_FLATTEN), rows)

    def body(carry, layer):
        state, in_block = carry
        out, fits = propagate(state, layer)
        unique = jnp.asarray(_UNIQUE_PER_BLOCK_MASK)[layer.layer_type]
        fits &= in_block & unique == 0
        state = jax.tree.map(lambda new, old: jnp.where(fits, new, old), out, state)
        next_in_block = jnp.where(_starts_block(layer.layer_type), 0, in_block | unique)
        return (state, jnp.where(fits, next_in_block, in_block)), fits

    _, fits = jax.lax.scan(body, (initial_state(in_shape), _AFTER_CONV_MASK), decode(rows))
    return unpack(left_align(jnp.where(fits, rows, 0)))


@with_own_settings
def distance(first: Int8[Array, "l 6"], second: Int8[Array, "l 6"]) -> Float[Array, ""]:
    """Returns the distance of two genomes, 0 to 1: the fraction of rows of another type, and half for other values."""
    rows, other_rows = pack(first), pack(second)
    length = jnp.maximum((rows != 0).sum(), (other_rows != 0).sum())
    same_values = jnp.where(rows != other_rows, 0.5, 0.0)
    differences = jnp.where(layer_types(rows) != layer_types(other_rows), 1.0, same_values)
    return differences.sum() / jnp.maximum(length, 1)


@with_own_settings
def hash_genomes(genomes: Int8[Array | np.ndarray, "*n l 6"]) -> UInt32[Array, "*n 2"]:
    """Returns a 64-bit hash of each genome, as two words of a variant of FNV-1a.

    The chance that two of a million different architectures have the same is about 1 in 37 million.
    """
    layers = to_uint32(jnp.asarray(genomes))
    words = []
    for multiplier, offset in ((0x01000193, 0x811C9DC5), (0x9E3779B1, 0x85EBCA6B)):
        word = jnp.full(layers.shape[:-1], offset, jnp.uint32)
        for i in range(layers.shape[-1]):
            word = (word ^ layers[..., i]) * jnp.uint32(multiplier)
            word ^= word >> 15
        words.append(word)
    return jnp.stack(words, -1)


def _starts_block(types: Integer[Array, "*n"]) -> Bool[Array, "*n"]:
    return (types == _CONV) | (types == _LINEAR)


def _block_starts(rows: UInt32[Array, " l"]) -> tuple[Integer[Array, " l"], Integer[Array, " l"]]:
    """Returns the number of convolution blocks, and of Linear blocks, that start at or before each row."""
    types = layer_types(rows)
    flags = jnp.where(types == _CONV, 1.0, jnp.where(types == _LINEAR, 256.0, 0.0))
    # Prefix sums as a matrix product: exact for small counts, and the fastest on a CPU once it is vmapped.
    counts = (flags @ jnp.triu(jnp.ones((len(rows), len(rows))))).astype(jnp.int32)
    return counts & 0xFF, counts >> 8


def _randint_below(bits: UInt32[Array, ""], count: Integer[Array, ""]) -> Integer[Array, ""]:
    """Returns an integer in [0, count) from the upper 16 random bits."""
    return ((bits >> 16) * count.astype(jnp.uint32) >> 16).astype(jnp.int32)


def _change(bits: UInt32[Array, " 4"], rows: UInt32[Array, " l"]) -> UInt32[Array, " l"]:
    """Returns packed rows after one random change."""
    length = len(rows)
    at, types = jnp.arange(length), layer_types(rows)
    index = _randint_below(bits[0] << 16, jnp.maximum((rows != 0).sum(), 1))
    flatten_index = jnp.where(types == _FLATTEN, at, length).min()
    row = rows[index]
    next_row = jnp.where(index + 1 < length, rows[jnp.minimum(index + 1, length - 1)], 0)
    step_index, can_step = _random_mutable_row(bits[1], types)

    is_full = rows[-1] != 0
    change = (bits[0] >> 16 >= jnp.asarray((_MUTATION_CUMPROBS * (1 << 16)).astype(np.uint32))).sum()
    is_impossible = (layer_types(row) == _FLATTEN) & (change != _INSERT)
    is_impossible |= is_full & ((change == _INSERT) | (change == _DUPLICATE))
    is_impossible |= (change == _DUPLICATE) & ~_starts_block(layer_types(row))
    is_impossible |= (change == _SWAP) & ((next_row == 0) | (layer_types(next_row) == _FLATTEN))
    change = jnp.where(is_impossible, _STEP, change)
    change = jnp.where((change == _STEP) & ~can_step, _INSERT, change)

    stepped = _step_parameter(bits[2], rows[step_index])
    layer = _random_layer(bits[2] << 16, bits[3], index <= flatten_index)
    inserts = (change == _INSERT) | (change == _DUPLICATE)
    next_rows = jnp.where(at == length - 1, 0, jnp.roll(rows, -1))
    shifted = jnp.where((change == _DELETE) & (at >= index), next_rows, rows)
    shifted = jnp.where(inserts & (at > index), jnp.roll(rows, 1), shifted)
    target = jnp.where(change == _STEP, step_index, jnp.where(change == _DELETE, length, index))
    value = jnp.stack([stepped, layer, row, row, next_row, layer])[change]
    changed = jnp.where(at == target, value, shifted)
    return jnp.where((change == _SWAP) & (at == index + 1), row, changed)


def _random_mutable_row(bits: jax.Array, types: UInt32[Array, " l"]) -> tuple[jax.Array, jax.Array]:
    """Returns the index of a random row that has a parameter to change, and whether there is one."""
    # It is the row with the highest of random priorities: one maximum instead of prefix sums.
    index = jnp.arange(len(types), dtype=jnp.uint32)
    priority = (index * jnp.uint32(0x9E3779B1) + bits) * jnp.uint32(0x85EBCA6B)
    priority ^= priority >> 15
    priority = (priority * jnp.uint32(0xC2B2AE35) | jnp.uint32(1 << 31)) & ~jnp.uint32(0xFF)
    highest = jnp.where((_IS_MUTABLE_MASK >> types) & 1 == 1, priority + index, 0).max()
    return (highest & 0xFF).astype(jnp.int32), highest != 0


def _step_parameter(bits: UInt32[Array, ""], row: UInt32[Array, ""]) -> UInt32[Array, ""]:
    """Returns a packed row with one of its parameters at a neighboring value."""
    type_id = layer_types(row).astype(jnp.int32)
    field = jnp.asarray(_MUTABLE_FIELD)[type_id, _randint_below(bits, jnp.asarray(_NUM_MUTABLE_FIELDS)[type_id])]
    num_values = jnp.asarray(NUM_VALUES)[type_id, field]
    shift = jnp.asarray(SHIFTS)[field].astype(jnp.uint32)
    value = unpack(row)[field].astype(jnp.int32)
    step = jnp.where(bits & 1 == 1, 1, -1)
    step = jnp.where((value + step < 0) | (value + step >= num_values), -step, step)
    return row + (step.astype(jnp.uint32) << shift)  # a sum modulo 2^32, so the step may be negative


def _random_layer(type_bits: jax.Array, value_bits: jax.Array, takes_map: jax.Array) -> jax.Array:
    """Returns a packed row of a random type that takes maps, or vectors, with uniform parameters."""
    map_type = jnp.asarray(_MAP_LAYERS)[_randint_below(type_bits, jnp.int32(len(_MAP_LAYERS)))]
    vector_type = jnp.asarray(_VECTOR_LAYERS)[_randint_below(type_bits, jnp.int32(len(_VECTOR_LAYERS)))]
    type_id = jnp.where(takes_map, map_type, vector_type)
    num_values = jnp.asarray(NUM_VALUES)[type_id].astype(jnp.uint32)
    row = type_id.astype(jnp.uint32)
    bit_ranges = ((0, 10), (10, 8), (18, 6), (24, 4), (28, 4))  # (first bit, number of bits) per field
    for field, (first_bit, num_bits) in zip(range(LAYER_TYPE + 1, NUM_FIELDS), bit_ranges, strict=True):
        drawn = (value_bits >> first_bit) & ((1 << num_bits) - 1)
        row |= (drawn * num_values[field] >> num_bits) << SHIFTS[field]
    return row
