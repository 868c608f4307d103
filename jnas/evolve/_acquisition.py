"""What is worth an evaluation: the improvement that a surrogate expects, and not the same thing many times."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

_LOG_ROOT_TAU = 0.9189385332046727  # log of the square root of 2 pi


def normal_scores(fitness: jax.Array, known: jax.Array) -> jax.Array:
    """`[N]` fitness as what its rank would be under a normal distribution, 0 where it is not known.

    So neither the scale of the fitness nor a long tail of bad ones matters. Equal values get equal scores.
    """
    values = jnp.where(known, fitness, jnp.inf)
    count = jnp.maximum(known.sum(), 1)
    ordered = jnp.sort(values)
    below, upto = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return jnp.where(known, ndtri(((below + upto) / 2 / count).clip(1e-6, 1 - 1e-6)), 0.0)


def log_expected_improvement(mean: jax.Array, std: jax.Array, best: jax.Array) -> jax.Array:
    """The logarithm of the expected improvement over `best` of normal predictions (Jones, Schonlau and Welch 1998).

    The logarithm still tells candidates apart where the improvement itself is zero in float32 (Ament et al. 2023).
    """
    std = jnp.maximum(std, 1e-6)
    z = (mean - best) / std
    log_density = -0.5 * z * z - _LOG_ROOT_TAU
    near = jnp.maximum(z, -4.0)
    exact = jnp.log(near * ndtr(near) + jnp.exp(-0.5 * near * near - _LOG_ROOT_TAU))
    far = jnp.minimum(z, -4.0)
    series = log_density + jnp.log((1 - 3 / far**2 + 15 / far**4) / far**2)
    return jnp.log(std) + jnp.where(z > -4, exact, series)


def diverse(
    log_scores: jax.Array,
    genomes: jax.Array,
    count: int,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
    reach: float = 0.15,
) -> jax.Array:
    """Places `[count]` of genomes with high scores that are not alike, the best first.

    Greedy: each next one has the highest score after a discount for what is close to those that were chosen, near zero
    for an equal one and little beyond `reach` (local penalisation, Gonzalez et al. 2016).

    Args:
      log_scores: `[N]`, minus infinity for what must not be chosen.
      genomes: `[N, ...]`.
      count: how many, N at most.
      distance: of two genomes, from 0 to 1.
      reach: the distance at which the discount is by about two thirds.
    """
    chosen = []
    for _ in range(count):
        best = jnp.argmax(log_scores)
        chosen.append(best)
        apart = jax.vmap(distance, (0, None))(genomes, genomes[best])
        log_scores = (log_scores + jnp.log(-jnp.expm1(-apart / reach) + 1e-9)).at[best].set(-jnp.inf)
    return jnp.stack(chosen)
