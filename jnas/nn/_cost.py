"""What a program costs, counted from shapes: what the cost model and the benchmarks go by."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from jnas.nn.envelope import Envelope
from jnas.space import Template
from jnas.space import _layers as lt


class Footprint(NamedTuple):
    """The cost of one lane's forward pass on one image, padding included.

    Attributes:
      macs: multiply-accumulates of convolutions and fully connected layers.
      params: learnable parameters.
      maps: elements of all feature maps.
      patches: elements of each convolution's patches, where it lays them out.
      layers: how many there are.
      gathers: whether convolutions always lay out their patches, also for a lane that is alone.
    """

    macs: int
    params: int
    maps: int
    patches: tuple[int, ...]
    layers: int
    gathers: bool = False


@functools.lru_cache(maxsize=4096)
def footprint(hull: Template | Envelope) -> Footprint:
    """The footprint of a structure's hull."""
    return _of_envelope(hull) if isinstance(hull, Envelope) else _of_template(hull)


def _of_template(template: Template) -> Footprint:
    inputs = (template.in_shape, *template.shapes)
    patches = tuple(
        math.prod(out[1:]) * shape[0] * layer.kernel_size**2
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
        if isinstance(layer, lt.Conv2d)
    )
    maps = sum(math.prod(shape) for shape in inputs)
    return Footprint(template.cost.macs, template.cost.params, maps, patches, len(template.layers))


def _of_envelope(envelope: Envelope) -> Footprint:
    macs = params = 0
    maps, layers, patches = math.prod(envelope.in_shape), 1, []
    for stage, (_, channels) in zip(envelope.stages, envelope.inputs, strict=True):
        taps = stage.size**2
        patches.append(stage.positions * taps * channels)
        macs += patches[-1] * stage.channels
        params += (taps * channels + 1) * stage.channels
        params += sum({"norm": 2, "activation": 1, "pool": 0}[slot.kind] for slot in stage.slots) * stage.channels
        maps += stage.channels * (stage.positions + sum(slot.positions for slot in stage.slots))
        layers += 1 + len(stage.slots)
    features = envelope.positions * envelope.channels
    maps += features
    for width in envelope.hidden:
        macs += features * width
        params += (features + 2) * width
        maps += 3 * width
        layers += 3
        features = width
    macs += envelope.features * envelope.classes
    params += (envelope.features + 1) * envelope.classes
    return Footprint(macs, params, maps + envelope.classes, tuple(patches), layers + 1, gathers=True)
