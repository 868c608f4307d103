"""What is worth an evaluation: what is likely to be better, and not the same thing many times."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri

from jnas._runtime.jax_config import with_own_settings


def rank_to_normal(fitness: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the normal score of each of `[N]` fitness by its rank among those of the mask, 0 for the others.

    So neither the scale of the fitness nor a long tail of bad ones matters. Equal values get equal scores.
    """
    values = jnp.where(mask, fitness, jnp.inf)
    count = jnp.maximum(mask.sum(), 1)
    ordered = jnp.sort(values)
    below, upto = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return jnp.where(mask, ndtri(((below + upto) / 2 / count).clip(1e-6, 1 - 1e-6)), 0.0)


@with_own_settings
def log_probability_of_improvement(mean: jax.Array, std: jax.Array, best: jax.Array) -> jax.Array:
    """Returns the logarithm of the probability that normal predictions are above `best` (Kushner 1964).

    It prefers what is likely to be a little better. The expected improvement would rather have what a surrogate knows
    nothing of, which in a space where most is poor is poor as well (see docs/decisions/035).
    """
    return log_ndtr((mean - best) / jnp.maximum(std, 1e-6))


@with_own_settings
def log_penalty(
    genomes: jax.Array,
    chosen: jax.Array,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
    length_scale: float = 0.15,
) -> jax.Array:
    """Returns what to add to the log scores of `[N, ...]` genomes because one genome, `[...]`, is chosen already.

    It is near minus 21 for an equal genome, and near zero beyond `length_scale`, where `distance` of two genomes goes
    from 0 to 1 (local penalisation, González et al. 2016, arXiv:1505.08052).
    """
    return jnp.log(-jnp.expm1(-jax.vmap(distance, (0, None))(genomes, chosen) / length_scale) + 1e-9)


@with_own_settings
def local_penalization(
    log_scores: jax.Array,
    genomes: jax.Array,
    count: int,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
    length_scale: float = 0.15,
) -> jax.Array:
    """Returns the indices `[count]` of `[N, ...]` genomes with high log scores that are not alike, the best first.

    Greedy: each next one has the highest score after the `log_penalty` of those before. A score of minus infinity is
    chosen last.
    """
    chosen = []
    for _ in range(count):
        best = jnp.argmax(log_scores)
        chosen.append(best)
        log_scores += log_penalty(genomes, genomes[best], distance, length_scale)
        log_scores = log_scores.at[best].set(-jnp.inf)
    return jnp.stack(chosen)
