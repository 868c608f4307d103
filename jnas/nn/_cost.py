"""What a forward pass holds in memory, counted from shapes: memory plans and compiler options depend on it."""

import math

from jnas.space import Conv2d, Template


def num_activations(template: Template) -> int:
    """Returns the elements of all feature maps of one image, itself included."""
    return sum(math.prod(shape) for shape in (template.in_shape, *template.shapes))


def largest_im2col(template: Template) -> int:
    """Returns the elements of the largest matrix of one image's patches that a convolution lays out; 0 without any."""
    inputs = (template.in_shape, *template.shapes)
    sizes = (
        math.prod(out[1:]) * shape[0] * layer.kernel_size**2
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
        if isinstance(layer, Conv2d)
    )
    return max(sizes, default=0)
