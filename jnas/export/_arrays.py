"""The weights of a trained module in the layout of PyTorch and ONNX: maps are `[C, H, W]`, kernels `[out, in, …]`."""

import math
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float32

import jnas.space as lt
from jnas.space import Template

LayerArrays = dict[str, Float32[np.ndarray, "..."]]
"""By the names of PyTorch: weight, bias, running_mean, running_var. Empty for a layer without weights."""


def layer_arrays(template: Template, module: nnx.Sequential) -> list[LayerArrays]:
    """Returns the arrays of each layer of a template, from its trained module.

    Flatten lays a map out as H, W, C in Flax and as C, H, W here: what follows it is permuted, up to the next Linear.
    """
    order: np.ndarray | None = None  # of the features since Flatten, in this layout: their places in that of Flax
    found = []
    inputs = (template.in_shape, *template.shapes)
    for layer, part, shape in zip(template.layers, module.layers, inputs, strict=False):
        found.append(_arrays_of(layer, part, order))
        if isinstance(layer, lt.Flatten):
            channels, height, width = shape
            places = np.arange(math.prod(shape)).reshape(height, width, channels)
            order = places.transpose(2, 0, 1).ravel()
        elif isinstance(layer, lt.Linear):
            order = None
    return found


def _arrays_of(layer: lt.LayerTemplate, part: Any, order: np.ndarray | None) -> LayerArrays:
    def read(name: str) -> np.ndarray:
        return np.array(getattr(part, name)[...], np.float32)

    match layer:
        case lt.Conv2d():
            return {"weight": np.ascontiguousarray(read("kernel").transpose(3, 2, 0, 1)), "bias": read("bias")}
        case lt.Linear():
            kernel = read("kernel") if order is None else read("kernel")[order]
            return {"weight": np.ascontiguousarray(kernel.T), "bias": read("bias")}
        case lt.BatchNorm2d():
            names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
            return {ours: read(theirs) for ours, theirs in names.items()}
        case lt.PReLU(all_channels=True) if order is not None:
            return {"weight": read("slope")[order]}
        case lt.PReLU():
            return {"weight": read("slope")}
    return {}
