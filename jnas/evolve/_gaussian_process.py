"""A Gaussian process on categorical genes: exact, sure of itself where it may be, and fast for hundreds of rows.

The covariance is a sum over genes of what each contributes alone, plus a product over genes for what they do together
(an additive and a Hamming kernel, as in Duvenaud, Nickisch and Rasmussen 2011 and Ru et al. 2020). The weight of each
gene, the two amplitudes and the noise climb the marginal likelihood times a prior, a few steps of Adam a fit, from
where the last fit ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_JITTER = 1e-4
_MOST = 1e4


class Hyper(NamedTuple):
    """Logarithms of the covariance's parameters.

    Attributes:
      reach: `[genes]`, how much a difference in a gene lowers the product.
      share: `[genes]`, softmax of the genes' shares in the sum.
      together, alone: variances of the product and of the sum.
      noise: variance of an evaluation.
    """

    reach: jax.Array
    share: jax.Array
    together: jax.Array
    alone: jax.Array
    noise: jax.Array


_PRIOR = Hyper(reach=-1.0, share=0.0, together=0.0, alone=0.0, noise=-4.0)
_SPREAD = Hyper(reach=1.0, share=1.0, together=1.5, alone=1.5, noise=1.5)


class Fitted(NamedTuple):
    """Hyper-parameters, Adam's two moments of them, and what predictions need of the rows."""

    hyper: Hyper
    first: Hyper
    second: Hyper
    inputs: jax.Array
    known: jax.Array
    whitening: jax.Array
    weights: jax.Array


@dataclass(frozen=True)
class GaussianProcess:
    """A `Surrogate` for one-hot genes `[N, genes, values]`.

    Args:
      steps: of Adam, a fit.
      learning_rate: of these.
    """

    steps: int = 4
    learning_rate: float = 0.1

    def init(self, inputs: jax.Array) -> Fitted:
        rows, genes = len(inputs), inputs.shape[1]
        hyper = Hyper(*(jnp.full((genes,) if i < 2 else (), value, jnp.float32) for i, value in enumerate(_PRIOR)))
        zeros = jax.tree.map(jnp.zeros_like, hyper)
        known, square = jnp.zeros(rows, bool), jnp.zeros((rows, rows))
        return Fitted(hyper, zeros, zeros, jnp.zeros(inputs.shape, jnp.float32), known, square, jnp.zeros(rows))

    def fit(self, params: Any, inputs: jax.Array, targets: jax.Array, known: jax.Array) -> Fitted:
        def covariance(hyper):
            both = known[:, None] & known
            own = jnp.where(known, jnp.exp(hyper.noise) + _JITTER, 1.0)
            return jnp.where(both, _covariance(hyper, inputs, inputs), 0) + jnp.diag(own)

        def solved(hyper):
            whitening = inverse_of_triangle(jnp.linalg.cholesky(covariance(hyper)))
            return whitening, whitening.T @ (whitening @ targets)

        def climb(carry, rate):
            hyper, first, second, _ = carry
            whitening, weights = solved(hyper)
            # The gradient of the likelihood by the covariance, which is known in closed form (Rasmussen 2006, 5.9).
            slope = 0.5 * (whitening.T @ whitening - jnp.outer(weights, weights))
            gradient = jax.grad(lambda h: (slope * covariance(h)).sum() + _penalty(h))(hyper)
            gradient = jax.tree.map(lambda g: jnp.clip(jnp.nan_to_num(g), -_MOST, _MOST), gradient)
            first = jax.tree.map(lambda m, g: 0.8 * m + 0.2 * g, first, gradient)
            second = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g * g, second, gradient)
            hyper = jax.tree.map(lambda h, m, v: h - rate * m / (jnp.sqrt(v) + 1e-6), hyper, first, second)
            return (hyper, first, second, (whitening, weights)), None

        # The last turn only solves: its step has no length.
        rates = jnp.full(self.steps + 1, self.learning_rate).at[-1].set(0)
        start = (params.hyper, params.first, params.second, (params.whitening, params.weights))
        (hyper, first, second, solution), _ = jax.lax.scan(climb, start, rates)
        return Fitted(hyper, first, second, inputs, known, *solution)

    def predict(self, params: Fitted, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        across = jnp.where(params.known[:, None], _covariance(params.hyper, params.inputs, inputs), 0)
        explained = jnp.square(params.whitening @ across).sum(0)
        whole = jnp.exp(params.hyper.together) + jnp.exp(params.hyper.alone)
        return params.weights @ across, jnp.sqrt(jnp.maximum(whole - explained, 1e-8))


def _covariance(hyper: Hyper, first: jax.Array, second: jax.Array) -> jax.Array:
    """`[N, M]` of `[N, genes, values]` and `[M, genes, values]` one-hot genes."""
    reach, share = jnp.exp(hyper.reach), jax.nn.softmax(hyper.share)
    flat = second.reshape(len(second), -1).T
    equal = lambda weight: (first * weight[:, None]).reshape(len(first), -1) @ flat  # noqa: E731
    return jnp.exp(hyper.together + equal(reach) - reach.sum()) + jnp.exp(hyper.alone) * equal(share)


def _penalty(hyper: Hyper) -> jax.Array:
    terms = jax.tree.map(lambda h, mean, spread: 0.5 * jnp.square((h - mean) / spread).sum(), hyper, _PRIOR, _SPREAD)
    return sum(terms)


def inverse_of_triangle(lower: jax.Array) -> jax.Array:
    """The inverse of a lower triangular `[n, n]`, from the diagonal outwards in blocks that double.

    All of it is matrix products, which vmap batches well. XLA's triangular solve takes a hundred times as long on a
    CPU when it is batched.
    """
    rows = len(lower)
    size = 1 << (rows - 1).bit_length()
    lower = jnp.pad(lower, (0, size - rows)) + jnp.diag(jnp.where(jnp.arange(size) < rows, 0.0, 1.0))
    inverse = (1 / jnp.diagonal(lower))[:, None, None]  # [blocks, width, width]
    width = 1
    while width < size:
        blocks = size // (2 * width)
        pair = jnp.arange(blocks)
        below = lower.reshape(blocks, 2 * width, blocks, 2 * width)[pair, :, pair][:, width:, :width]
        upper, lowest = inverse[0::2], inverse[1::2]
        corner = -lowest @ below @ upper
        top = jnp.concatenate([upper, jnp.zeros_like(upper)], 2)
        inverse = jnp.concatenate([top, jnp.concatenate([corner, lowest], 2)], 1)
        width *= 2
    return inverse[0, :rows, :rows]
