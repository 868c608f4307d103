"""The optimiser's step, with learning rate and weight decay as run-time data of each lane.

The transformations are optax'. What is added is the order of the update, so that a CPU writes over weights and moments
without a copy, and one vector for all small parameters, which compiles 10 to 25 % faster.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jnas.nn.ops import optimization_barrier
from jnas.train._recipe import Recipe

_MIN_LARGE_SIZE = 1 << 16
"""Elements from which a parameter is updated where it lies, as a copy would take longer than it saves."""


def opt_state_shapes(recipe: Recipe, params: Any) -> Any:
    """Returns the shapes and types of the optimiser's state for `params`, which begins as zeros."""
    return jax.eval_shape(lambda tree: _transformation(recipe).init(_pack(tree)), params)


def update(
    recipe: Recipe, params: Any, gradients: Any, opt_state: Any, learning_rate: jax.Array, weight_decay: jax.Array
) -> tuple[Any, Any]:
    """Returns the parameters after one step, and the optimiser's new state."""
    gradients, params, opt_state = _order_after((gradients, params, opt_state))
    weights, gradients = _pack(params), _pack(gradients)

    def add_decay(arrays):
        return [array + weight_decay * weight for array, weight in zip(arrays, weights, strict=True)]

    if recipe.optimizer == "sgd":
        gradients = add_decay(gradients)
    transformation = _transformation(recipe)
    updates: Any = transformation.update(gradients, opt_state)[0]
    if recipe.optimizer == "adamw":
        updates = add_decay(updates)  # decoupled from the gradient's moments
    weights = [weight - learning_rate * step for weight, step in zip(weights, updates, strict=True)]
    # The moments a second time, after the weights: then no array is read any more when it is written over.
    weights, gradients, opt_state = _order_after((weights, gradients, opt_state))
    _, opt_state = transformation.update(gradients, opt_state)
    return _unpack(weights, params), _order_after(opt_state)


def _transformation(recipe: Recipe) -> optax.GradientTransformation:
    return optax.scale_by_adam() if recipe.optimizer == "adamw" else optax.trace(decay=0.9, nesterov=True)


def _pack(tree: Any) -> list[jax.Array]:
    """The large arrays of a tree, and all small ones as one vector."""
    leaves = jax.tree.leaves(tree)
    small = [leaf.ravel() for leaf in leaves if leaf.size < _MIN_LARGE_SIZE]
    return [leaf for leaf in leaves if leaf.size >= _MIN_LARGE_SIZE] + ([jnp.concatenate(small)] if small else [])


def _unpack(arrays: list[jax.Array], tree: Any) -> Any:
    """The tree, like `tree`, of which `_pack` made `arrays`."""
    leaves, structure = jax.tree.flatten(tree)
    large, start, result = iter(arrays), 0, []
    for leaf in leaves:
        if leaf.size >= _MIN_LARGE_SIZE:
            result.append(next(large))
        else:
            result.append(arrays[-1][start : start + leaf.size].reshape(leaf.shape))
            start += leaf.size
    return jax.tree.unflatten(structure, result)


def _order_after(arrays: Any) -> Any:
    """The same arrays; on a CPU, whatever reads the result runs after all of them are there.

    XLA:CPU copies an array that it writes over unless it can prove that nobody reads it later. On other devices the
    whole update is one pass over memory.
    """
    return optimization_barrier(arrays) if jax.default_backend() == "cpu" else arrays
