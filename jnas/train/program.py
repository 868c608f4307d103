"""Initialisation, training step and evaluation of one template, as pure functions of one lane.

Everything that may differ between candidates of one structure is an argument (`Lane`), so the functions can be
vmapped over lanes. They do not know how they are driven: stepped from the host or scanned, alone or in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jnas.data import augment
from jnas.space.template import Template
from jnas.train import optimizer
from jnas.train.recipe import Recipe


class Lane(NamedTuple):
    """One candidate's run-time data. With a leading axis on each field, several candidates.

    Attributes:
      seed: uint32; initial weights, image order, augmentation and dropout all follow from it.
      learning_rate: float32, the schedule's peak.
      weight_decay: float32.
    """

    seed: jax.Array
    learning_rate: jax.Array
    weight_decay: jax.Array


class State(NamedTuple):
    """What training changes: parameters, other module state (batch statistics, dropout's streams), optimiser state."""

    params: Any
    rest: Any
    optimizer: Any


class Metrics(NamedTuple):
    """Sums over the images seen: float32 `loss` and int32 number of `correct` answers."""

    loss: jax.Array
    correct: jax.Array


@dataclass(frozen=True)
class Program:
    """The pure functions of a template under a recipe."""

    template: Template
    recipe: Recipe

    def module(self, seed: jax.Array | int) -> nnx.Module:
        """The Flax module with its initial weights."""
        return self.template.build(nnx.Rngs(jax.random.key(seed)))

    def _graph(self, train: bool) -> nnx.GraphDef:
        module = nnx.eval_shape(lambda: self.module(0))
        module.train() if train else module.eval()
        return nnx.graphdef(module)

    def merge(self, state: State, train: bool = False) -> nnx.Module:
        """The Flax module with the weights of `state`."""
        # Copied, so that the module's changes stay its own: `nnx.merge` may hand on the variables it is given.
        params, rest = jax.tree.map(lambda leaf: leaf, (state.params, state.rest))
        return nnx.merge(self._graph(train), params, rest)

    def init(self, lane: Lane) -> State:
        """The state before the first step."""
        _, params, rest = nnx.split(self.module(lane.seed), nnx.Param, ...)
        return State(params, rest, optimizer.init(self.recipe, params))

    def step(
        self, state: State, metrics: Metrics, lane: Lane, inputs: jax.Array, labels: jax.Array, rate: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of training.

        Args:
          state, metrics: from `init` or the step before; the metrics grow by this batch's.
          lane: the candidate.
          inputs, labels: the batch, `[B, H, W, C]` float32 and `[B]` int32.
          rate: the schedule's share of the lane's learning rate.
        """
        targets = optax.smooth_labels(jax.nn.one_hot(labels, self.template.classes), self.recipe.label_smoothing)

        def loss_of(params):
            module = self.merge(State(params, state.rest, None), train=True)
            logits = module(inputs)
            _, _, rest = nnx.split(module, nnx.Param, ...)
            loss = optax.softmax_cross_entropy(logits, targets).mean()
            return loss, (rest, (logits.argmax(-1) == labels).sum(dtype=jnp.int32))

        (loss, (rest, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state = optimizer.update(
            self.recipe, state.params, gradients, state.optimizer, lane.learning_rate * rate, lane.weight_decay
        )
        return State(params, rest, opt_state), Metrics(metrics.loss + loss * len(labels), metrics.correct + correct)

    def correct(self, params: Any, rest: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        """How many of `images` `[B, H, W, C]` uint8 get their label, in evaluation mode; a label of -1 never counts."""
        logits = self.merge(State(params, rest, None))(augment.normalise(images))
        return (logits.argmax(-1) == labels).sum(dtype=jnp.int32)
