"""Several objectives at once: who dominates whom. Every objective is to be high."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

_BLOCK = 256


def dominates(first: jax.Array, second: jax.Array) -> jax.Array:
    """Whether `[..., M]` objectives are nowhere lower than others, and somewhere higher: `[...]` bool."""
    return (first >= second).all(-1) & (first > second).any(-1)


def fronts(objectives: jax.Array) -> jax.Array:
    """The number of the front of each of `[N, M]` objectives, `[N]` int32, 0 for those that nobody dominates.

    This is the non-dominated sort of Deb et al. (2002): a front is what nobody dominates once the fronts before it are
    taken away; its number is the length of the longest chain of dominators. Rows with a minus infinity come last.

    Two objectives take O(N log N): sorted by the first, a member's front is found by bisection among the best second
    values of the fronts so far (Jensen 2003). More take O(M N^2) time and, in blocks of 256, O(N) memory: up to some
    ten thousand members.
    """
    count, number = objectives.shape
    dead = (objectives == -jnp.inf).any(-1)
    order = jnp.lexsort((*(-objectives[:, m] for m in reversed(range(number))), dead))
    ordered = objectives[order]
    if number == 1:
        new = jnp.concatenate([jnp.zeros(1, bool), ordered[1:, 0] != ordered[:-1, 0]])
        ranks = jnp.cumsum(new)
    elif number == 2:
        ranks = _two(ordered)
    else:
        ranks = _many(ordered)
    result = jnp.zeros(count, jnp.int32).at[order].set(ranks.astype(jnp.int32))
    return jnp.where(dead, count, result)


def _two(ordered: jax.Array) -> jax.Array:
    """Fronts of `[N, 2]` in falling lexicographic order."""
    count = len(ordered)

    def place(carry, row):
        # below[f]: minus the highest second objective of front f. They rise with f, so the first front that does not
        # dominate the row is found by bisection. Equal rows share the front of the one before.
        below, before, last = carry
        front = jnp.searchsorted(below, -row[1], side="right").astype(jnp.int32)
        front = jnp.where((row == before).all(), last, front)
        return (below.at[front].min(-row[1]), row, front), front

    start = jnp.full(count, jnp.inf), jnp.full(2, jnp.nan), jnp.int32(0)
    return jax.lax.scan(place, start, ordered)[1]


def _many(ordered: jax.Array) -> jax.Array:
    """Fronts of `[N, M]` in falling lexicographic order, in which nobody is dominated by a later one."""
    count = len(ordered)
    width = min(_BLOCK, count)
    blocks = -(-count // width)
    padded = jnp.pad(ordered, ((0, blocks * width - count), (0, 0)), constant_values=-jnp.inf)

    def block(number, ranks):
        rows = jax.lax.dynamic_slice_in_dim(padded, number * width, width)
        above = dominates(padded[None], rows[:, None])  # [width, N]
        earlier = jnp.arange(len(padded)) < number * width
        base = jnp.where(above & earlier, ranks + 1, 0).max(1)
        inside = dominates(rows[None], rows[:, None])

        def grow(carry):
            own, _ = carry
            longer = jnp.maximum(base, jnp.where(inside, own + 1, 0).max(1))
            return longer, (longer != own).any()

        own, _ = jax.lax.while_loop(lambda carry: carry[1], grow, (base, jnp.bool_(True)))
        return jax.lax.dynamic_update_slice_in_dim(ranks, own, number * width, 0)

    return jax.lax.fori_loop(0, blocks, block, jnp.zeros(len(padded), jnp.int32))[:count]


def crowding(objectives: jax.Array, ranks: jax.Array) -> jax.Array:
    """The crowding distance of each of `[N, M]` objectives within its front: `[N]`, infinite at a front's ends.

    The sum over objectives of the gap between a member's two neighbours, as a share of the objective's range (Deb et
    al. 2002).
    """
    count, number = objectives.shape
    finite = jnp.where(jnp.isfinite(objectives), objectives, jnp.nan)
    total = jnp.zeros(count)
    for m in range(number):
        values = objectives[:, m]
        order = jnp.lexsort((values, ranks))
        sorted_values, sorted_ranks = values[order], ranks[order]
        same = sorted_ranks[1:] == sorted_ranks[:-1]
        first, last = jnp.concatenate([jnp.zeros(1, bool), same]), jnp.concatenate([same, jnp.zeros(1, bool)])
        spread = jnp.nanmax(finite[:, m]) - jnp.nanmin(finite[:, m])
        gap = (jnp.roll(sorted_values, -1) - jnp.roll(sorted_values, 1)) / jnp.maximum(spread, 1e-12)
        total += jnp.zeros(count).at[order].set(jnp.where(first & last, gap, jnp.inf))
    return jnp.where(jnp.isnan(total), 0.0, total)


def front(objectives: np.ndarray) -> np.ndarray:
    """The places of the members of `[N, M]` objectives that nobody dominates, in the order of the first objective,
    the highest first; of equal members the first. On the host, for a table of results; a NaN is dominated by all.
    """
    objectives = np.asarray(objectives, float)
    good = np.flatnonzero(~np.isnan(objectives).any(-1))
    kept = []
    for place in good[np.lexsort([*(-objectives[good, m] for m in reversed(range(objectives.shape[1])))])]:
        if not any((objectives[other] >= objectives[place]).all() for other in kept):
            kept.append(int(place))
    return np.array(kept, int)
