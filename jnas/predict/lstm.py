"""The network: an LSTM over a sequence of layer vectors, and a number at its end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx


class LSTM(nnx.Module):
    """Two stacked LSTMs and a linear head on the last step that is there (Hochreiter and Schmidhuber 1997).

    Args:
      width: features of one step, D.
      hidden: features of the LSTMs' state.
      rngs: random streams for the initial weights.
    """

    def __init__(self, width: int, hidden: int = 32, *, rngs: nnx.Rngs):
        self.first = nnx.RNN(nnx.OptimizedLSTMCell(width, hidden, rngs=rngs))
        self.second = nnx.RNN(nnx.OptimizedLSTMCell(hidden, hidden, rngs=rngs))
        self.head = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, sequences: jax.Array, lengths: jax.Array) -> jax.Array:
        """`[N, T, D]` sequences, of which the first `lengths` `[N]` steps are there, to `[N]` numbers."""
        states = self.second(self.first(sequences))
        last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)
        return self.head(last[:, 0])[:, 0]
