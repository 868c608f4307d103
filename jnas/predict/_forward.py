"""A fitted ensemble in NumPy: it reads sequences without early epochs, and nothing is compiled for their shapes.

`jnas.predict.apply_ensemble` computes the same in JAX, where each number of steps is another program.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from jnas.predict._ensemble.ensemble import EnsembleParams
from jnas.predict._ensemble.scaling import LARGEST_FEATURE

_HEADS = ("inner", "outer")
CHUNK_ROWS = 512
"""Rows that are read together: their gates should fit into a processor's cache."""


class Weights(NamedTuple):
    """What M members of D features and H units compute with, side by side: 4 gates of M H units each."""

    mean: np.ndarray  # [D]
    std: np.ndarray  # [D]
    kernel: np.ndarray  # [2, D + M H, 4 M H], one for each direction
    bias: np.ndarray  # [2, 4 M H]
    inner: tuple[np.ndarray, np.ndarray]  # of the head's hidden layer, with a leading dimension of members
    outer: tuple[np.ndarray, np.ndarray]
    intercept: np.ndarray  # [M, 1]
    residual_scale: np.ndarray  # [M, 1]

    @classmethod
    def of(cls, params: EnsembleParams) -> Weights:
        """Returns the weights of an ensemble."""
        networks, ridge, num_features = params.networks, params.curve_ridge, len(params.scaler.mean)
        kernel, bias = (np.asarray(networks["lstm"][name][...]) for name in ("kernel", "bias"))
        members, hidden = len(kernel), kernel.shape[-1] // 4
        # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so one tanh computes all gates.
        half = np.array([0.5, 0.5, 0.5, 1.0], np.float32)[:, None]
        kernel = kernel.reshape(members, 2, -1, 4, hidden) * half
        inputs = np.moveaxis(kernel[:, :, :num_features], 0, 3)  # [2, D, 4, M, H]
        states = np.einsum("mdhgk,mn->dmhgnk", kernel[:, :, num_features:], np.eye(members, dtype=np.float32))
        width = members * hidden
        kernels = inputs.reshape(2, num_features, 4 * width), states.reshape(2, width, 4 * width)
        inner, outer = ([np.asarray(networks[head][name][...]) for name in ("kernel", "bias")] for head in _HEADS)
        weight = np.asarray(params.calibration.residual_weight)[0]
        return cls(
            np.asarray(params.scaler.mean),
            np.asarray(params.scaler.std),
            np.ascontiguousarray(np.concatenate(kernels, 1)),
            np.moveaxis(bias.reshape(members, 2, 4, hidden) * half, 0, 2).reshape(2, 4 * width),
            (inner[0], inner[1]),
            (outer[0], outer[1]),
            np.asarray(ridge.intercept)[:, :1],
            weight * np.asarray(ridge.residual_std)[:, :1],
        )

    def read(
        self, sequences: Num[np.ndarray, "n t d"], lengths: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "n s"]]:
        """Returns the members' predictions on the scale of the networks, and the mean states of all of them."""
        members, width = len(self.intercept), self.bias.shape[1] // 4
        predictions = np.empty((members, len(lengths)), np.float32)
        states = np.empty((len(lengths), 2 * width), np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), CHUNK_ROWS):
            rows = order[start : start + CHUNK_ROWS]
            forwards, backwards = self._states(sequences[rows, : lengths[rows].max()], lengths[rows])
            halves = [np.moveaxis(half.reshape(len(rows), members, -1), 1, 0) for half in (forwards, backwards)]
            predictions[:, rows] = self._head(np.concatenate(halves, -1))
            states[rows] = np.concatenate([forwards, backwards], -1)
        return predictions, states

    def _states(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The mean states of both directions, `[2, n, M H]`."""
        count, steps, num_features = sequences.shape
        scaled = np.clip((sequences - self.mean) / self.std, -LARGEST_FEATURE, LARGEST_FEATURE)
        width = self.bias.shape[1] // 4
        inputs, gates = (
            np.empty((2, count, num_features + width), np.float32),
            np.empty((2, count, 4 * width), np.float32),
        )
        state, cell, total = inputs[..., num_features:], *np.zeros((2, 2, count, width), np.float32)
        state[...] = 0
        for step in range(steps):
            places = step, steps - 1 - step  # of both directions
            for direction, place in enumerate(places):
                inputs[direction, :, :num_features] = scaled[:, place]
                np.matmul(inputs[direction], self.kernel[direction], out=gates[direction])
                gates[direction] += self.bias[direction]
            np.tanh(gates, out=gates)
            sigmoids = gates[..., : 3 * width]
            sigmoids *= 0.5
            sigmoids += 0.5
            i, f, o, g = (gates[..., part * width : (part + 1) * width] for part in range(4))
            g *= i
            f *= cell
            f += g
            for direction, place in enumerate(places):
                first = np.searchsorted(lengths, place, side="right")  # rows are in the order of their lengths
                cell[direction, first:] = f[direction, first:]
                np.multiply(o[direction, first:], np.tanh(f[direction, first:]), out=state[direction, first:])
                total[direction, first:] += state[direction, first:]
        return total / lengths[:, None]

    def _head(self, states: np.ndarray) -> np.ndarray:
        """The predictions `[M, n]` of mean states `[M, n, 2 H]`."""
        context = np.broadcast_to(self.intercept[:, None], (*states.shape[:2], 1))
        (inner, inner_bias), (outer, outer_bias) = self.inner, self.outer
        hidden = np.matmul(np.concatenate([states, context], -1), inner) + inner_bias[:, None]
        cubic = np.sqrt(np.float32(2 / np.pi)) * (hidden + np.float32(0.044715) * hidden * hidden * hidden)
        hidden = 0.5 * hidden * (1 + np.tanh(cubic))  # gelu, as Flax approximates it
        residual = (np.matmul(hidden, outer) + outer_bias[:, None])[..., 0]
        return self.intercept + self.residual_scale * residual
