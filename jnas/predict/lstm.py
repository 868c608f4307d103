"""The network: a bidirectional LSTM over a sequence of layer vectors, pooled over its steps, and a small head.

Written for many small ones at once. What the input gives to the gates is one matrix product before the recurrence, and
both directions are one batched product in it; stacking the members of an ensemble is one more batch dimension.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx


class Recurrence(nnx.Module):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads forwards and, if `directions` is 2, backwards as well.

    Args:
      width: features of one step, D.
      hidden: features of a direction's state, H.
      directions: 1 or 2.
      rngs: random streams for the initial weights.
    """

    def __init__(self, width: int, hidden: int, directions: int = 2, *, rngs: nnx.Rngs):
        normal, orthogonal = nnx.initializers.lecun_normal(batch_axis=0), nnx.initializers.orthogonal()
        self.inward = nnx.Param(normal(rngs.params(), (directions, width, 4 * hidden)))
        keys = jax.random.split(rngs.params(), (directions, 4))
        gates = jax.vmap(jax.vmap(lambda key: orthogonal(key, (hidden, hidden))))(keys)
        self.across = nnx.Param(jnp.concatenate(list(gates.swapaxes(0, 1)), -1))
        forget = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), hidden)  # remember, to begin with
        self.bias = nnx.Param(jnp.tile(forget, (directions, 1)))

    def __call__(self, steps: jax.Array, there: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States `[T, N, directions * H]` and the last ones `[N, directions * H]`.

        Args:
          steps: `[T, N, D]`.
          there: `[T, N, 1]`, 1 for the steps that are there; the state passes the others by.
        """
        across = self.across[...]
        directions, hidden = across.shape[:2]
        both = jnp.stack([steps, steps[::-1]][:directions], 1)
        there = jnp.stack([there, there[::-1]][:directions], 1)
        gates = jnp.einsum("tdnw,dwg->tdng", both, self.inward[...]) + self.bias[...][:, None]

        def step(carry, inputs):
            state, cell = carry
            gate, there = inputs
            i, f, o, new = jnp.split(gate + jnp.einsum("dnh,dhg->dng", state, across), 4, -1)
            next_cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(new)
            next_state = jax.nn.sigmoid(o) * jnp.tanh(next_cell)
            carry = state + there * (next_state - state), cell + there * (next_cell - cell)
            return carry, carry[0]

        zero = jnp.zeros((directions, steps.shape[1], hidden))
        (last, _), states = jax.lax.scan(step, (zero, zero), (gates, there))
        merged = jnp.concatenate([states[:, 0], *([states[::-1, 1]] if directions == 2 else [])], -1)
        return merged, jnp.concatenate(list(last), -1)


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
      rngs: random streams for the initial weights.
    """

    def __init__(
        self,
        width: int,
        context: int = 0,
        *,
        hidden: int = 24,
        head: int = 24,
        directions: int = 2,
        pooling: tuple[str, ...] = ("mean", "max", "last"),
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.pooling, self.dropout = pooling, dropout
        self.recurrence = Recurrence(width, hidden, directions, rngs=rngs)
        self.inner = nnx.Linear(len(pooling) * directions * hidden + context, head, rngs=rngs)
        self.outer = nnx.Linear(head, 1, kernel_init=nnx.initializers.normal(0.1 / head**0.5), rngs=rngs)

    def __call__(
        self, steps: jax.Array, lengths: jax.Array, context: jax.Array, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """`[N, T, D]` steps, of which the first `lengths` `[N]` are there, and contexts `[N, C]`, to `[N]` numbers."""
        there = (jnp.arange(steps.shape[1])[:, None] < lengths).astype(jnp.float32)[..., None]
        states, last = self.recurrence(steps.swapaxes(0, 1), there)
        pools = {
            "mean": lambda: (states * there).sum(0) / jnp.maximum(there.sum(0), 1),
            "max": lambda: jnp.where(there > 0, states, -1).max(0),
            "last": lambda: last,
        }
        seen = jnp.concatenate([*(pools[name]() for name in self.pooling), context], -1)
        keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        inner = nnx.gelu(self.inner(self._drop(seen, keys[0])))
        return self.outer(self._drop(inner, keys[1]))[:, 0]

    def _drop(self, values: jax.Array, key: jax.Array | None) -> jax.Array:
        if key is None or not self.dropout:
            return values
        return values * jax.random.bernoulli(key, 1 - self.dropout, values.shape) / (1 - self.dropout)
