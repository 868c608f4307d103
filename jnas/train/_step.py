"""Training step and evaluation of one structure, as pure functions of one lane.

Everything that may differ between candidates of one structure is an argument, so the functions can be vmapped over
lanes. They do not know how they are driven: stepped from the host or scanned, alone or in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jnas.data import _augment as augment
from jnas.nn._signature import Lane, Structure
from jnas.train import _optimizer as optimizer
from jnas.train._recipe import Recipe


class Hyper(NamedTuple):
    """One candidate's training hyper-parameters. With a leading axis on each field, several candidates.

    Attributes:
      seed: uint32; image order and augmentation follow from it (initial weights and dropout are in the state).
      learning_rate: float32, the schedule's peak.
      weight_decay: float32.
    """

    seed: jax.Array
    learning_rate: jax.Array
    weight_decay: jax.Array


class State(NamedTuple):
    """What training changes: parameters, other module state (statistics, dropout's streams, genes), optimiser state."""

    params: Any
    rest: Any
    optimizer: Any


class Metrics(NamedTuple):
    """Sums over the images seen: float32 `loss` and int32 number of `correct` answers."""

    loss: jax.Array
    correct: jax.Array


@dataclass(frozen=True)
class Program:
    """The pure functions of a structure under a recipe."""

    structure: Structure
    recipe: Recipe

    def init(self, lane: Lane, seed: int) -> State:
        """The state of a lane before the first step; made on the host, so that nothing is compiled for it."""
        _, params, rest = nnx.split(lane.build(nnx.Rngs(jax.random.key(seed))), nnx.Param, ...)
        return State(params, rest, optimizer.init(self.recipe, params))

    def shapes(self) -> State:
        """The state's shapes and types."""
        skeleton = self.structure.skeleton
        return State(skeleton.params, skeleton.rest, optimizer.shapes(self.recipe, skeleton.params))

    def merge(self, state: State, train: bool = False) -> nnx.Module:
        """The structure's module with the weights of `state`."""
        # Copied, so that the module's changes stay its own: `nnx.merge` may hand on the variables it is given.
        params, rest = jax.tree.map(lambda leaf: leaf, (state.params, state.rest))
        skeleton = self.structure.skeleton
        return nnx.merge(skeleton.training if train else skeleton.evaluation, params, rest)

    def _compute(self, tree: Any) -> Any:
        """Floats in the recipe's precision; gradients come back in their own."""
        if self.recipe.precision == "float32":
            return tree
        wide = jnp.float32
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.dtype == wide else leaf, tree)

    def step(
        self, state: State, metrics: Metrics, hyper: Hyper, inputs: jax.Array, labels: jax.Array, rate: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of training.

        Args:
          state, metrics: from `init` or the step before; the metrics grow by this batch's.
          hyper: the candidate's.
          inputs, labels: the batch, `[B, H, W, C]` float32 and `[B]` int32.
          rate: the schedule's share of the learning rate.
        """
        classes = self.structure.hull.classes
        targets = optax.smooth_labels(jax.nn.one_hot(labels, classes), self.recipe.label_smoothing)

        def loss_of(params):
            module = self.merge(State(self._compute(params), state.rest, None), train=True)
            logits = module(self._compute(inputs)).astype(jnp.float32)
            _, _, rest = nnx.split(module, nnx.Param, ...)
            loss = optax.softmax_cross_entropy(logits, targets).mean()
            return loss, (rest, (logits.argmax(-1) == labels).sum(dtype=jnp.int32))

        (loss, (rest, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state = optimizer.update(
            self.recipe, state.params, gradients, state.optimizer, hyper.learning_rate * rate, hyper.weight_decay
        )
        return State(params, rest, opt_state), Metrics(metrics.loss + loss * len(labels), metrics.correct + correct)

    def correct(self, params: Any, rest: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        """How many of `images` `[B, H, W, C]` uint8 get their label, in evaluation mode; a label of -1 never counts."""
        module = self.merge(State(self._compute(params), rest, None))
        logits = logits_of(module, self._compute(augment.normalise(images)), self.recipe.test_flip)
        return (logits.argmax(-1) == labels).sum(dtype=jnp.int32)


def logits_of(module: nnx.Module, inputs: jax.Array, mirrored: bool) -> jax.Array:
    """The logits of inputs `[N, H, W, C]`; where `mirrored`, the mean of those of each image and its mirror image."""
    if not mirrored:
        return module(inputs)
    return module(jnp.concatenate([inputs, augment.hflip(inputs)])).reshape(2, len(inputs), -1).mean(0)
