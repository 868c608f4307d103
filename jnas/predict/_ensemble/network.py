"""A member of the ensemble: a bidirectional LSTM over layer vectors, whose mean state is read by a small head.

It is written for many small networks at once. A step is one batched matrix product for all gates of both directions;
the members of an ensemble are one more batch dimension of it. The mean is part of the recurrence: no states are kept.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt32

from jnas._runtime import random
from jnas.predict._ensemble.config import EnsembleConfig


class BiLSTM(nnx.Module):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads forwards and backwards.

    Initial weights are drawn from the `[2]` uint32 `seed`, see `jnas._runtime.random`.
    """

    def __init__(self, num_features: int, hidden_dim: int, *, seed: UInt32[Array, " 2"]):
        inputs = _weights(seed, 0, (2, num_features, 4 * hidden_dim), num_features)
        states = _weights(seed, 1, (2, hidden_dim, 4 * hidden_dim), hidden_dim)
        self.kernel = nnx.Param(jnp.concatenate([inputs, states], 1))
        forget = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), hidden_dim)  # forget nothing to begin with
        self.bias = nnx.Param(jnp.tile(forget, (2, 1)))

    def __call__(self, steps: Float[Array, "t n d"], mask: Float[Array, "t n 1"]) -> Float[Array, "n s"]:
        """Returns the mean states of both directions; steps whose mask is 0 leave the state as it is."""
        kernel, bias = self.kernel[...], self.bias[...][:, None]
        hidden_dim = kernel.shape[2] // 4
        # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so one tanh computes all gates.
        half = np.repeat([0.5, 0.5, 0.5, 1.0], hidden_dim).astype(np.float32)

        def step(carry, inputs):
            state, cell, total = carry
            steps, mask = (jnp.stack(pair) for pair in inputs)
            gates = jnp.einsum("dnw,dwg->dng", jnp.concatenate([steps, state], -1), kernel) + bias
            gates = jnp.tanh(gates * half)
            i, f, o = jnp.split(0.5 * gates[..., : 3 * hidden_dim] + 0.5, 3, -1)
            next_cell = f * cell + i * gates[..., 3 * hidden_dim :]
            next_state = o * jnp.tanh(next_cell)
            state, cell = state + mask * (next_state - state), cell + mask * (next_cell - cell)
            return (state, cell, total + mask * state), None

        zero = jnp.zeros((2, steps.shape[1], hidden_dim))
        inputs = ((steps, steps[::-1]), (mask, mask[::-1]))
        (_, _, total), _ = jax.lax.scan(step, (zero, zero, zero), inputs)
        return jnp.concatenate(list(total / jnp.maximum(mask.sum(0), 1)), -1)


class LSTMRegressor(nnx.Module):
    """A network from a sequence of layer vectors, and the features of E early epochs (its context), to a number."""

    def __init__(self, num_features: int, num_epochs: int, config: EnsembleConfig, *, seed: UInt32[Array, " 2"]):
        self.dropout = config.dropout
        self.lstm = BiLSTM(num_features, config.hidden_dim, seed=seed)
        head_inputs, head_dim = 2 * config.hidden_dim + 2 * num_epochs + 1, config.head_dim
        self.inner = _linear(head_inputs, head_dim, _weights(seed, 2, (head_inputs, head_dim), head_inputs))
        self.outer = _linear(head_dim, 1, 0.1 * _weights(seed, 3, (head_dim, 1), head_dim))

    def __call__(
        self,
        steps: Float[Array, "n t d"],
        lengths: Int[Array, " n"],
        context: Float[Array, "n c"],
        dropout_seed: UInt32[Array, " 2"] | None = None,
    ) -> Float[Array, " n"]:
        """Returns one number for each sequence, of which `lengths` steps count; drops units with a `dropout_seed`."""
        mask = (jnp.arange(steps.shape[1])[:, None] < lengths).astype(jnp.float32)[..., None]
        inputs = jnp.concatenate([self.lstm(steps.swapaxes(0, 1), mask), context], -1)
        hidden = nnx.gelu(self.inner(self._drop(inputs, dropout_seed, 0)))
        return self.outer(self._drop(hidden, dropout_seed, 1))[:, 0]

    def _drop(self, values: jax.Array, seed: jax.Array | None, stream: int) -> jax.Array:
        if seed is None or not self.dropout:
            return values
        return values * (random.uniform(seed, stream, values.shape) >= self.dropout) / (1 - self.dropout)


def init_networks(seeds: UInt32[Array, "m 2"], num_features: int, num_epochs: int, config: EnsembleConfig) -> nnx.State:
    """Returns the initial weights of the members, each with a leading dimension of members."""
    init = lambda seed: nnx.state(LSTMRegressor(num_features, num_epochs, config, seed=seed), nnx.Param)  # noqa: E731
    return jax.vmap(init)(seeds)


def network_graph(num_features: int, num_epochs: int, config: EnsembleConfig) -> nnx.GraphDef:
    """Returns the graph definition that all members share."""
    seed = jnp.zeros(2, jnp.uint32)
    network = nnx.eval_shape(lambda: LSTMRegressor(num_features, num_epochs, config, seed=seed))
    return nnx.split(network, nnx.Param)[0]


def _weights(seed: jax.Array, stream: int, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform weights of the variance 1 / fan_in (LeCun et al. 1998)."""
    return (2 * random.uniform(seed, stream, shape) - 1) * np.sqrt(3 / fan_in).astype(np.float32)


def _linear(inputs: int, outputs: int, kernel: jax.Array) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=lambda *_: kernel, rngs=nnx.Rngs(0))
