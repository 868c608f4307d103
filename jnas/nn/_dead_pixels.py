"""Dead-pixel elimination: layers compute only those pixels of their output that later layers read.

If a window and its stride do not divide a map, the last rows and columns are never read; a strided 1x1 convolution
reads one pixel in `stride ** 2`. Unread pixels have no gradient, so leaving them out changes training by rounding only.
It makes training steps of 32 templates of the original's space 1.23 times as fast; where convolutions are padded and
have no stride, there is next to nothing to leave out (docs/decisions/012).

Batch norm reads all pixels, because they all enter its statistics. So do layers whose output is not a map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jnas.space as lt
from jnas.nn.ops import Pair

_MAX_CROPPED_SHARE = 0.9
"""Share of its windows up to which a padded convolution is cropped: cropping writes its padding to memory, which costs
about as much as a tenth of the convolution (two EPYC cores, jaxlib 0.10.2)."""
_POINTWISE = (lt.Activation, lt.Dropout2d)


class OutputRegion(NamedTuple):
    """The windows that a layer computes: `size` rows and columns, from the first one on."""

    stride: int  # in pixels of the map that the layer before computes, which may have left some out
    size: Pair


class _Pixels(NamedTuple):
    """Pixels of a map: `size` rows and columns, every `step`-th one from the first one on; of a vector, `()`."""

    size: tuple[int, ...]
    step: int = 1


def required_regions(
    layers: Sequence[lt.LayerTemplate], in_shape: lt.Shape, shapes: Sequence[lt.Shape]
) -> list[OutputRegion | None]:
    """Returns the region that each layer has to compute; None for layers without windows, and for whole outputs.

    `shapes` are those of each layer's whole output.
    """
    inputs = (in_shape, *shapes)
    required = [_Pixels(shape[1:]) for shape in inputs]
    for index in reversed(range(len(layers))):
        required[index] = _required_input(layers[index], required[index], required[index + 1], inputs[index + 1])
    regions: list[OutputRegion | None] = []
    computed = _Pixels(in_shape[1:])  # of the present layer's input
    for layer, pixels, whole_input, shape in zip(layers, required[1:], inputs, shapes, strict=False):
        region = None
        if isinstance(layer, lt.WindowedLayer):
            pixels = _profitable(layer, pixels, shape)
            if (computed, pixels) != (_Pixels(whole_input[1:]), _Pixels(shape[1:])):
                rows, columns = pixels.size
                region = OutputRegion(layer.stride * pixels.step // computed.step, (rows, columns))
            computed = pixels
        elif not isinstance(layer, _POINTWISE):
            computed = _Pixels(shape[1:])
        regions.append(region)
    return regions


def _required_input(layer: lt.LayerTemplate, whole_input: _Pixels, output: _Pixels, shape: lt.Shape) -> _Pixels:
    """Returns the pixels of its input that a layer reads to compute the pixels `output` of its output of `shape`."""
    if isinstance(layer, _POINTWISE):
        return output
    if not isinstance(layer, lt.WindowedLayer):
        return whole_input
    output = _profitable(layer, output, shape)
    stride = layer.stride * output.step
    if layer.kernel_size == 1:
        return _Pixels(output.size, stride)
    ends = ((count - 1) * stride - layer.pad + layer.kernel_size for count in output.size)
    return _Pixels(tuple(map(min, ends, whole_input.size)))


def _profitable(layer: lt.WindowedLayer, output: _Pixels, shape: lt.Shape) -> _Pixels:
    """Returns the pixels of a layer's output to compute: those required, or all of `shape` if cropping costs more."""
    share = output.size[0] * output.size[1] / (shape[1] * shape[2])
    is_cropped = share <= _MAX_CROPPED_SHARE or layer.pad == 0 or not isinstance(layer, lt.Conv2d)
    return output if is_cropped else _Pixels(shape[1:])
