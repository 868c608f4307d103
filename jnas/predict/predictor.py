"""An ensemble of LSTM regressors: sequences of bit vectors in, accuracy and its uncertainty out.

Each member leaves out one fold of the rows. So the rows that a member has not seen say how good it is, all members
together say how sure they are, and one vmapped program trains them all.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jnas import checkpoint
from jnas.errors import JnasError
from jnas.predict.lstm import LSTM
from jnas.predict.metrics import Scores, score

MEMBERS = 5
STEPS = 150
BATCH = 32
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-1
LEAST_ROWS = 10
LEAST_PADDED = 64


class Predictor:
    """Predicts the accuracy of architectures from a vector for each layer.

    Args:
      seed: of initial weights, folds and batches.

    Attributes:
      scores: agreement on held-out rows, each predicted by the one member that has not seen it; set by `fit`.
      seconds: wall clock of the last `fit`.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.params: Any = None
        self.width: int | None = None
        self.scale: tuple[float, float] = (0.0, 1.0)
        self.scores: Scores | None = None
        self.seconds = 0.0

    def fit(self, sequences: np.ndarray, lengths: np.ndarray, targets: np.ndarray) -> Predictor:
        """Trains the ensemble from scratch.

        Args:
          sequences: `[N, T, D]`, such as `Template.vectors` (D = 32), filled up to one length T.
          lengths: `[N]` steps that are there; the rest of each sequence is ignored.
          targets: `[N]` accuracies.

        Raises:
          JnasError: fewer than 10 rows, constant or non-finite targets, or shapes that do not match.
        """
        start = time.perf_counter()
        sequences, lengths, targets = _checked(sequences, lengths, targets)
        count, _, self.width = sequences.shape
        self.scale = (float(targets.mean()), float(targets.std()))
        normal = (targets - self.scale[0]) / self.scale[1]
        folds = np.random.default_rng(self.seed).permutation(count) % MEMBERS
        # Rows are filled up to a power of two, so that a growing table compiles a new program only when it doubles.
        rows = max(LEAST_PADDED, 1 << (count - 1).bit_length())
        fill = [(0, rows - count)]
        seen = np.pad(folds[None, :] != np.arange(MEMBERS)[:, None], [(0, 0), *fill]).astype(np.float32)
        self.params = _fit(
            np.uint32(self.seed),
            jnp.asarray(np.pad(sequences, [*fill, (0, 0), (0, 0)]), jnp.float32),
            jnp.asarray(np.pad(lengths, fill)),
            jnp.asarray(np.pad(normal, fill).astype(np.float32)),
            jnp.asarray(seen),
        )
        members = self._members(sequences, lengths)
        self.scores = score(targets, members[folds, np.arange(count)])
        self.seconds = time.perf_counter() - start
        return self

    def predict(self, sequences: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ensemble's mean and standard deviation for `[N, T, D]` sequences: `[N]` each.

        Raises:
          JnasError: `fit` or `load` has not been called, or D is not that of the rows it was fitted on.
        """
        members = self._members(sequences, lengths)
        return members.mean(0), members.std(0)

    def _members(self, sequences: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Each member's predictions, `[MEMBERS, N]`."""
        if self.params is None:
            raise JnasError("The predictor has not been fitted: call fit, or load a fitted one.")
        if np.ndim(sequences) != 3 or np.shape(sequences)[2] != self.width:
            raise JnasError(
                f"The predictor was fitted on sequences [N, T, {self.width}] and got {np.shape(sequences)}: encode "
                "them the same way."
            )
        mean, std = self.scale
        return np.asarray(apply(self.params, jnp.asarray(sequences), jnp.asarray(lengths))) * std + mean

    def save(self, folder: str | Path) -> None:
        """Writes the fitted ensemble as an Orbax checkpoint; what `folder` held is replaced."""
        facts = {"seed": self.seed, "width": self.width, "scale": self.scale, "scores": self.scores}
        checkpoint.save(folder, nnx.to_pure_dict(self.params), facts)

    @classmethod
    def load(cls, folder: str | Path) -> Predictor:
        """The ensemble that `save` wrote.

        Raises:
          JnasError: there is none in `folder`.
        """
        facts = checkpoint.load_facts(folder)
        if "scale" not in facts:
            raise JnasError(f"{folder} holds no predictor: name the folder that Predictor.save wrote.")
        predictor = cls(facts["seed"])
        predictor.width, predictor.scale = facts["width"], tuple(facts["scale"])
        predictor.scores = Scores(*facts["scores"])
        predictor.params = jax.eval_shape(jax.vmap(functools.partial(_initial, width=predictor.width)), _member_keys(0))
        arrays = checkpoint.load_arrays(folder, nnx.to_pure_dict(predictor.params))
        nnx.replace_by_pure_dict(predictor.params, arrays)
        return predictor


def _checked(sequences, lengths, targets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sequences, lengths, targets = np.asarray(sequences), np.asarray(lengths, np.int32), np.asarray(targets, float)
    if sequences.ndim != 3 or lengths.shape != sequences.shape[:1] or targets.shape != sequences.shape[:1]:
        raise JnasError(
            f"The predictor got sequences {sequences.shape}, lengths {lengths.shape} and targets {targets.shape}: give "
            "[N, T, D], [N] and [N]."
        )
    if len(targets) < LEAST_ROWS:
        raise JnasError(f"The predictor got {len(targets)} rows and needs {LEAST_ROWS}: evaluate more templates first.")
    if not np.isfinite(targets).all():
        raise JnasError("The predictor got a target that is not a number: leave out the rows of failed evaluations.")
    if np.ptp(targets) == 0:
        raise JnasError(f"All {len(targets)} targets are {targets[0]}: there is nothing to tell apart.")
    return sequences, lengths, targets


def _member_keys(seed: Any) -> jax.Array:
    return jax.random.split(jax.random.key(seed), MEMBERS)


def _initial(key: jax.Array, width: int) -> nnx.State:
    return nnx.state(LSTM(width, rngs=nnx.Rngs(key)), nnx.Param)


def _one(params: nnx.State, sequences: jax.Array, lengths: jax.Array) -> jax.Array:
    module = LSTM(sequences.shape[-1], rngs=nnx.Rngs(0))
    nnx.update(module, params)
    return module(sequences.astype(jnp.float32), lengths)


@jax.jit
def apply(params: Any, sequences: jax.Array, lengths: jax.Array) -> jax.Array:
    """Each member's normalised prediction, `[MEMBERS, N]`, for sequences `[N, T, D]` and their lengths `[N]`."""
    return jax.vmap(_one, (0, None, None))(params, sequences, lengths)


@jax.jit
def _fit(seed, sequences, lengths, targets, seen):
    """The members' parameters after training; `seen` `[MEMBERS, N]` is 1 where a member trains on a row."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, STEPS), weight_decay=WEIGHT_DECAY)

    def member(key, seen):
        init_key, key = jax.random.split(key)
        params = _initial(init_key, sequences.shape[-1])

        def loss_of(params, batch):
            return jnp.square(_one(params, sequences[batch], lengths[batch]) - targets[batch]).mean()

        def step(carry, key):
            params, state = carry
            batch = jax.random.choice(key, len(targets), (BATCH,), p=seen / seen.sum())
            updates, state = optimizer.update(jax.grad(loss_of)(params, batch), state, params)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(key, STEPS)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    return jax.vmap(member)(_member_keys(seed), seen)
