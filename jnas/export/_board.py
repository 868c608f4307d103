"""What a microcontroller board must have for a template, computed from its shapes."""

import math

from jnas.space import Activation, BatchNorm2d, Dropout, Flatten, Template


def board_needs(template: Template) -> dict[str, int]:
    """Returns the bytes of flash and of working memory that inference on one image takes with int8 values.

    "flash_bytes" is a byte for each weight, and four for each bias, which is added to sums of 32 bits; the code of the
    runtime comes on top. "memory_bytes" is the peak over the layers of input and output, which exist at once; layers
    that work in place or are part of the one before have no output of their own (Liberis et al. 2021,
    arXiv:2010.14246; David et al. 2021, arXiv:2010.08678).
    """
    peak, flash, current = 0, 0, math.prod(template.in_shape)
    inputs = (template.in_shape, *template.shapes)
    for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False):
        is_free = isinstance(layer, Activation | BatchNorm2d | Dropout | Flatten)
        peak = max(peak, current if is_free else current + math.prod(out))
        current = math.prod(out)
        biases = 0 if is_free or not layer.cost(shape).params else out[0]
        flash += layer.cost(shape).params + 3 * biases
    return {"flash_bytes": flash, "memory_bytes": peak}
