"""Targets and early accuracies on scales that a network learns well on, all of it jittable, and back again."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_POWERS = np.arange(-1.0, 4.01, 0.25)
_SEEN_ROWS = 5.0
_RIDGE = 0.01


class Scale(NamedTuple):
    """Yeo and Johnson's power transform (2000) between two standardisations; it makes a skewed target nearly normal.

    Attributes:
      mean, std: of the targets.
      power: 1 changes nothing; more stretches the upper end, less the lower one.
      power_mean, power_std: after the power.
      low, high: the range of transformed targets; what is far outside is cut off on the way back.
    """

    mean: jax.Array
    std: jax.Array
    power: jax.Array
    power_mean: jax.Array
    power_std: jax.Array
    low: jax.Array
    high: jax.Array


def moments(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of `[N, ...]` values over the rows that the mask `[N, ...]` counts."""
    total = jnp.maximum(mask.sum(0), 1)
    mean = (values * mask).sum(0) / total
    return mean, jnp.sqrt((jnp.square(values - mean) * mask).sum(0) / total)


def fit_scale(targets: jax.Array, mask: jax.Array, bend: bool = True) -> Scale:
    """The scale of targets `[N]` (those with mask 1); with `bend` the power is that of highest likelihood."""
    mean, std = moments(targets, mask)
    std = jnp.maximum(std, 1e-12)
    normal = (targets - mean) / std

    def likelihood(power):
        _, spread = moments(_yeo_johnson(normal, power), mask)
        slope = (power - 1) * (jnp.sign(normal) * jnp.log1p(jnp.abs(normal)) * mask).sum() / mask.sum()
        return slope - jnp.log(spread)

    powers = jnp.asarray(_POWERS, jnp.float32)
    power = powers[jnp.argmax(jax.vmap(likelihood)(powers))] if bend else jnp.float32(1)
    bent = _yeo_johnson(normal, power)
    power_mean, power_std = moments(bent, mask)
    scaled = (bent - power_mean) / power_std
    low, high = jnp.where(mask > 0, scaled, jnp.inf).min(), jnp.where(mask > 0, scaled, -jnp.inf).max()
    return Scale(mean, std, power, power_mean, power_std, low, high)


def forth(scale: Scale, targets: jax.Array) -> jax.Array:
    """Targets on the scale of the network."""
    return (_yeo_johnson((targets - scale.mean) / scale.std, scale.power) - scale.power_mean) / scale.power_std


def back(scale: Scale, values: jax.Array) -> jax.Array:
    """What the network says, in the targets' units."""
    margin = 0.2 * (scale.high - scale.low)
    inside = jnp.clip(values, scale.low - margin, scale.high + margin)
    return _inverse(inside * scale.power_std + scale.power_mean, scale.power) * scale.std + scale.mean


def _yeo_johnson(x: jax.Array, power: jax.Array) -> jax.Array:
    def bend(size, p):
        p_safe = jnp.where(jnp.abs(p) < 1e-6, 1.0, p)
        return jnp.where(jnp.abs(p) < 1e-6, jnp.log1p(size), (jnp.power(1 + size, p_safe) - 1) / p_safe)

    return jnp.where(x >= 0, bend(jnp.maximum(x, 0), power), -bend(jnp.maximum(-x, 0), 2 - power))


def _inverse(z: jax.Array, power: jax.Array) -> jax.Array:
    def unbend(size, p):
        p_safe = jnp.where(jnp.abs(p) < 1e-6, 1.0, p)
        # A negative power has an asymptote, which nothing reaches.
        base = jnp.maximum(1 + p_safe * size, 1e-3)
        return jnp.where(jnp.abs(p) < 1e-6, jnp.expm1(size), jnp.power(base, 1 / p_safe) - 1)

    return jnp.where(z >= 0, unbend(jnp.maximum(z, 0), power), -unbend(jnp.maximum(-z, 0), 2 - power))


def _solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """The solution of a small positive definite system, by conjugate gradients: plain products vmap well."""
    size = len(right)
    return jax.scipy.sparse.linalg.cg(lambda x: matrix @ x, right, tol=1e-6, maxiter=2 * size)[0] if size else right


class Baseline(NamedTuple):
    """What the accuracies of the first k epochs alone say of the target, by ridge regression, for each k.

    Attributes:
      mean, std: `[E]` of each epoch's accuracies.
      slopes: `[E + 1, E]` for each number of seen epochs, on standardised accuracies.
      offset, spread: `[E + 1]` the constant, and the standard deviation of what remains.
      usable: `[E + 1]` the largest number of epochs, up to the seen ones, that enough rows of training had.
    """

    mean: jax.Array
    std: jax.Array
    slopes: jax.Array
    offset: jax.Array
    spread: jax.Array
    usable: jax.Array


def seen_epochs(early: jax.Array) -> jax.Array:
    """How many of the accuracies `[N, E]` are there before the first NaN: `[N]`."""
    return jnp.cumprod(~jnp.isnan(early), -1).sum(-1)


def fit_baseline(early: jax.Array, seen: jax.Array, targets: jax.Array, mask: jax.Array) -> Baseline:
    """Regressions of scaled targets `[N]` on `early` `[N, E]`, of which the first `seen` `[N]` count."""
    epochs = early.shape[1]
    known = jnp.arange(epochs) < seen[:, None]
    mean, std = moments(jnp.where(known, early, 0), known * mask[:, None])
    std = jnp.maximum(std, 1e-6)
    normal = jnp.where(known, (early - mean) / std, 0)

    def at(count):
        rows = mask * (seen >= count)
        total = jnp.maximum(rows.sum(), 1)
        x = normal * (jnp.arange(epochs) < count)
        centre, offset = (x * rows[:, None]).sum(0) / total, (targets * rows).sum() / total
        x = (x - centre) * rows[:, None]
        slopes = _solve(x.T @ x / total + _RIDGE * jnp.eye(epochs), x.T @ ((targets - offset) * rows) / total)
        left = (targets - offset) * rows - x @ slopes
        spread = jnp.maximum(jnp.sqrt(jnp.square(left).sum() / total), 1e-3)
        return slopes, offset - centre @ slopes, spread, rows.sum() >= _SEEN_ROWS

    counts = jnp.arange(epochs + 1)
    slopes, offset, spread, enough = jax.vmap(at)(counts)
    usable = jax.lax.cummax(jnp.where(enough, counts, 0))
    return Baseline(mean, std, slopes, offset, spread, usable)


def context(baseline: Baseline, early: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The baseline's prediction and spread, `[N]` each, and what the network sees of the epochs, `[N, 2 E + 1]`."""
    seen = baseline.usable[seen]
    known = jnp.arange(early.shape[1]) < seen[:, None]
    normal = jnp.where(known, (early - baseline.mean) / baseline.std, 0)
    first = (normal * baseline.slopes[seen]).sum(-1) + baseline.offset[seen]
    return first, baseline.spread[seen], jnp.concatenate([normal, known, first[:, None]], -1)
