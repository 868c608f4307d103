"""Everything ever evaluated, as a hash table on the device: open addressing with double hashing (Knuth, vol. 3, 6.4).

Looking up and inserting cost the same however much is in it. Claims of one slot are settled in favour of the smaller
index, so results do not depend on the order in which a device scatters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas._validation import to_int

_EMPTY = np.uint32(0xFFFFFFFF)
_MAX_PROBES = 64


class Archive(NamedTuple):
    """A hash table with S slots, a power of two.

    `[S, 2]` uint32 keys are all ones in an empty slot, `[S]` float32 fitness is minus infinity for failures.
    """

    keys: jax.Array
    fitness: jax.Array
    count: jax.Array


def empty_archive(capacity: int) -> Archive:
    """Returns an archive for `capacity` keys, at most half of its slots. What comes when all are full is dropped.

    Raises:
      JnasError: if the capacity is out of range.
    """
    capacity = to_int("archive_capacity", capacity, 1, 1 << 29)
    slots = 1 << (2 * capacity - 1).bit_length()
    keys = jnp.full((slots, 2), _EMPTY, jnp.uint32)
    return Archive(keys, jnp.full(slots, -jnp.inf, jnp.float32), jnp.int32(0))


def _slot(keys: jax.Array, probe: jax.Array, slots: int) -> jax.Array:
    return ((keys[:, 0] + probe * (keys[:, 1] | 1)) & (slots - 1)).astype(jnp.int32)


def _is_unfinished(carry: tuple) -> jax.Array:
    probe, pending = carry[:2]
    return pending.any() & (probe.max(initial=0) < _MAX_PROBES)


def lookup(archive: Archive, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns which of `[N, 2]` keys are in the archive, `[N]` bool, and their fitness, minus infinity elsewhere."""
    slots = len(archive.keys)

    def probe_once(carry):
        probe, pending, found = carry
        stored = archive.keys[_slot(keys, probe, slots)]
        found = jnp.where(pending, (stored == keys).all(-1), found)
        pending &= ~found & (stored != _EMPTY).any(-1)
        return probe + pending.astype(jnp.uint32), pending, found

    start = jnp.zeros(len(keys), jnp.uint32), jnp.ones(len(keys), bool), jnp.zeros(len(keys), bool)
    probe, _, found = jax.lax.while_loop(_is_unfinished, probe_once, start)
    return found, jnp.where(found, archive.fitness[_slot(keys, probe, slots)], -jnp.inf)


def insert(archive: Archive, keys: jax.Array, fitness: jax.Array, mask: jax.Array) -> tuple[Archive, jax.Array]:
    """Returns the archive with those of `[N, 2]` keys that the mask selects, and which of them `[N]` are new.

    New is what is neither in the archive nor equal to an earlier row. The fitness of an old key stays.
    """
    slots, count = len(archive.keys), len(keys)

    def probe_once(carry):
        probe, pending, archive, new = carry
        slot = _slot(keys, probe, slots)
        stored = archive.keys[slot]
        vacant = (stored == _EMPTY).all(-1)
        same = (stored == keys).all(-1) & ~vacant
        wanted = jnp.where(pending & vacant, slot, slots)  # past the end: dropped
        claims = jnp.full(slots, count).at[wanted].min(jnp.arange(count), mode="drop")
        won = pending & vacant & (claims[slot] == jnp.arange(count))
        target = jnp.where(won, slot, slots)
        archive = Archive(
            archive.keys.at[target].set(keys, mode="drop"),
            archive.fitness.at[target].set(fitness, mode="drop"),
            archive.count + won.sum(dtype=jnp.int32),
        )
        # Who lost a claim looks at the slot again: the winner may be its equal.
        pending &= ~(same | won)
        return probe + (pending & ~vacant).astype(jnp.uint32), pending, archive, new | won

    start = jnp.zeros(count, jnp.uint32), mask, archive, jnp.zeros(count, bool)
    _, _, archive, new = jax.lax.while_loop(_is_unfinished, probe_once, start)
    return archive, new


def first_occurrence_mask(keys: jax.Array) -> jax.Array:
    """Returns which rows of `[N, 2]` keys are the first of their kind: `[N]` bool."""
    high, low, order = jax.lax.sort((keys[:, 0], keys[:, 1], jnp.arange(len(keys))), num_keys=2, is_stable=True)
    new = jnp.concatenate([jnp.ones(1, bool), (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    return jnp.zeros(len(keys), bool).at[order].set(new)
