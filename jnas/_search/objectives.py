"""What a search is to make high or low besides the accuracy: costs, as numbers of which more is better."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.space import Space, Template, infer_shapes, lengths

Objective = Literal["accuracy", "macs", "params", "latency"]

LATENCY_TERMS = 4
"""Terms of the model of latency: a constant, and one each for layers, FLOPs and parameters."""


def check_objectives(objectives: tuple[Objective, ...]) -> None:
    """Raises a JnasError where these are not the objectives of a search."""
    names = get_args(Objective)
    if not isinstance(objectives, tuple) or any(name not in names for name in objectives):
        raise JnasError(f"objectives must be among {', '.join(names)}, got {objectives!r}.")
    if "accuracy" not in objectives or len(set(objectives)) < len(objectives):
        raise JnasError(f"objectives must include accuracy, and each name once, got {' '.join(objectives) or 'none'}.")


def gains(space: Space, objectives: tuple[str, ...], genomes: jax.Array, latency: jax.Array) -> jax.Array:
    """Every objective but the accuracy, as the logarithm of the cost with a minus: `[N, L, 6]` to `[N, M - 1]` float32.

    Args:
      space: the genomes' space.
      objectives: their names.
      genomes: valid ones.
      latency: the model's coefficients, as `latency_model` fits them.
    """
    traced = infer_shapes(genomes, space.in_shape, space.classes)
    values = {"macs": traced.macs.to_float(), "params": traced.params.to_float()}
    terms = jnp.stack(
        [jnp.ones(len(genomes)), lengths(genomes) + 1.0, traced.flops.to_float() / 1e6, values["params"] / 1e6], -1
    )
    values["latency"] = terms @ latency
    columns = [-jnp.log(jnp.maximum(values[name], 1e-6)) for name in objectives if name != "accuracy"]
    return jnp.stack(columns, -1) if columns else jnp.zeros((len(genomes), 0))


def latency_model(templates: list[Template], milliseconds: list[float]) -> np.ndarray:
    """Coefficients `[LATENCY_TERMS]` that estimate the latency of templates that were not measured, none negative.

    Without five measurements they only rank: by FLOPs and layers.
    """
    from scipy.optimize import nnls

    if len(templates) < 5:
        return np.array([0.0, 0.01, 0.1, 0.0], np.float32)
    terms = [[1.0, len(t.layers), t.cost.flops / 1e6, t.cost.params / 1e6] for t in templates]
    return nnls(np.array(terms), np.array(milliseconds))[0].astype(np.float32)
