"""Which templates share a compiled program.

XLA compiles a program for static shapes. Activation slopes and dropout rates are scalars that a program can take as
arguments, so templates that differ in nothing else train with the same program, alone or as lanes under `jax.vmap`.
"""

import functools
from typing import NamedTuple

import jax
from flax import nnx

from jnas._runtime.jax_config import with_own_settings
from jnas.nn._build import build
from jnas.space import Dropout, LayerTemplate, LeakyReLU, ReLU, Template


class GraphDefs(NamedTuple):
    """A template's module without its arrays: its graph in both modes, and its state as shapes and types."""

    train: nnx.GraphDef
    evaluation: nnx.GraphDef
    params: nnx.State
    model_state: nnx.State  # all but the parameters: batch statistics, dropout's random streams, run-time scalars


@functools.lru_cache(maxsize=4096)
def program_signature(template: Template) -> Template:
    """Returns the template with its run-time scalars erased: templates with equal signatures share a program."""
    return Template([_erase_scalars(layer) for layer in template.layers], template.in_shape)


def _erase_scalars(layer: LayerTemplate) -> LayerTemplate:
    if isinstance(layer, LeakyReLU):
        return ReLU()  # of slope 0
    return type(layer)(0.5) if isinstance(layer, Dropout) else layer


@functools.lru_cache(maxsize=32)
@with_own_settings
def graph_defs(signature: Template) -> GraphDefs:
    """Returns the graphs and state shapes of all templates with this signature."""
    module = nnx.eval_shape(lambda: build(signature, nnx.Rngs(0)))
    train, *states = nnx.split(module, nnx.Param, ...)
    module.eval()
    shapes = (jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state) for state in states)
    return GraphDefs(train, nnx.graphdef(module), *shapes)
