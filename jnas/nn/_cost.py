"""The cost of a forward pass, counted from shapes: what memory plans and compiler options depend on."""

import functools
import math
from typing import NamedTuple

from jnas.space import Conv2d, Template


class CostEstimate(NamedTuple):
    """What a template's forward pass on one image takes; `macs` and `params` as `Template.cost` counts them."""

    macs: int
    params: int
    activations: int  # elements of all feature maps, the image included
    im2col: tuple[int, ...]  # for each convolution, elements of its patches where it lays them out as a matrix
    layers: int


@functools.lru_cache(maxsize=4096)
def estimate_cost(template: Template) -> CostEstimate:
    """Returns what a forward pass of a template costs for one image."""
    inputs = (template.in_shape, *template.shapes)
    im2col = tuple(
        math.prod(out[1:]) * shape[0] * layer.kernel_size**2
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
        if isinstance(layer, Conv2d)
    )
    activations = sum(math.prod(shape) for shape in inputs)
    return CostEstimate(template.cost.macs, template.cost.params, activations, im2col, len(template.layers))
