"""A member of the ensemble: a bidirectional LSTM over layer vectors, pooled over the steps, and a small head.

It is written for many small networks at once. A step is one batched matrix product for all gates of both directions;
the members of an ensemble are one more batch dimension of it. Pooling is part of the recurrence, so no states are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt32

from jnas._runtime import random
from jnas.predict._ensemble.config import EnsembleConfig


class ReadOut(NamedTuple):
    """The states of a sequence, pooled: `[N, directions * H]` each.

    Attributes:
      mean: over the valid steps.
      max: over the valid steps.
      last: the last state in reading direction.
    """

    mean: jax.Array
    max: jax.Array
    last: jax.Array


class BiLSTM(nnx.Module):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads forwards and, with two directions, backwards as well.

    Args:
      num_features: features of one step, D.
      hidden_dim: features of a direction's state, H.
      directions: 1 or 2.
      seed: `[2]` uint32 from which the initial weights are drawn, see `jnas._runtime.random`.
    """

    def __init__(self, num_features: int, hidden_dim: int, directions: int = 2, *, seed: UInt32[Array, " 2"]):
        inputs = _weights(seed, 0, (directions, num_features, 4 * hidden_dim), num_features)
        states = _weights(seed, 1, (directions, hidden_dim, 4 * hidden_dim), hidden_dim)
        self.kernel = nnx.Param(jnp.concatenate([inputs, states], 1))
        forget = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), hidden_dim)  # forget nothing to begin with
        self.bias = nnx.Param(jnp.tile(forget, (directions, 1)))

    def __call__(self, steps: Float[Array, "t n d"], mask: Float[Array, "t n 1"]) -> ReadOut:
        """Returns the pooled states; steps whose mask is 0 leave the state as it is."""
        kernel, bias = self.kernel[...], self.bias[...][:, None]
        directions, hidden_dim = kernel.shape[0], kernel.shape[2] // 4
        # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so one tanh computes all gates.
        half = np.repeat([0.5, 0.5, 0.5, 1.0], hidden_dim).astype(np.float32)

        def step(carry, inputs):
            state, cell, total, highest = carry
            steps, mask = (jnp.stack(pair[:directions]) for pair in inputs)
            gates = jnp.einsum("dnw,dwg->dng", jnp.concatenate([steps, state], -1), kernel) + bias
            gates = jnp.tanh(gates * half)
            i, f, o = jnp.split(0.5 * gates[..., : 3 * hidden_dim] + 0.5, 3, -1)
            next_cell = f * cell + i * gates[..., 3 * hidden_dim :]
            next_state = o * jnp.tanh(next_cell)
            state, cell = state + mask * (next_state - state), cell + mask * (next_cell - cell)
            highest = jnp.where(mask > 0, jnp.maximum(highest, state), highest)
            return (state, cell, total + mask * state, highest), None

        zero = jnp.zeros((directions, steps.shape[1], hidden_dim))
        inputs = ((steps, steps[::-1]), (mask, mask[::-1]))
        (last, _, total, highest), _ = jax.lax.scan(step, (zero, zero, zero, zero - 1), inputs)
        pools = total / jnp.maximum(mask.sum(0), 1), highest, last
        return ReadOut(*(jnp.concatenate(list(pool), -1) for pool in pools))


class LSTMRegressor(nnx.Module):
    """A network from a sequence and a context to a number: LSTM, pooling, and a head with one hidden layer.

    Args:
      num_features: features of one step, D.
      context_dim: further features of a sequence, C, which the head sees.
      config: the sizes.
      seed: `[2]` uint32 from which the initial weights are drawn, see `jnas._runtime.random`.
    """

    def __init__(self, num_features: int, context_dim: int, config: EnsembleConfig, *, seed: UInt32[Array, " 2"]):
        self.pooling, self.dropout = config.pooling, config.dropout
        self.lstm = BiLSTM(num_features, config.hidden_dim, config.directions, seed=seed)
        head_inputs, head_dim = (
            len(config.pooling) * config.directions * config.hidden_dim + context_dim,
            config.head_dim,
        )
        self.inner = _linear(head_inputs, head_dim, _weights(seed, 2, (head_inputs, head_dim), head_inputs))
        self.outer = _linear(head_dim, 1, 0.1 * _weights(seed, 3, (head_dim, 1), head_dim))

    def __call__(
        self,
        steps: Float[Array, "n t d"],
        lengths: Int[Array, " n"],
        context: Float[Array, "n c"],
        dropout_seed: UInt32[Array, " 2"] | None = None,
    ) -> Float[Array, " n"]:
        """Returns one number for each sequence, of which the first `lengths` steps count.

        Units are dropped only with a `dropout_seed`.
        """
        mask = (jnp.arange(steps.shape[1])[:, None] < lengths).astype(jnp.float32)[..., None]
        pools = self.lstm(steps.swapaxes(0, 1), mask)
        inputs = jnp.concatenate([*(getattr(pools, name) for name in self.pooling), context], -1)
        inner = nnx.gelu(self.inner(self._drop(inputs, dropout_seed, 0)))
        return self.outer(self._drop(inner, dropout_seed, 1))[:, 0]

    def _drop(self, values: jax.Array, seed: jax.Array | None, stream: int) -> jax.Array:
        if seed is None or not self.dropout:
            return values
        return values * (random.uniform(seed, stream, values.shape) >= self.dropout) / (1 - self.dropout)


def init_networks(seeds: UInt32[Array, "m 2"], num_features: int, num_epochs: int, config: EnsembleConfig) -> nnx.State:
    """Returns the initial weights of the members, each with a leading dimension of members."""

    def init(seed):
        return nnx.state(_network(num_features, num_epochs, config, seed), nnx.Param)

    return jax.vmap(init)(seeds)


def network_graph(num_features: int, num_epochs: int, config: EnsembleConfig) -> nnx.GraphDef:
    """Returns the graph definition that all members share."""
    network = nnx.eval_shape(lambda: _network(num_features, num_epochs, config, jnp.zeros(2, jnp.uint32)))
    return nnx.split(network, nnx.Param)[0]


def _network(num_features: int, num_epochs: int, config: EnsembleConfig, seed: jax.Array) -> LSTMRegressor:
    return LSTMRegressor(num_features, 2 * num_epochs + 1, config, seed=seed)


def _weights(seed: jax.Array, stream: int, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform weights of the variance 1 / fan_in (LeCun et al. 1998)."""
    return (2 * random.uniform(seed, stream, shape) - 1) * np.sqrt(3 / fan_in).astype(np.float32)


def _linear(inputs: int, outputs: int, kernel: jax.Array) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=lambda *_: kernel, rngs=nnx.Rngs(0))
