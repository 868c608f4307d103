"""The network: a bidirectional LSTM over a sequence of layer vectors, pooled over its steps, and a small head.

Written for many small ones at once: a step is one batched matrix product for all gates of both directions, stacking the
members of an ensemble is one more batch dimension of it, and pooling goes along with the recurrence, so that no states
are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas._runtime import random as draws


class Pools(NamedTuple):
    """What is left of the states of a sequence: `[N, directions * H]` each.

    Attributes:
      mean, max: over the steps that are there.
      last: the last state in reading direction.
    """

    mean: jax.Array
    max: jax.Array
    last: jax.Array


class Recurrence(nnx.Module):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads forwards and, if `directions` is 2, backwards as well.

    Args:
      width: features of one step, D.
      hidden: features of a direction's state, H.
      directions: 1 or 2.
      words: `[2]` uint32 from which the initial weights are drawn, see `jnas._runtime.random`.
    """

    def __init__(self, width: int, hidden: int, directions: int = 2, *, words: jax.Array):
        inward = _weights(words, 0, (directions, width, 4 * hidden), width)
        across = _weights(words, 1, (directions, hidden, 4 * hidden), hidden)
        self.kernel = nnx.Param(jnp.concatenate([inward, across], 1))
        forget = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), hidden)  # remember, to begin with
        self.bias = nnx.Param(jnp.tile(forget, (directions, 1)))

    def __call__(self, steps: jax.Array, there: jax.Array) -> Pools:
        """The pooled states.

        Args:
          steps: `[T, N, D]`.
          there: `[T, N, 1]`, 1 for the steps that are there; the state passes the others by.
        """
        kernel, bias = self.kernel[...], self.bias[...][:, None]
        directions, hidden = kernel.shape[0], kernel.shape[2] // 4
        # A sigmoid is a tanh of half the size: so one tanh does all gates.
        half = np.repeat([0.5, 0.5, 0.5, 1.0], hidden).astype(np.float32)

        def step(carry, inputs):
            state, cell, total, highest = carry
            steps, there = (jnp.stack(pair[:directions]) for pair in inputs)
            gates = jnp.einsum("dnw,dwg->dng", jnp.concatenate([steps, state], -1), kernel) + bias
            bent = jnp.tanh(gates * half)
            i, f, o = jnp.split(0.5 * bent[..., : 3 * hidden] + 0.5, 3, -1)
            next_cell = f * cell + i * bent[..., 3 * hidden :]
            next_state = o * jnp.tanh(next_cell)
            state, cell = state + there * (next_state - state), cell + there * (next_cell - cell)
            highest = jnp.where(there > 0, jnp.maximum(highest, state), highest)
            return (state, cell, total + there * state, highest), None

        zero = jnp.zeros((directions, steps.shape[1], hidden))
        inputs = ((steps, steps[::-1]), (there, there[::-1]))
        (last, _, total, highest), _ = jax.lax.scan(step, (zero, zero, zero, zero - 1), inputs)
        pools = total / jnp.maximum(there.sum(0), 1), highest, last
        return Pools(*(jnp.concatenate(list(pool), -1) for pool in pools))


class Network(nnx.Module):
    """Steps and a context to a number: LSTM, pooling over the steps that are there, a head of one hidden layer.

    Args:
      width: features of one step, D.
      context: further features of a sequence, C, which the head sees; 0 for none.
      hidden: features of each direction's state.
      head: units of the head's hidden layer.
      directions: 1 reads forwards only.
      pooling: what the head sees of the states: some of "mean", "max" and "last".
      dropout: rate on what the head sees and on its hidden layer, while training.
      words: `[2]` uint32 from which the initial weights are drawn, see `jnas._runtime.random`.
    """

    def __init__(
        self,
        width: int,
        context: int = 0,
        *,
        hidden: int = 24,
        head: int = 24,
        directions: int = 2,
        pooling: tuple[str, ...] = ("mean",),
        dropout: float = 0.0,
        words: jax.Array,
    ):
        self.pooling, self.dropout = pooling, dropout
        self.recurrence = Recurrence(width, hidden, directions, words=words)
        seen = len(pooling) * directions * hidden + context
        self.inner = _linear(seen, head, _weights(words, 2, (seen, head), seen))
        self.outer = _linear(head, 1, 0.1 * _weights(words, 3, (head, 1), head))

    def __call__(
        self, steps: jax.Array, lengths: jax.Array, context: jax.Array, dropout_words: jax.Array | None = None
    ) -> jax.Array:
        """`[N, T, D]` steps, of which the first `lengths` `[N]` are there, and contexts `[N, C]`, to `[N]` numbers.

        With `dropout_words` `[2]` units are dropped, as they say.
        """
        there = (jnp.arange(steps.shape[1])[:, None] < lengths).astype(jnp.float32)[..., None]
        pools = self.recurrence(steps.swapaxes(0, 1), there)
        seen = jnp.concatenate([*(getattr(pools, name) for name in self.pooling), context], -1)
        inner = nnx.gelu(self.inner(self._drop(seen, dropout_words, 0)))
        return self.outer(self._drop(inner, dropout_words, 1))[:, 0]

    def _drop(self, values: jax.Array, words: jax.Array | None, stream: int) -> jax.Array:
        if words is None or not self.dropout:
            return values
        return values * (draws.uniform(words, stream, values.shape) >= self.dropout) / (1 - self.dropout)


def _weights(words: jax.Array, stream: int, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform weights of the variance 1 / fan_in (LeCun et al. 1998)."""
    return (2 * draws.uniform(words, stream, shape) - 1) * np.sqrt(3 / fan_in).astype(np.float32)


def _linear(inputs: int, outputs: int, kernel: jax.Array) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=lambda *_: kernel, rngs=nnx.Rngs(0))
