"""A Gaussian process on categorical genes: exact, calibrated, and fast for hundreds of rows."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import apply_rules, to_float, to_int

_JITTER = 1e-4
_MAX_GRADIENT = 1e4


class Hyper(NamedTuple):
    """Parameters of the covariance.

    `[genes]` weights say how much a difference in a gene lowers the product; the softmax of the `[genes]` logits are
    the genes' shares in the sum. The noise is that of an evaluation.
    """

    log_product_weights: ArrayLike
    additive_logits: ArrayLike
    log_product_variance: ArrayLike
    log_additive_variance: ArrayLike
    log_noise_variance: ArrayLike


_PRIOR_MEAN = Hyper(-1.0, 0.0, 0.0, 0.0, -4.0)
_PRIOR_STD = Hyper(1.0, 1.0, 1.5, 1.5, 1.5)


class Posterior(NamedTuple):
    """What a fit leaves: `chol_inverse` and `alpha` are as in Rasmussen and Williams 2006, algorithm 2.1."""

    hyper: Hyper
    optimizer_state: optax.OptState
    inputs: jax.Array
    mask: jax.Array
    chol_inverse: jax.Array
    alpha: jax.Array


@with_own_settings
@dataclass(frozen=True)
class GaussianProcess:
    """A `Surrogate` for one-hot genes `[N, genes, values]`.

    The covariance is a sum over genes of what each contributes alone, plus a product over genes for what they do
    together (Duvenaud et al. 2011; Ru et al. 2020). Its parameters climb the marginal likelihood times a prior, `steps`
    steps of Adam a fit, from where the last fit ended.
    """

    steps: int = 4
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        rate = partial(to_float, interval="(0, inf)")
        apply_rules(self, {"steps": partial(to_int, minimum=1, maximum=10_000), "learning_rate": rate})

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, b1=0.8, b2=0.9, eps=1e-6)

    def init(self, inputs: jax.Array) -> Posterior:
        rows, genes = inputs.shape[:2]
        of_genes = (jnp.full(genes, mean, jnp.float32) for mean in _PRIOR_MEAN[:2])
        hyper = Hyper(*of_genes, *map(jnp.float32, _PRIOR_MEAN[2:]))
        optimizer_state, inputs = self._optimizer.init(hyper), jnp.zeros(inputs.shape, jnp.float32)
        return Posterior(
            hyper, optimizer_state, inputs, jnp.zeros(rows, bool), jnp.zeros((rows, rows)), jnp.zeros(rows)
        )

    def fit(self, params: Posterior, inputs: jax.Array, targets: jax.Array, mask: jax.Array) -> Posterior:
        def covariance(hyper):
            diagonal = jnp.where(mask, jnp.exp(hyper.log_noise_variance) + _JITTER, 1.0)
            return jnp.where(mask[:, None] & mask, _covariance(hyper, inputs, inputs), 0) + jnp.diag(diagonal)

        def solve(hyper):
            chol_inverse = triangular_inverse(jnp.linalg.cholesky(covariance(hyper)))
            return chol_inverse, chol_inverse.T @ (chol_inverse @ targets)

        def climb(carry, _):
            hyper, optimizer_state = carry
            chol_inverse, alpha = solve(hyper)
            # The gradient of the likelihood by the covariance is known in closed form (Rasmussen and Williams, 5.9).
            slope = 0.5 * (chol_inverse.T @ chol_inverse - jnp.outer(alpha, alpha))
            gradient = jax.grad(lambda hyper: (slope * covariance(hyper)).sum() + _penalty(hyper))(hyper)
            gradient = jax.tree.map(lambda g: jnp.nan_to_num(g).clip(-_MAX_GRADIENT, _MAX_GRADIENT), gradient)
            updates, optimizer_state = self._optimizer.update(gradient, optimizer_state)
            return (jax.tree.map(jnp.add, hyper, updates), optimizer_state), None

        start = params.hyper, params.optimizer_state
        (hyper, optimizer_state), _ = jax.lax.scan(climb, start, length=self.steps)
        return Posterior(hyper, optimizer_state, inputs, mask, *solve(hyper))

    def predict(self, params: Posterior, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        across = jnp.where(params.mask[:, None], _covariance(params.hyper, params.inputs, inputs), 0)
        explained = jnp.square(params.chol_inverse @ across).sum(0)
        prior = jnp.exp(params.hyper.log_product_variance) + jnp.exp(params.hyper.log_additive_variance)
        return params.alpha @ across, jnp.sqrt(jnp.maximum(prior - explained, 1e-8))


def _covariance(hyper: Hyper, first: jax.Array, second: jax.Array) -> jax.Array:
    """`[N, M]` of `[N, genes, values]` and `[M, genes, values]` one-hot genes."""
    weights, shares = jnp.exp(hyper.log_product_weights), jax.nn.softmax(hyper.additive_logits)
    flat = second.reshape(len(second), -1).T
    equal = lambda weight: (first * weight[:, None]).reshape(len(first), -1) @ flat  # noqa: E731
    product = jnp.exp(hyper.log_product_variance + equal(weights) - weights.sum())
    return product + jnp.exp(hyper.log_additive_variance) * equal(shares)


def _penalty(hyper: Hyper) -> jax.Array:
    """Minus the logarithm of the prior, but for a constant."""
    scores = jax.tree.map(lambda value, mean, std: (value - mean) / std, hyper, _PRIOR_MEAN, _PRIOR_STD)
    return 0.5 * optax.tree.norm(scores, squared=True)


def triangular_inverse(lower: jax.Array) -> jax.Array:
    """Returns the inverse of a lower triangular `[n, n]`, from the diagonal outwards in blocks that double.

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
        inverse = jnp.block([[upper, jnp.zeros_like(upper)], [corner, lowest]])
        width *= 2
    return inverse[0, :rows, :rows]
