"""Which templates share a compiled program.

XLA compiles a program for static shapes. Activation slopes and dropout rates are scalars that a program can take as
arguments, so templates that differ in nothing else train with the same program, alone or as lanes under `jax.vmap`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
from flax import nnx

from jnas.nn._build import build
from jnas.space import Dropout, Dropout2d, LayerTemplate, LeakyReLU, ReLU, Template


class GraphDefs(NamedTuple):
    """A template's module without its arrays.

    Attributes:
      train, evaluation: the module's graph in training and in evaluation mode.
      params: shapes and types of the parameters.
      model_state: shapes and types of all else: batch statistics, dropout's random streams, run-time scalars.
    """

    train: nnx.GraphDef
    evaluation: nnx.GraphDef
    params: nnx.State
    model_state: nnx.State


@functools.lru_cache(maxsize=4096)
def program_signature(template: Template) -> Template:
    """Returns the template with its run-time scalars erased: templates with equal signatures share a program.

    Every LeakyReLU becomes a ReLU, whose slope is 0, and every dropout rate 0.5.
    """
    return Template([_erase_scalars(layer) for layer in template.layers], template.in_shape)


def _erase_scalars(layer: LayerTemplate) -> LayerTemplate:
    match layer:
        case LeakyReLU():
            return ReLU()
        case Dropout2d():
            return Dropout2d(0.5)
        case Dropout():
            return Dropout(0.5)
    return layer


@functools.lru_cache(maxsize=32)
def graph_defs(signature: Template) -> GraphDefs:
    """Returns the graphs and state shapes of all templates with this signature."""
    module = nnx.eval_shape(lambda: build(signature, nnx.Rngs(0)))
    train, params, model_state = nnx.split(module, nnx.Param, ...)
    module.eval()
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
        for state in (params, model_state)
    )
    return GraphDefs(train, nnx.graphdef(module), *shapes)
