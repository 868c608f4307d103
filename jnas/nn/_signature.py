"""From a template to the program that trains it: what XLA must know is the structure, the rest is run-time data.

Policies:

*exact*: the template is its own structure; lanes differ in seeds and training hyper-parameters only.

*folded*: activations and their slopes, dropout rates, whether batch norm acts, smaller odd kernels inside larger
padded ones, and fewer channels inside more are data of the lane. The structure is the hull: the template rounded up
to a short ladder of sizes, with every such layer in place.

*envelope*: everything is data of the lane, the sizes of its maps and the windows of its layers too. The structure is an
envelope, static maxima that different architectures fit under (see `envelope`); `lower` gives the smallest one of a
template, and the engine merges those of a population.

*auto* is the engine's choice among them for a whole population (see `jnas.train._engine.bucketing`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
from flax import nnx

from jnas.errors import JnasError
from jnas.nn import folded
from jnas.nn._build import build, module_of
from jnas.nn._cost import Footprint, footprint
from jnas.nn.envelope import Envelope, envelope_of, place
from jnas.nn.enveloped import Network
from jnas.space import Template
from jnas.space import _layers as lt

Policy = Literal["exact", "folded", "envelope", "auto"]
POLICIES = typing.get_args(Policy)

# What folding rounds up to. Coarser steps share programs more often, and waste more arithmetic.
CHANNELS = (16, 32, 64, 128, 192)
FEATURES = (64, 256, 1024, 4096)
KERNELS = (3, 7)


@dataclass(frozen=True)
class Structure:
    """What XLA must know of a template: two templates with equal structures train in one compiled program.

    Attributes:
      hull: whose shapes the program has: a template, or an envelope.
      policy: "exact", "folded" or "envelope": how it was made.
    """

    hull: Template | Envelope
    policy: Policy

    def lane(self, template: Template) -> Lane:
        """A template as a lane of this structure.

        Raises:
          JnasError: it does not fit.
        """
        if self.policy == "envelope":
            fits = place(template, self.hull) is not None
        else:
            fits = lower(template, self.policy)[0] == self
        if not fits:
            raise JnasError(f"The template {template.hash} is of another structure: make a trainer for it.")
        return Lane(self, template)

    @property
    def footprint(self) -> Footprint:
        """What a lane costs, padding included."""
        return footprint(self.hull)

    @property
    def skeleton(self) -> Skeleton:
        """The structure's module without its arrays."""
        return _skeleton(self)


class Skeleton(NamedTuple):
    """A module without its arrays: the graphs in training and in evaluation mode, and the shapes of its state."""

    training: nnx.GraphDef
    evaluation: nnx.GraphDef
    params: nnx.State
    rest: nnx.State


@functools.lru_cache(maxsize=32)
def _skeleton(structure: Structure) -> Skeleton:
    if structure.policy == "exact":
        module = nnx.eval_shape(lambda: build(structure.hull, nnx.Rngs(0)))
    elif structure.policy == "envelope":
        module = nnx.eval_shape(lambda: Network(structure.hull))
    else:
        with jax.ensure_compile_time_eval():  # folding looks at weights, also while a program is traced
            module = Lane(structure, structure.hull).build(nnx.Rngs(0))  # a hull folds into itself
    training, params, rest = nnx.split(module, nnx.Param, ...)
    module.eval()
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state) for state in (params, rest)
    )
    return Skeleton(training, nnx.graphdef(module), *shapes)


@dataclass(frozen=True)
class Lane:
    """One template as run-time data of a structure's program."""

    structure: Structure
    template: Template

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The structure's module with the template's own initial weights in it.

        They are drawn for the template's own shapes, so a lane starts where the template alone would.
        """
        own = build(self.template, rngs)
        if self.structure.policy == "exact":
            return own
        if self.structure.policy == "envelope":
            return Network(self.structure.hull, (self.template, own))
        return nnx.Sequential(*(slot.fold(own) for slot in self._slots()))

    def unfold(self, module: nnx.Module) -> nnx.Module:
        """The template's own module with the weights of the structure's `module`."""
        if self.structure.policy == "exact":
            return module
        own = build(self.template, nnx.Rngs(0))
        if self.structure.policy == "envelope":
            module.unfold(self.template, own)
            return own
        for slot, layer in zip(self._slots(), module.layers, strict=True):
            slot.unfold(layer, own)
        return own

    def _slots(self) -> list[_Slot]:
        template, hull = self.template, self.structure.hull
        inputs, hulls = (template.in_shape, *template.shapes), (hull.in_shape, *hull.shapes)
        slots = []
        for number, (layer, index) in enumerate(_fold(template)):
            maps = None
            if isinstance(layer, lt.Linear) and isinstance(hull.layers[number - 1], lt.Flatten):
                maps = tuple((math.prod(shape[1:]), shape[0]) for shape in (inputs[index - 1], hulls[number - 1]))
            slots.append(_Slot(layer, hulls[number], index, maps))
        return slots


@dataclass(frozen=True)
class _Slot:
    """A layer of the hull beside the template's layer that it holds.

    Attributes:
      layer, shape: the hull's layer and its input shape.
      index: which layer of the template; None where it has none.
      maps: of a Linear behind a Flatten: see `folded.Linear`.
    """

    layer: lt.LayerTemplate
    shape: lt.Shape
    index: int | None
    maps: folded.Maps | None

    def fold(self, network: nnx.Sequential) -> nnx.Module:
        own = None if self.index is None else network.layers[self.index]
        layer, channels = self.layer, self.shape[0]
        match layer:
            case lt.Conv2d():
                return folded.Conv2d(channels, layer.out_channels, layer.kernel_size, layer.stride, layer.pad, own)
            case lt.Linear():
                return folded.Linear(channels, layer.out_features, self.maps, own)
            case lt.Activation():
                return folded.Activation(channels, own)
            case lt.BatchNorm2d():
                return folded.BatchNorm2d(channels, own)
            case lt.Dropout():
                return folded.Dropout(isinstance(layer, lt.Dropout2d), own)
        return module_of(layer, self.shape, nnx.Rngs(0))  # without weights: as it is

    def unfold(self, module: nnx.Module, network: nnx.Sequential) -> None:
        if self.index is None or not hasattr(module, "unfold"):
            return
        more = () if self.maps is None else (self.maps,)
        module.unfold(network.layers[self.index], *more)


def lower(template: Template, policy: Policy = "exact") -> tuple[Structure, Lane]:
    """What XLA must know of a template, and what it need not.

    Args:
      template: the architecture.
      policy: see the module's docstring. A template that no envelope takes is exact, and so is every one under "auto"
        as long as it is alone.

    Raises:
      JnasError: there is no such policy.
    """
    check_policy(policy)
    structure = Structure(template, "exact")
    if policy == "folded":
        structure = _folded(template)
    elif policy == "envelope" and (envelope := envelope_of(template)):
        structure = Structure(envelope, policy)
    return structure, Lane(structure, template)


def check_policy(policy: str) -> None:
    """Raises a JnasError where there is no such policy."""
    if policy not in POLICIES:
        raise JnasError(f"There is no policy {policy!r}: choose one of {', '.join(POLICIES)}.")


@functools.lru_cache(maxsize=4096)
def _folded(template: Template) -> Structure:
    pairs = zip(template.layers, template.layers[1:], strict=False)
    if any(isinstance(one, lt.Flatten) and not isinstance(next, lt.Linear) for one, next in pairs):
        # The channels of a flattened map lie scattered: only a Linear knows where. The sampler makes no such template.
        return Structure(template, "exact")
    return Structure(Template([layer for layer, _ in _fold(template)], template.in_shape), "folded")


def _fold(template: Template) -> list[tuple[lt.LayerTemplate, int | None]]:
    """The hull's layers, each with the index of the template's layer that it holds."""
    slots: list[tuple[lt.LayerTemplate, int | None]] = []
    for start, stop in _blocks(template.layers):
        block = [(_up(template.layers[i]), i) for i in range(start, stop)]
        if stop == len(template.layers):
            block = [(template.layers[start], start)]  # the classifier
        elif isinstance(block[0][0], lt.Conv2d):
            block = _with(block, lt.BatchNorm2d(), after=(lt.Conv2d, lt.Activation, lt.MaxPool2d))
        elif isinstance(block[0][0], lt.Linear):
            block = _with(block, lt.Dropout(0.5), after=(lt.Linear, lt.Activation))
        slots += block
    return slots


def _blocks(layers: tuple[lt.LayerTemplate, ...]) -> list[tuple[int, int]]:
    """Where each block begins and ends: a Conv2d, Flatten or Linear and what follows it."""
    starts = [i for i, layer in enumerate(layers) if i == 0 or isinstance(layer, lt.Conv2d | lt.Flatten | lt.Linear)]
    return list(zip(starts, [*starts[1:], len(layers)], strict=True))


def _with(block: list, layer: lt.LayerTemplate, after: tuple[type, ...]) -> list:
    """The block with the layer in its place, where it has none of its kind: behind the layers that come before it."""
    if any(type(layer) is type(other) for other, _ in block):
        return block
    place = next((i for i, (other, _) in enumerate(block) if not isinstance(other, after)), len(block))
    return [*block[:place], (layer, None), *block[place:]]


def _up(layer: lt.LayerTemplate) -> lt.LayerTemplate:
    """A layer rounded up to the ladder."""
    match layer:
        case lt.Conv2d():
            layer = dataclasses.replace(layer, out_channels=_step(layer.out_channels, CHANNELS))
            if layer.kernel_size == 1 or (layer.kernel_size % 2 and layer.padding):
                layer = dataclasses.replace(layer, kernel_size=_step(layer.kernel_size, KERNELS), padding=True)
            return layer
        case lt.Linear():
            return dataclasses.replace(layer, out_features=_step(layer.out_features, FEATURES))
        case lt.Activation():
            return lt.PReLU(True)
        case lt.Dropout2d():
            return lt.Dropout2d(0.5)
        case lt.Dropout():
            return lt.Dropout(0.5)
    return layer


def _step(value: int, ladder: tuple[int, ...]) -> int:
    return next((step for step in ladder if step >= value), value)
