"""The LSTM of Sophius: two layers of 32 units with dropout between them, 20 epochs, on bit vectors alone."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from jnas._runtime import checkpoint
from jnas.predict._base import Regressor

HIDDEN_DIM = 32
DROPOUT = 0.5
EPOCHS = 20
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
CHUNK_ROWS = 4096


class StackedLSTM(nnx.Module):
    """Two stacked LSTMs and a linear head on the last valid step.

    Args:
      num_features: features of one step, D.
      rngs: random streams for the initial weights.
    """

    def __init__(self, num_features: int, *, rngs: nnx.Rngs):
        self.first = nnx.RNN(nnx.OptimizedLSTMCell(num_features, HIDDEN_DIM, rngs=rngs))
        self.second = nnx.RNN(nnx.OptimizedLSTMCell(HIDDEN_DIM, HIDDEN_DIM, rngs=rngs))
        self.head = nnx.Linear(HIDDEN_DIM, 1, rngs=rngs)

    def __call__(
        self,
        sequences: Float[Array, "n t d"],
        lengths: Int[Array, " n"],
        dropout_key: Key[Array, ""] | None = None,
    ) -> Float[Array, " n"]:
        """Returns one number for each sequence, of which the first `lengths` steps count; drops units with a key."""
        states = self.first(sequences)
        if dropout_key is not None:
            states = states * jax.random.bernoulli(dropout_key, 1 - DROPOUT, states.shape) / (1 - DROPOUT)
        states = self.second(states)
        last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)
        return self.head(last[:, 0])[:, 0]


class OriginalLSTM(Regressor):
    """The regressor of Sophius: one network, trained with Adam on the squared error for 20 epochs.

    The standard deviation is that of the errors on the training rows, the same for all rows. Early accuracies are
    ignored.

    Args:
      seed: of initial weights, the order of rows, and dropout.

    Raises:
      JnasError: the seed is no integer.
    """

    name = "sophius_lstm"

    def _fit(self, sequences, lengths, early, targets):
        rows = jnp.asarray(sequences, jnp.float32), jnp.asarray(lengths), jnp.asarray(targets, jnp.float32)
        self.params = _train(self.seed, *rows)
        predicted = self._predict_mean(sequences, lengths)
        self.std = float(np.sqrt(np.square(predicted - targets).mean()))

    def _predict_mean(self, sequences, lengths):
        return np.asarray(_apply(self.params, jnp.asarray(sequences), jnp.asarray(lengths)))

    def _predict(self, sequences, lengths, early):
        parts = [
            self._predict_mean(sequences[i : i + CHUNK_ROWS], lengths[i : i + CHUNK_ROWS])
            for i in range(0, len(lengths), CHUNK_ROWS)
        ]
        mean = np.concatenate([np.zeros(0, np.float32), *parts])
        return mean, np.full(len(mean), self.std)

    def _state(self):
        return nnx.to_pure_dict(self.params)

    def _metadata(self):
        return {"std": self.std}

    def _load(self, folder: str | Path, metadata: dict) -> None:
        self.std = metadata["std"]
        self.params = jax.eval_shape(lambda: _init(0, self.num_features))
        arrays = checkpoint.restore(folder, nnx.to_pure_dict(self.params))
        nnx.replace_by_pure_dict(self.params, arrays)


def _init(seed, num_features: int) -> nnx.State:
    return nnx.state(StackedLSTM(num_features, rngs=nnx.Rngs(jax.random.key(seed))), nnx.Param)


@jax.jit
def _apply(params: nnx.State, sequences: jax.Array, lengths: jax.Array, key: jax.Array | None = None):
    """Predictions `[N]` for sequences `[N, T, D]`; with a key, those of the network with dropout."""
    graph, _, rest = nnx.split(StackedLSTM(sequences.shape[-1], rngs=nnx.Rngs(0)), nnx.Param, ...)
    return nnx.merge(graph, params, rest)(sequences.astype(jnp.float32), lengths, key)


@jax.jit
def _train(seed, sequences, lengths, targets):
    optimizer = optax.adam(LEARNING_RATE)
    params = _init(seed, sequences.shape[-1])
    batches = max(len(targets) // BATCH_SIZE, 1)

    def step(carry, inputs):
        params, state = carry
        rows, key = inputs

        def loss(params):
            return jnp.square(_apply(params, sequences[rows], lengths[rows], key) - targets[rows]).mean()

        update, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, update), state), None

    order_key, drop_key = jax.random.split(jax.random.key(seed))
    orders = jax.vmap(lambda key: jax.random.permutation(key, len(targets)))(jax.random.split(order_key, EPOCHS))
    rows = orders[:, : batches * BATCH_SIZE].reshape(EPOCHS * batches, -1)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), (rows, jax.random.split(drop_key, len(rows))))
    return params
