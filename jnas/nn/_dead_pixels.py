"""Which pixels of its map a layer has to compute: those that the layers after it read.

Windows that do not divide a map leave a margin at its end that nobody reads, and a convolution of one pixel with a
stride leaves out most of what is between. In a chain of such layers up to nine tenths of a map are computed for
nothing. What is not read has no gradient either, so training is the same without it.

Batch norm reads all pixels, as its statistics are theirs; so do the layers that end the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jnas.nn.ops._windows import Pair
from jnas.space import _layers as lt

_WORTH = 0.9
"""The share of its windows up to which a convolution whose maps have a border is cut: the border is written then."""
_POINTWISE = (lt.Activation, lt.Dropout2d)


class Reading(NamedTuple):
    """How a layer with windows goes over the map that it is given.

    Attributes:
      stride: between windows, in pixels of that map, of which the layer before it may have left some out.
      out: windows to compute, in rows and columns, from the first one on.
    """

    stride: int
    out: Pair


class _Wanted(NamedTuple):
    """Pixels of a map: so many from the first one on, in rows and columns, every `step`-th one."""

    count: Pair
    step: int = 1


def readings(
    layers: Sequence[lt.LayerTemplate], in_shape: lt.Shape, shapes: Sequence[lt.Shape]
) -> list[Reading | None]:
    """The reading of each layer; None for those without windows, and for those that compute all that they can.

    Args:
      layers: of a template.
      in_shape, shapes: of the image, and of each layer's output without this.
    """
    inputs = (in_shape, *shapes)
    wanted = [_Wanted(shape[1:]) for shape in inputs]  # of vectors nothing is asked
    for number in reversed(range(len(layers))):
        wanted[number] = _before(layers[number], wanted[number], wanted[number + 1], inputs[number + 1])
    found: list[Reading | None] = []
    given, step = inputs[0][1:], 1  # what the present layer is given: so many pixels, every so many
    for layer, after, before, shape in zip(layers, wanted[1:], inputs, shapes, strict=False):
        reading = None
        if isinstance(layer, lt.Window):
            after = _worth(layer, after, shape)
            if (given, step, after) != (before[1:], 1, _Wanted(shape[1:])):
                reading = Reading(layer.stride * after.step // step, after.count)
            given, step = after
        elif not isinstance(layer, _POINTWISE):
            given, step = shape[1:], 1
        found.append(reading)
    return found


def _before(layer: lt.LayerTemplate, whole: _Wanted, after: _Wanted, shape: lt.Shape) -> _Wanted:
    """What a layer reads of its input, `whole`, to compute what is wanted of its output."""
    if isinstance(layer, _POINTWISE):
        return after
    if not isinstance(layer, lt.Window):
        return whole
    after = _worth(layer, after, shape)
    stride = layer.stride * after.step
    if layer.kernel_size == 1:
        return _Wanted(after.count, stride)
    ends = ((count - 1) * stride - layer.pad + layer.kernel_size for count in after.count)
    return _Wanted(tuple(map(min, ends, whole.count)))


def _worth(layer: lt.Window, after: _Wanted, shape: lt.Shape) -> _Wanted:
    """What is wanted of a layer, or all that it has, where leaving the rest out does not pay."""
    share = after.count[0] * after.count[1] / (shape[1] * shape[2])
    cut = share <= _WORTH or layer.pad == 0 or not isinstance(layer, lt.Conv2d)
    return after if cut else _Wanted(shape[1:])
