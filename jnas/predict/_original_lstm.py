"""The LSTM of Sophius: two layers of 32 units with dropout between them, 20 epochs, on bit vectors alone."""

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jnas.predict._base import Regressor

HIDDEN_DIM = 32
DROPOUT = 0.5
EPOCHS = 20
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
CHUNK_ROWS = 4096


class StackedLSTM(nnx.Module):
    """Two stacked LSTMs and a linear head on the last valid step."""

    def __init__(self, num_features: int, *, rngs: nnx.Rngs):
        self.first = nnx.RNN(nnx.OptimizedLSTMCell(num_features, HIDDEN_DIM, rngs=rngs))
        self.second = nnx.RNN(nnx.OptimizedLSTMCell(HIDDEN_DIM, HIDDEN_DIM, rngs=rngs))
        self.head = nnx.Linear(HIDDEN_DIM, 1, rngs=rngs)

    def __call__(self, sequences: jax.Array, lengths: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        """Returns `[N]` numbers for `[N, T, D]` sequences and their `[N]` valid steps; drops units with a key."""
        states = cast(jax.Array, self.first(sequences))
        if dropout_key is not None:
            states = states * jax.random.bernoulli(dropout_key, 1 - DROPOUT, states.shape) / (1 - DROPOUT)
        states = cast(jax.Array, self.second(states))
        last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)
        return self.head(last[:, 0])[:, 0]


class OriginalLSTM(Regressor):
    """The regressor of Sophius: one network, trained with Adam on the squared error; early accuracies are ignored.

    The standard deviation is that of the errors on the training rows, the same for all rows.
    """

    name = "sophius_lstm"

    def _fit(self, sequences, lengths, early, targets):
        rows = jnp.asarray(sequences, jnp.float32), jnp.asarray(lengths), jnp.asarray(targets, jnp.float32)
        self.params = _train(self.seed, *rows)
        self.std = float(np.sqrt(np.square(_apply(self.params, *rows[:2]) - targets).mean()))

    def _predict(self, sequences, lengths, early):
        chunks = (slice(start, start + CHUNK_ROWS) for start in range(0, len(lengths), CHUNK_ROWS))
        parts = [_apply(self.params, jnp.asarray(sequences[rows]), jnp.asarray(lengths[rows])) for rows in chunks]
        mean = np.concatenate([np.zeros(0, np.float32), *parts])
        return mean, np.full(len(mean), self.std)

    def _state(self):
        return self.params

    def _metadata(self):
        return {"std": self.std}

    def _abstract_state(self, metadata):
        num_features = self.num_features
        assert num_features is not None
        return jax.eval_shape(lambda: _init(0, num_features))

    def _set_state(self, state, metadata):
        self.params, self.std = state, metadata["std"]


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
