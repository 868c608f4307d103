"""The LSTM of Sophius, as a baseline: two layers, 32 wide, dropout between them, 20 epochs, on bit vectors alone."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jnas._runtime import checkpoint
from jnas.predict._base import Regressor

HIDDEN = 32
DROPOUT = 0.5
EPOCHS = 20
BATCH = 16
LEARNING_RATE = 1e-3
CHUNK = 4096


class StackedLSTM(nnx.Module):
    """Two stacked LSTMs and a linear head on the last step that is there.

    Args:
      width: features of one step, D.
      rngs: random streams for the initial weights.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.first = nnx.RNN(nnx.OptimizedLSTMCell(width, HIDDEN, rngs=rngs))
        self.second = nnx.RNN(nnx.OptimizedLSTMCell(HIDDEN, HIDDEN, rngs=rngs))
        self.head = nnx.Linear(HIDDEN, 1, rngs=rngs)

    def __call__(self, sequences: jax.Array, lengths: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        """`[N, T, D]` sequences, of which the first `lengths` `[N]` steps are there, to `[N]` numbers."""
        states = self.first(sequences)
        if dropout_key is not None:
            states = states * jax.random.bernoulli(dropout_key, 1 - DROPOUT, states.shape) / (1 - DROPOUT)
        states = self.second(states)
        last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)
        return self.head(last[:, 0])[:, 0]


class OriginalLSTM(Regressor):
    """The regressor of Sophius: one network, trained by Adam on the squared error for 20 epochs.

    It has no doubt of its own: the standard deviation is that of its errors in training, the same for all rows. It
    reads no early accuracies; what it is given of them is ignored.
    """

    name = "sophius_lstm"

    def _fit(self, sequences, lengths, targets, early):
        sequences = jnp.asarray(sequences, jnp.float32)
        self.params = _train(self.seed, sequences, jnp.asarray(lengths), jnp.asarray(targets, jnp.float32))
        predicted = self._predict_mean(sequences, lengths)
        self.std = float(np.sqrt(np.square(predicted - targets).mean()))

    def _predict_mean(self, sequences, lengths):
        return np.asarray(original_apply(self.params, jnp.asarray(sequences), jnp.asarray(lengths)))

    def _predict(self, sequences, lengths, early):
        parts = [
            self._predict_mean(sequences[i : i + CHUNK], lengths[i : i + CHUNK]) for i in range(0, len(lengths), CHUNK)
        ]
        mean = np.concatenate([np.zeros(0, np.float32), *parts])
        return mean, np.full(len(mean), self.std)

    def _arrays(self):
        return nnx.to_pure_dict(self.params)

    def _facts(self):
        return {"std": self.std}

    def _restore(self, folder: str | Path, facts: dict) -> None:
        self.std = facts["std"]
        self.params = jax.eval_shape(lambda: _initial(0, self.width))
        arrays = checkpoint.restore(folder, nnx.to_pure_dict(self.params))
        nnx.replace_by_pure_dict(self.params, arrays)


def _initial(seed, width: int) -> nnx.State:
    return nnx.state(StackedLSTM(width, rngs=nnx.Rngs(jax.random.key(seed))), nnx.Param)


@jax.jit
def original_apply(params: nnx.State, sequences: jax.Array, lengths: jax.Array, key: jax.Array | None = None):
    """The prediction `[N]` for sequences `[N, T, D]`; with a key, of the network with dropout."""
    graph, _, rest = nnx.split(StackedLSTM(sequences.shape[-1], rngs=nnx.Rngs(0)), nnx.Param, ...)
    return nnx.merge(graph, params, rest)(sequences.astype(jnp.float32), lengths, key)


@jax.jit
def _train(seed, sequences, lengths, targets):
    optimizer = optax.adam(LEARNING_RATE)
    params = _initial(seed, sequences.shape[-1])
    batches = max(len(targets) // BATCH, 1)

    def step(carry, inputs):
        params, state = carry
        rows, key = inputs

        def loss(params):
            return jnp.square(original_apply(params, sequences[rows], lengths[rows], key) - targets[rows]).mean()

        update, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, update), state), None

    order_key, drop_key = jax.random.split(jax.random.key(seed))
    orders = jax.vmap(lambda key: jax.random.permutation(key, len(targets)))(jax.random.split(order_key, EPOCHS))
    rows = orders[:, : batches * BATCH].reshape(EPOCHS * batches, -1)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), (rows, jax.random.split(drop_key, len(rows))))
    return params
