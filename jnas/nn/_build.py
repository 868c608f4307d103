"""A template as a Flax module."""

from flax import nnx

import jnas.space as lt
from jnas._validation import to_instance
from jnas.nn import _modules as modules
from jnas.nn._dead_pixels import OutputRegion, required_regions
from jnas.nn.ops import avg_pool, max_pool
from jnas.space import Template


def build(template: Template, rngs: nnx.Rngs) -> nnx.Sequential:
    """Returns the module of a template: `[N, H, W, C]` floats in, `[N, classes]` logits out.

    Call `.eval()` for inference. The random streams are `params`, for the initial weights, and `dropout`.
    """
    to_instance("template", template, Template, "use Template.from_hash")
    to_instance("rngs", rngs, nnx.Rngs, "nnx.Rngs(0) is one")
    inputs = (template.in_shape, *template.shapes)
    regions = required_regions(template.layers, template.in_shape, template.shapes)
    parts = zip(template.layers, inputs, regions, strict=False)
    return nnx.Sequential(*(module_of(layer, shape, rngs, region) for layer, shape, region in parts))


def module_of(
    layer: lt.LayerTemplate, shape: lt.Shape, rngs: nnx.Rngs, region: OutputRegion | None = None
) -> nnx.Module:
    """Returns the module of one layer for an input of `shape`, of whose output `region` is computed."""
    channels = shape[0]
    stride, out = region or (getattr(layer, "stride", 1), None)
    match layer:
        case lt.Conv2d():
            return modules.Conv2d(channels, layer.out_channels, layer.kernel_size, stride, layer.pad, out, rngs)
        case lt.MaxPool2d():
            return modules.Pool2d(max_pool, layer.kernel_size, stride, layer.pad, out)
        case lt.AvgPool2d():
            return modules.Pool2d(avg_pool, layer.kernel_size, stride, layer.pad, layer.count_include_pad, out)
        case lt.GlobalAvgPool2d():
            return modules.GlobalAvgPool2d()
        case lt.BatchNorm2d():
            return modules.BatchNorm2d(channels)
        case lt.ReLU():
            return modules.LeakyReLU()
        case lt.LeakyReLU():
            return modules.LeakyReLU(layer.negative_slope)
        case lt.PReLU():
            return modules.PReLU(channels if layer.all_channels else 1)
        case lt.Dropout2d():
            return modules.Dropout(layer.p, whole_channels=True, rngs=rngs)
        case lt.Dropout():
            return modules.Dropout(layer.p, whole_channels=False, rngs=rngs)
        case lt.Flatten():
            return modules.Flatten()
        case lt.Linear():
            return modules.Linear(channels, layer.out_features, rngs=rngs)
    raise NotImplementedError(f"no module for {layer}")
