"""Training of one structure: compiled ahead of time, alone or over a batch of lanes.

How the steps are driven depends on the device. On a CPU a convolution inside `lax.scan` can be many times slower than
the same one stepped from the host, and dispatching costs little; on a GPU dispatching is what costs, so an epoch is one
program.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn.compiler import compiler_options
from jnas.space import Template
from jnas.store import Epoch
from jnas.train import batches
from jnas.train.program import Lane, Metrics, Program, State
from jnas.train.recipe import Recipe


@dataclass
class Trained:
    """What training left.

    Attributes:
      state: the final state, each array with a leading axis of lanes.
      epochs: `epochs[lane]` lists that lane's epochs. A lane that turned to NaN has a NaN loss from there on.
      seconds: wall clock of all lanes together, the accuracy after each epoch included, compiling not.
    """

    state: State
    epochs: list[list[Epoch]]
    seconds: float


def lanes(seeds: Any, learning_rate: Any, weight_decay: Any) -> Lane:
    """Lanes for the given seeds `[L]`; learning rates and weight decays are `[L]`, or one for all."""
    seeds = np.atleast_1d(np.asarray(seeds, np.uint32))
    rates, decays = (np.broadcast_to(np.asarray(x, np.float32), seeds.shape) for x in (learning_rate, weight_decay))
    return Lane(seeds, rates, decays)


def check_batch(recipe: Recipe, split: Split) -> None:
    """Raises a JnasError where the training images do not fill one batch."""
    if recipe.batch_size > len(split.x_train):
        raise JnasError(
            f"The batch of {recipe.batch_size} is larger than the training set of {len(split.x_train)} images: choose "
            "a smaller batch size."
        )


class Trainer:
    """Trains a template under a recipe on the images of a split.

    Args:
      template, recipe, split: what, how, and on which images.
      lanes: how many candidates (seeds, learning rates, weight decays) train side by side, vmapped.
      scan: one program an epoch (True) or one a step (False); None chooses by the device.

    Raises:
      JnasError: the template is for other images or classes, or the batch is larger than the training set.
    """

    def __init__(self, template: Template, recipe: Recipe, split: Split, lanes: int = 1, scan: bool | None = None):
        height, width, channels = split.x_train.shape[1:]
        if template.in_shape != (channels, height, width):
            raise JnasError(
                f"The template is for images of {template.in_shape}, and the data has {(channels, height, width)} "
                "(channels, height, width): build it with the data's in_shape."
            )
        if template.classes != split.classes:
            raise JnasError(
                f"The template tells {template.classes} classes apart, and the data has {split.classes}: build it with "
                "the data's class count."
            )
        check_batch(recipe, split)
        self.program = Program(template, recipe)
        self.split = split
        self.lanes = lanes
        self.scan = jax.default_backend() != "cpu" if scan is None else scan
        self.steps = len(split.x_train) // recipe.batch_size
        self._prepare = functools.partial(batches.prepare, flip=recipe.flip, shift=recipe.shift)
        self._validation = batches.validation_chunks(split)
        self._chunk = self._validation[0].shape[1]
        self._train: jax.stages.Compiled | None = None
        self._correct: jax.stages.Compiled | None = None

    def compile(self) -> float:
        """Compiles what training needs; returns the seconds it took, 0 where it was done before."""
        if self._train is not None:
            return 0.0
        start = time.perf_counter()
        recipe, split = self.program.recipe, self.split
        lane = Lane(*(self._array(dtype) for dtype in (np.uint32, np.float32, np.float32)))
        state = jax.eval_shape(jax.vmap(self.program.init), lane)
        metrics = Metrics(self._array(np.float32), self._array(np.int32))
        batch = (self.lanes, recipe.batch_size)
        if self.scan:
            arguments = (
                *(split.x_train, split.y_train),
                jax.ShapeDtypeStruct((self.lanes, self.steps, recipe.batch_size), jnp.int32),
                jax.ShapeDtypeStruct((self.steps,), jnp.float32),
                jax.ShapeDtypeStruct((), jnp.int32),
            )
            function = self._epoch
        else:
            inputs = jax.ShapeDtypeStruct((*batch, *split.x_train.shape[1:]), jnp.float32)
            labels = jax.ShapeDtypeStruct(batch, jnp.int32)
            arguments = (inputs, labels, jax.ShapeDtypeStruct((), jnp.float32))
            function = self._step
        lowered = [
            jax.jit(function, donate_argnums=(0, 1)).lower(state, metrics, lane, *arguments),
            jax.jit(self._count).lower(state.params, state.rest, *(chunk[0] for chunk in self._validation)),
        ]
        self._train, self._correct = (program.compile(compiler_options()) for program in lowered)
        return time.perf_counter() - start

    def train(self, lane: Lane, on_epoch: Callable[[int, list[Epoch]], None] | None = None) -> Trained:
        """Trains `lanes` candidates from their initial weights.

        Args:
          lane: the candidates, `[lanes]` each (see `lanes`).
          on_epoch: called after each epoch with its number, from 1, and the lanes' latest results.
        """
        self.compile()
        start = time.perf_counter()
        recipe = self.program.recipe
        state = _stack([self.program.init(Lane(*one)) for one in zip(*lane, strict=True)])
        seen = self.steps * recipe.batch_size
        history: list[list[Epoch]] = [[] for _ in range(self.lanes)]
        for number, rates in enumerate(recipe.rates(self.steps)):
            order = batches.order(
                lane.seed,
                np.int32(number),
                images=len(self.split.x_train),
                steps=self.steps,
                batch_size=recipe.batch_size,
            )
            metrics = Metrics(np.zeros(self.lanes, np.float32), np.zeros(self.lanes, np.int32))
            state, metrics = self._run_epoch(state, metrics, lane, order, rates, number * self.steps)
            loss, correct = np.asarray(metrics.loss), np.asarray(metrics.correct)
            accuracy = self._accuracy(state, *self._validation, len(self.split.x_val))
            for i, epochs in enumerate(history):
                epochs.append(Epoch(float(loss[i]) / seen, int(correct[i]) / seen, float(accuracy[i])))
            if on_epoch:
                on_epoch(number + 1, [epochs[-1] for epochs in history])
            if not np.isfinite(loss).any():
                break  # no lane can recover
        return Trained(state, history, time.perf_counter() - start)

    def accuracy(self, state: State, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The share of `images` `[N, H, W, C]` uint8 that each lane of `state` labels right: `[lanes]`."""
        return self._accuracy(state, *batches.chunks(images, labels, self._chunk), len(images))

    def module(self, state: State, lane: int = 0) -> nnx.Module:
        """The trained module of one lane, in evaluation mode."""
        return self.program.merge(jax.tree.map(lambda leaf: leaf[lane], state))

    def _run_epoch(self, state, metrics, lane, order, rates, first):
        """Drives one epoch: `order` is `[lanes, steps, B]`, `rates` `[steps]`, `first` its first step's number."""
        images, labels = self.split.x_train, self.split.y_train
        if self.scan:
            return self._train(state, metrics, lane, images, labels, order, rates, np.int32(first))
        order = np.asarray(order)
        for i, rate in enumerate(rates):
            batch = self._prepare(lane.seed, np.int32(first + i), images, labels, order[:, i])
            state, metrics = self._train(state, metrics, lane, *batch, rate)
        return state, metrics

    def _accuracy(self, state, images, labels, count) -> np.ndarray:
        correct = [self._correct(state.params, state.rest, *chunk) for chunk in zip(images, labels, strict=True)]
        return sum(np.asarray(c) for c in correct) / count

    # What is compiled. Every argument and result has a leading axis of lanes, unless it is shared.

    def _step(self, state, metrics, lane, inputs, labels, rate):
        return self._over_lanes(self.program.step, 5, (rate,))(state, metrics, lane, inputs, labels)

    def _epoch(self, state, metrics, lane, images, labels, order, rates, first):
        def body(carry, step):
            batch, rate, number = step
            inputs, targets = self._prepare(lane.seed, number, images, labels, batch)
            return self._step(*carry, lane, inputs, targets, rate), None

        steps = (jnp.swapaxes(order, 0, 1), rates, first + jnp.arange(self.steps))
        return jax.lax.scan(body, (state, metrics), steps)[0]

    def _count(self, params, rest, images, labels):
        return self._over_lanes(self.program.correct, 2, (images, labels))(params, rest)

    def _over_lanes(self, function: Callable, mapped: int, shared: tuple) -> Callable:
        """`function` over the lanes of its first `mapped` arguments, the `shared` ones following.

        One lane is not vmapped: a convolution with a batch axis of one on its kernel is a grouped convolution, which
        XLA runs more slowly.
        """
        if self.lanes > 1:
            return lambda *args: jax.vmap(function, (0,) * mapped + (None,) * len(shared))(*args, *shared)

        def alone(*args):
            result = function(*jax.tree.map(lambda leaf: leaf[0], args), *shared)
            return jax.tree.map(lambda leaf: leaf[None], result)

        return alone

    def _array(self, dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.lanes,), dtype)


def _stack(states: list[State]) -> State:
    """The states of single lanes as one with a leading axis; on the host, so that nothing is compiled for it."""

    def stack(*leaves):
        if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            return jnp.stack(leaves)
        return jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves]))

    return jax.tree.map(stack, *states)
