"""Several objectives at once: who dominates whom. Every objective is to be high."""

import jax
import jax.numpy as jnp
import numpy as np

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse, to_array

_BLOCK = 256


@with_own_settings
def nondominated_rank(objectives: jax.Array) -> jax.Array:
    """Returns the number of the front of each of `[N, M]` objectives, `[N]` int32, 0 for those that nobody dominates.

    A front is what nobody dominates once the fronts before it are taken away (Deb et al. 2002); its number is the
    length of the longest chain of dominators. Rows with a minus infinity come last.

    Two objectives take O(N log N): sorted by the first, a member's front is found by bisection among the best second
    values of the fronts so far (Jensen 2003). Others take O(M N²) time and, in blocks of 256, O(N) memory.
    """
    count, number = objectives.shape
    dead = (objectives == -jnp.inf).any(-1)
    order = jnp.lexsort((*(-objectives[:, m] for m in reversed(range(number))), dead))
    ranks = (_rank_2d if number == 2 else _rank_nd)(objectives[order])
    return jnp.where(dead, count, jnp.zeros(count, jnp.int32).at[order].set(ranks))


def _rank_2d(ordered: jax.Array) -> jax.Array:
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


def _rank_nd(ordered: jax.Array) -> jax.Array:
    """Fronts of `[N, M]` in falling lexicographic order, in which nobody is dominated by a later one."""
    count = len(ordered)
    width = min(_BLOCK, count)
    blocks = -(-count // width)
    padded = jnp.pad(ordered, ((0, blocks * width - count), (0, 0)), constant_values=-jnp.inf)

    def dominators(rows, others):
        """Which of `[N, M]` others dominate each of `[K, M]` rows: `[K, N]` bool."""
        return (others >= rows[:, None]).all(-1) & (others > rows[:, None]).any(-1)

    def block(number, ranks):
        rows = jax.lax.dynamic_slice_in_dim(padded, number * width, width)
        is_earlier = jnp.arange(len(padded)) < number * width
        base = jnp.where(dominators(rows, padded) & is_earlier, ranks + 1, 0).max(1)
        inside = dominators(rows, rows)

        def grow(carry):
            _, ranks = carry
            return ranks, jnp.maximum(base, jnp.where(inside, ranks + 1, 0).max(1))

        _, found = jax.lax.while_loop(lambda carry: (carry[0] != carry[1]).any(), grow, (base - 1, base))
        return jax.lax.dynamic_update_slice_in_dim(ranks, found, number * width, 0)

    return jax.lax.fori_loop(0, blocks, block, jnp.zeros(len(padded), jnp.int32))[:count]


@with_own_settings
def crowding_distance(objectives: jax.Array, ranks: jax.Array) -> jax.Array:
    """Returns the crowding distances (Deb et al. 2002) of `[N, M]` objectives, `[N]`, infinite at a front's ends.

    The sum over objectives of the gap between a member's two neighbours, as a share of the objective's range.
    """
    finite = jnp.where(jnp.isfinite(objectives), objectives, jnp.nan)
    spread = jnp.maximum(jnp.nanmax(finite, 0) - jnp.nanmin(finite, 0), 1e-12)
    edge = jnp.zeros(1, bool)

    def gaps(values, spread):
        order = jnp.lexsort((values, ranks))
        values, same = values[order], ranks[order][1:] == ranks[order][:-1]
        is_inner = jnp.concatenate([edge, same]) & jnp.concatenate([same, edge])
        gap = jnp.where(is_inner, (jnp.roll(values, -1) - jnp.roll(values, 1)) / spread, jnp.inf)
        return jnp.zeros(len(values)).at[order].set(gap)

    total = jax.vmap(gaps, (1, 0))(objectives, spread).sum(0)
    return jnp.where(jnp.isnan(total), 0.0, total)


def pareto_front(objectives: np.ndarray) -> np.ndarray:
    """Returns the indices of the `[N, M]` objectives that nobody dominates, the highest first objective first.

    Of equal rows the first counts; a NaN is dominated by all. On the host, for a table of results.
    """
    values = to_array("objectives", objectives).astype(float)
    if values.ndim != 2:
        refuse("objectives", "[N, M], a row for each candidate", values, "numpy.column_stack makes it of vectors")
    objectives = values
    good = np.flatnonzero(~np.isnan(objectives).any(-1))
    front = []
    for index in good[np.lexsort(-objectives[good, ::-1].T)]:
        if not any((objectives[other] >= objectives[index]).all() for other in front):
            front.append(int(index))
    return np.array(front, int)
