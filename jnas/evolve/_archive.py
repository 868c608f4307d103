"""Everything ever evaluated, as a hash table on the device.

Open addressing with double hashing (Knuth, vol. 3, 6.4). Looking up and adding cost the same however much is in it:
gathers and scatters of a population's size, no sort of the whole. Claims of one slot are settled in favour of the
smaller index, so results do not depend on the order in which a device scatters.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError

_EMPTY = np.uint32(0xFFFFFFFF)
_PROBES = 64


class Archive(NamedTuple):
    """Keys and what they were told.

    Attributes:
      keys: `[S, 2]` uint32, S a power of two; all ones where a slot is empty.
      fitness: `[S]` float32, minus infinity for what failed.
      count: how many keys there are, int32.
    """

    keys: jax.Array
    fitness: jax.Array
    count: jax.Array


def empty(capacity: int) -> Archive:
    """Room for `capacity` keys, at most half of the slots used by them. What comes when all slots are full is not kept.

    Raises:
      JnasError: there would be no room, or more than 2^29.
    """
    if not 1 <= capacity <= 1 << 29:
        raise JnasError(f"An archive for {capacity} genomes cannot be made: give 1 to {1 << 29:,}.")
    slots = 1 << (2 * capacity - 1).bit_length()
    keys = jnp.full((slots, 2), _EMPTY, jnp.uint32)
    return Archive(keys, jnp.full(slots, -jnp.inf, jnp.float32), jnp.int32(0))


def _slot(keys: jax.Array, probe: jax.Array, slots: int) -> jax.Array:
    return ((keys[:, 0] + probe * (keys[:, 1] | 1)) & (slots - 1)).astype(jnp.int32)


def find(archive: Archive, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which of `[N, 2]` keys are there, `[N]` bool, and what they were told, `[N]` (minus infinity elsewhere)."""
    slots = len(archive.keys)

    def searching(carry):
        probe, _, pending = carry
        return pending.any() & (probe.max(initial=0) < _PROBES)

    def search(carry):
        probe, found, pending = carry
        stored = archive.keys[_slot(keys, probe, slots)]
        found = jnp.where(pending, (stored == keys).all(-1), found)
        pending &= ~found & (stored != _EMPTY).any(-1)
        return probe + pending.astype(jnp.uint32), found, pending

    start = jnp.zeros(len(keys), jnp.uint32), jnp.zeros(len(keys), bool), jnp.ones(len(keys), bool)
    probe, found, _ = jax.lax.while_loop(searching, search, start)
    return found, jnp.where(found, archive.fitness[_slot(keys, probe, slots)], -jnp.inf)


def add(archive: Archive, keys: jax.Array, fitness: jax.Array, where: jax.Array) -> tuple[Archive, jax.Array]:
    """Adds `[N, 2]` keys with fitness `[N]`, those of them that `where` `[N]` names.

    Returns:
      The archive, and which rows `[N]` are new: neither there before, nor equal to an earlier row. What is there
      keeps the fitness that it was told first.
    """
    slots, count = len(archive.keys), len(keys)
    index = jnp.arange(count)

    def adding(carry):
        _, probe, _, pending = carry
        return pending.any() & (probe.max(initial=0) < _PROBES)

    def try_once(carry):
        archive, probe, new, pending = carry
        slot = _slot(keys, probe, slots)
        stored = archive.keys[slot]
        vacant = (stored == _EMPTY).all(-1)
        same = (stored == keys).all(-1) & ~vacant
        wanted = jnp.where(pending & vacant, slot, slots)  # past the end: dropped
        claims = jnp.full(slots, count).at[wanted].min(index, mode="drop")
        won = pending & vacant & (claims[slot] == index)
        target = jnp.where(won, slot, slots)
        archive = Archive(
            archive.keys.at[target].set(keys, mode="drop"),
            archive.fitness.at[target].set(fitness, mode="drop"),
            archive.count + won.sum(dtype=jnp.int32),
        )
        # Who lost a claim looks at the slot again: the winner may be its equal.
        pending &= ~(same | won)
        return archive, probe + (pending & ~vacant).astype(jnp.uint32), new | won, pending

    start = archive, jnp.zeros(count, jnp.uint32), jnp.zeros(count, bool), where
    archive, _, new, _ = jax.lax.while_loop(adding, try_once, start)
    return archive, new
