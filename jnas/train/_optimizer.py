"""The optimiser's step with learning rate and weight decay as run-time data.

optax bakes both into the transformation; here they are a lane's, so that one compiled program serves any values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnas.nn.ops._barriers import materialise
from jnas.train._recipe import Recipe

LOOKAHEAD_STEPS = 5
"""Steps between two meetings of the fast and the slow weights, see `Recipe.lookahead`."""
_LARGE = 1 << 16
"""Elements from which a parameter is updated where it lies: it is not worth a copy."""


class OptimizerState(NamedTuple):
    """What the optimiser remembers.

    Attributes:
      moments: of the gradients, as optax keeps them.
      steps: int32, how many there were. slow: the slow weights, packed. Both only where the recipe looks ahead.
    """

    moments: Any
    steps: Any = ()
    slow: Any = ()


def _transformation(recipe: Recipe) -> optax.GradientTransformation:
    return optax.scale_by_adam() if recipe.optimizer == "adamw" else optax.trace(decay=0.9, nesterov=True)


def _packed(tree: Any) -> list[jax.Array]:
    """The large arrays of a tree, and all small ones as one vector.

    One vector takes a tenth to a quarter less to compile than many small parameters.
    """
    leaves = jax.tree.leaves(tree)
    small = [leaf.ravel() for leaf in leaves if leaf.size < _LARGE]
    return [leaf for leaf in leaves if leaf.size >= _LARGE] + ([jnp.concatenate(small)] if small else [])


def _unpacked(arrays: list[jax.Array], tree: Any) -> Any:
    """What was packed, as a tree like `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    large = iter(arrays)
    taken = [next(large) if leaf.size >= _LARGE else None for leaf in leaves]
    vector, start = next(large, None), 0
    for i, leaf in enumerate(leaves):
        if taken[i] is None:
            taken[i] = vector[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
    return jax.tree.unflatten(structure, taken)


def shapes(recipe: Recipe, params: Any) -> OptimizerState:
    """The shapes and types of the optimiser's state for `params`."""

    def start(tree):
        weights = _packed(tree)
        moments = _transformation(recipe).init(weights)
        return OptimizerState(moments, jnp.int32(0), weights) if recipe.lookahead else OptimizerState(moments)

    return jax.eval_shape(start, params)


def init(recipe: Recipe, params: Any) -> OptimizerState:
    """The optimiser's state for `params`: zeros all through, whatever the recipe."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes(recipe, params))  # no compiled program


def update(
    recipe: Recipe,
    params: Any,
    gradients: Any,
    state: OptimizerState,
    learning_rate: jax.Array,
    weight_decay: jax.Array,
) -> tuple[Any, OptimizerState]:
    """The parameters after one step, and the optimiser's new state.

    Args:
      recipe: which optimiser.
      params, gradients: matching trees of arrays.
      state: as `init` or the step before returned it.
      learning_rate, weight_decay: scalars.
    """
    gradients, params, state = _after((gradients, params, state))
    weights, gradients = _packed(params), _packed(gradients)
    decayed = weights if recipe.decay_vectors else _packed(_kernels(params))

    def decay(arrays):
        return [array + weight_decay * weight for array, weight in zip(arrays, decayed, strict=True)]

    if recipe.optimizer == "sgd":
        gradients = decay(gradients)
    transformation = _transformation(recipe)
    direction, _ = transformation.update(gradients, state.moments)
    if recipe.optimizer == "adamw":
        direction = decay(direction)  # decoupled from the gradient's moments
    weights = [weight - learning_rate * step for weight, step in zip(weights, direction, strict=True)]
    # The moments once more, after the weights: then no array is read any more when it is written over.
    weights, gradients, moments = _after((weights, gradients, state.moments))
    _, moments = transformation.update(gradients, moments)
    state = state._replace(moments=_after(moments))
    if recipe.lookahead:
        number = state.steps + 1
        meet = number % LOOKAHEAD_STEPS == 0
        share = jnp.where(number == LOOKAHEAD_STEPS, 1.0, recipe.lookahead)  # the slow ones begin where they first meet
        slow = [
            jnp.where(meet, old + share * (weight - old), old) for weight, old in zip(weights, state.slow, strict=True)
        ]
        weights = [jnp.where(meet, one, weight) for one, weight in zip(slow, weights, strict=True)]
        state = state._replace(steps=number, slow=slow)
    return _unpacked(weights, params), state


def _after(arrays: Any) -> Any:
    """The same arrays; on a CPU, read by what follows when all of them are there, and so by nobody else any more.

    XLA:CPU copies what it cannot prove that it may write over. Elsewhere the whole update is one pass.
    """
    return materialise(arrays) if jax.default_backend() == "cpu" else arrays


def _kernels(params: Any) -> Any:
    """The parameters with zeros in place of those that are no kernel."""

    def kept(path, leaf):
        return leaf if "kernel" in {getattr(entry, "key", None) for entry in path} else jnp.zeros_like(leaf)

    return jax.tree_util.tree_map_with_path(kept, params)
