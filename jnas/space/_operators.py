"""Crossover, mutation and repair of genomes: written for one individual, vmapped by the caller.

Crossover and mutation keep layers that take maps before Flatten and the others after it, and repair drops what does
not fit, so that nearly all children are valid. It also keeps them alike what is sampled: without that, changes that
change nothing (an activation after another, two batch norms in a row) pile up from generation to generation, and the
predictor is asked for what it has never seen. Rows are packed (see `rows`) while they are moved about.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jnas.space import _layers as lt
from jnas.space._genome import CARDINALITY, COLUMNS, KIND, kind_of, words
from jnas.space._packed_genome import SHIFTS, compact, kind, meaning, pack, unpack
from jnas.space._sampler import ACTIVATIONS, FLATTEN
from jnas.space._shape_inference import start, step

_CONV, _LINEAR, _GLOBAL = map(kind_of, (lt.Conv2d, lt.Linear, lt.GlobalAvgPool2d))
# What is inserted or takes another's place, about as often as it is sampled.
_FOR_MAPS = np.repeat(
    [*ACTIVATIONS, *map(kind_of, (lt.Conv2d, lt.MaxPool2d, lt.AvgPool2d, lt.BatchNorm2d))], (2, 2, 2, 6, 3, 3, 3)
)
_FOR_VECTORS = np.array([*ACTIVATIONS, *map(kind_of, (lt.Linear, lt.Dropout))])

_STEP, _INSERT, _DELETE, _DUPLICATE, _SWAP, _REPLACE = range(6)
_CHANCES = np.cumsum([0.5, 0.1, 0.1, 0.08, 0.08, 0.14])
_DRAWS = 4  # random numbers of 32 bits that a change takes

# The columns of each kind that have a choice: how many, which, and the kinds that have any as the bits of a number.
_FREE = [[c for c in range(1, COLUMNS) if n[c] > 1] for n in CARDINALITY]
_FREE_COUNT = np.array([len(columns) for columns in _FREE], np.int32)
_FREE_COLUMN = np.array([(columns + [0] * COLUMNS)[:COLUMNS] for columns in _FREE], np.int32)
_HAS_FREE = np.uint32(sum(1 << k for k, columns in enumerate(_FREE) if columns))

# What a block has once at most, as a bit for each kind; all activations are one. Those for maps follow a convolution.
_SINGLE = [*map(kind_of, (lt.BatchNorm2d, lt.MaxPool2d, lt.AvgPool2d, lt.GlobalAvgPool2d, lt.Dropout))]
_ONCE = np.zeros(len(CARDINALITY), np.uint32)
_ONCE[_SINGLE] = 2 ** np.arange(1, 1 + len(_SINGLE))
_ONCE[[*ACTIVATIONS]] = 1
_AFTER_CONV = np.bitwise_or.reduce(_ONCE[_FOR_MAPS])


def crossover(key: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """One-point crossover on aligned blocks: the first k blocks of `first`, then those of `second` from its k-th on.

    A block is a Conv2d or Linear with what follows it. Convolution blocks are aligned with convolution blocks, Linear
    with Linear; where `second` has fewer, its head or its end follows.

    Args:
      key: for the cut.
      first, second: genomes `[L, 6]`.

    Returns:
      A genome `[L, 6]`. What does not fit in L rows is cut off.
    """
    rows, others = pack(first), pack(second)
    length = len(rows)
    place = jnp.arange(length)
    convs, linears = _starts(rows)
    other_convs, other_linears = _starts(others)
    # Cut 1 to n is before convolution block n + 1 (or the head); the cuts after these are before Linear blocks.
    cut = 1 + jax.random.randint(key, (), 0, convs[-1] + linears[-1] + 1)
    in_maps = cut <= convs[-1]
    linear = cut - convs[-1] - 1
    head, other_head = _head(rows), _head(others)

    def before(convs, linears, head, rows):
        block = jnp.where(in_maps, cut, linear)
        return jnp.where(
            in_maps,
            ((convs <= block) & (place < head)).sum(),
            ((linears <= block) & (rows != 0)).sum(),
        )

    here, there = before(convs, linears, head, rows), before(other_convs, other_linears, other_head, others)
    source = place - here + there
    tail = jnp.where(source < length, others[jnp.clip(source, 0, length - 1)], 0)
    return unpack(jnp.where(place < here, rows, tail))


def mutate(key: jax.Array, genome: jax.Array, rate: jax.Array | float = 1.0) -> jax.Array:
    """One or two random changes.

    A change is, most often, a step of one parameter to a neighbouring value; else a layer is inserted, removed,
    replaced by another of its part, swapped with the next, or (a convolution or Linear layer) repeated.

    Args:
      key: for the choice.
      genome: `[L, 6]`.
      rate: changes on average, from 1 to 2; outside of these it counts as the nearer one.

    Returns:
      A genome `[L, 6]`.
    """
    bits = jax.random.bits(key, (2 * _DRAWS + 1,), jnp.uint32)
    rows = _change(bits[:_DRAWS], pack(genome))
    more = (bits[-1] >> 8).astype(jnp.float32) / (1 << 24) < rate - 1
    return unpack(jnp.where(more, _change(bits[_DRAWS:-1], rows), rows))


def repair(genome: jax.Array, in_shape: tuple[int, int, int]) -> jax.Array:
    """Drops the layers of a genome `[L, 6]` that do not fit where they are, as the sampler does.

    Likewise what it never draws: a second activation or a second layer of a kind in a block, and those before the first
    convolution. A genome without Flatten gets one at its end. What comes out is a template for images of `in_shape`, in
    whatever order the layers were.
    """
    rows = pack(genome)
    place = jnp.arange(len(rows))
    flat = (kind(rows) == FLATTEN).any()
    end = jnp.minimum((rows != 0).sum(), len(rows) - 1)
    rows = jnp.where(~flat & (place == end), jnp.uint32(FLATTEN), rows)

    def body(carry, layer):
        state, there = carry
        out, fits = step(state, layer)
        once = jnp.asarray(_ONCE)[layer.kind]
        fits &= there & once == 0
        state = jax.tree.map(lambda new, old: jnp.where(fits, new, old), out, state)
        return (state, jnp.where(fits, jnp.where(_begins(layer.kind), 0, there | once), there)), fits

    _, fits = jax.lax.scan(body, (start(in_shape), _AFTER_CONV), meaning(rows))
    return unpack(compact(jnp.where(fits, rows, 0)))


def neighbour(genome: jax.Array, number: jax.Array) -> jax.Array:
    """Change `number` of a genome `[L, 6]`, of `NEIGHBOURS` for each row: a step up or down of each parameter, the row
    removed, or (of a convolution or Linear layer) repeated. Where that is not possible the genome comes back as it is.
    """
    rows = pack(genome)
    place, change = number // NEIGHBOURS, number % NEIGHBOURS
    row, column = rows[place], 1 + change // 2
    value, most = genome[place, column % COLUMNS], jnp.asarray(CARDINALITY)[kind(row), column % COLUMNS]
    moved = value + jnp.where(change % 2 == 0, 1, -1)
    parameter = change < 2 * (COLUMNS - 1)
    possible = jnp.where(parameter, (moved >= 0) & (moved < most), (row != 0) & (kind(row) != FLATTEN))
    possible &= (change < NEIGHBOURS - 1) | ((rows[-1] == 0) & _begins(kind(rows[place])))
    stepped = genome.at[place, column % COLUMNS].set(moved.astype(genome.dtype))
    shifted = unpack(_shift(rows, place, change == NEIGHBOURS - 1, change == NEIGHBOURS - 2))
    return jnp.where(possible, jnp.where(parameter, stepped, shifted), genome)


NEIGHBOURS = 2 * (COLUMNS - 1) + 2


def distance(first: jax.Array, second: jax.Array) -> jax.Array:
    """How much two genomes `[L, 6]` differ, 0 to 1: the share of rows with another type, half for other parameters."""
    rows, others = pack(first), pack(second)
    used = jnp.maximum((rows != 0).sum(), (others != 0).sum())
    differ = jnp.where(kind(rows) != kind(others), 1.0, jnp.where(rows != others, 0.5, 0.0))
    return differ.sum() / jnp.maximum(used, 1)


def _begins(kinds: jax.Array) -> jax.Array:
    """Whether layers of these kinds begin a block."""
    return (kinds == _CONV) | (kinds == _LINEAR)


def _starts(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How many convolution and Linear blocks start up to each row: `[L]` int32 each."""
    flags = jnp.where(kind(rows) == _CONV, 1.0, jnp.where(kind(rows) == _LINEAR, 256.0, 0.0))
    # Prefix sums as a matrix product: exact for small counts, and the fastest on a CPU once it is vmapped.
    both = (flags @ jnp.triu(jnp.ones((len(rows), len(rows))))).astype(jnp.int32)
    return both & 0xFF, both >> 8


def _head(rows: jax.Array) -> jax.Array:
    """The row of GlobalAvgPool2d or Flatten, whichever is first."""
    ends = (kind(rows) == _GLOBAL) | (kind(rows) == FLATTEN)
    return jnp.where(ends, jnp.arange(len(rows)), len(rows)).min()


def _below(bits: jax.Array, count: jax.Array) -> jax.Array:
    """A number from 0 to `count - 1`, int32, from random bits."""
    return ((bits >> 16) * count.astype(jnp.uint32) >> 16).astype(jnp.int32)


def _shift(rows: jax.Array, place: jax.Array, right: jax.Array, left: jax.Array) -> jax.Array:
    """The rows after `place` moved to the right by one, or those from `place` on to the left."""
    at = jnp.arange(len(rows))
    later = jnp.where(at == len(rows) - 1, 0, jnp.roll(rows, -1))
    return jnp.where(right & (at > place), jnp.roll(rows, 1), jnp.where(left & (at >= place), later, rows))


def _change(bits: jax.Array, rows: jax.Array) -> jax.Array:
    """One random change of packed rows `[L]`, from `[_DRAWS]` random numbers of 32 bits."""
    length = len(rows)
    at, kinds = jnp.arange(length), kind(rows)
    count = (rows != 0).sum()
    place = _below(bits[0] << 16, jnp.maximum(count, 1))
    flatten = jnp.where(kinds == FLATTEN, at, length).min()
    here, after = rows[place], jnp.where(place + 1 < length, rows[jnp.minimum(place + 1, length - 1)], 0)

    # A row with a parameter, by the highest of random priorities: one maximum, no prefix sums.
    priority = (at.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) + bits[1]) * jnp.uint32(0x85EBCA6B)
    priority ^= priority >> 15
    priority = (priority * jnp.uint32(0xC2B2AE35) | jnp.uint32(1 << 31)) & ~jnp.uint32(0xFF)
    highest = jnp.where((_HAS_FREE >> kinds) & 1 == 1, priority + at.astype(jnp.uint32), 0).max()

    chances = jnp.asarray((_CHANCES * (1 << 16)).astype(np.uint32))
    which = (bits[0] >> 16 >= chances).sum()
    full = rows[-1] != 0
    kept = (kind(here) == FLATTEN) & (which != _INSERT)
    unable = kept | (full & ((which == _INSERT) | (which == _DUPLICATE)))
    unable |= (which == _DUPLICATE) & ~_begins(kind(here))
    unable |= (which == _SWAP) & ((after == 0) | (kind(after) == FLATTEN))
    which = jnp.where(unable, _STEP, which)
    which = jnp.where((which == _STEP) & (highest == 0), _INSERT, which)

    stepped_place = (highest & 0xFF).astype(jnp.int32)
    stepped = _stepped(bits[2], rows[stepped_place])
    layer = _random_layer(bits[2] << 16, bits[3], place <= flatten)
    moved = _shift(rows, place, (which == _INSERT) | (which == _DUPLICATE), which == _DELETE)
    target = jnp.where(which == _STEP, stepped_place, jnp.where(which == _DELETE, length, place))
    value = jnp.stack([stepped, layer, here, here, after, layer])[which]
    moved = jnp.where(at == target, value, moved)
    return jnp.where((which == _SWAP) & (at == place + 1), here, moved)


def _stepped(bits: jax.Array, row: jax.Array) -> jax.Array:
    """A packed row with one of its parameters at a neighbouring value."""
    own = kind(row).astype(jnp.int32)
    column = jnp.asarray(_FREE_COLUMN)[own, _below(bits, jnp.asarray(_FREE_COUNT)[own])]
    most = jnp.asarray(CARDINALITY)[own, column]
    shift = jnp.asarray(SHIFTS)[column].astype(jnp.uint32)
    value = unpack(row)[column].astype(jnp.int32)
    step = jnp.where(bits & 1 == 1, 1, -1)
    step = jnp.where((value + step < 0) | (value + step >= most), -step, step)
    step = jnp.where((value + step < 0) | (value + step >= most), 0, step)
    return row + (step.astype(jnp.uint32) << shift)  # adding modulo 2^32, so that it may be negative


def _random_layer(first: jax.Array, second: jax.Array, for_maps: jax.Array) -> jax.Array:
    """A packed row of a random type that takes maps, or vectors, its parameters uniform."""
    maps = jnp.asarray(_FOR_MAPS)[_below(first, jnp.int32(len(_FOR_MAPS)))]
    vectors = jnp.asarray(_FOR_VECTORS)[_below(first, jnp.int32(len(_FOR_VECTORS)))]
    own = jnp.where(for_maps, maps, vectors)
    most = jnp.asarray(CARDINALITY)[own].astype(jnp.uint32)
    row = own.astype(jnp.uint32)
    for column, (low, bits) in zip(
        range(KIND + 1, COLUMNS), ((0, 10), (10, 8), (18, 6), (24, 4), (28, 4)), strict=True
    ):
        draw = (second >> low) & ((1 << bits) - 1)
        row |= (draw * most[column] >> bits) << SHIFTS[column]
    return row


def key_of(genomes: jax.Array) -> jax.Array:
    """Two 32-bit hashes of each genome, `[..., L, 6]` to `[..., 2]` uint32: equal for equal architectures.

    The chance that two of a million different architectures share both is about 1 in 37 million.
    """
    layers = words(genomes)
    result = []
    for multiplier, start_at in ((0x01000193, 0x811C9DC5), (0x9E3779B1, 0x85EBCA6B)):
        hash = jnp.full(layers.shape[:-1], start_at, jnp.uint32)
        for i in range(layers.shape[-1]):
            hash = (hash ^ layers[..., i]) * jnp.uint32(multiplier)
            hash ^= hash >> 15
        result.append(hash)
    return jnp.stack(result, -1)
