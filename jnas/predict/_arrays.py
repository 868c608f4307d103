"""Trees of arrays by the paths of their leaves, as files hold them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def by_path(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree, without empty ones, which Orbax cannot write."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if leaf.size}


def from_paths(arrays: Mapping[str, Any], target: Any) -> Any:
    """Returns the tree whose arrays `by_path` returned; `target` has its shapes and types.

    Raises a KeyError for an array that is missing, and a ValueError for one of another shape.
    """

    def leaf(path: Any, like: Any) -> Any:
        if not like.size:
            return jnp.zeros(like.shape, like.dtype)
        array = arrays[name := jax.tree_util.keystr(path)]
        if array.shape != like.shape:
            raise ValueError(f"{name} has the shape {array.shape}, not {like.shape}")
        return array

    return jax.tree_util.tree_map_with_path(leaf, target)
