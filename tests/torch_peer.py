"""The same networks in PyTorch, and weights copied over."""

import numpy as np
import torch
from flax import nnx

from jnas.nn import modules
from jnas.space import layers as lt


def torch_layer(layer, shape):
    """The PyTorch module of one layer template for an input of `shape`."""
    window = {}
    if isinstance(layer, lt.Window):
        window = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.pad}
    match layer:
        case lt.Conv2d():
            return torch.nn.Conv2d(shape[0], layer.out_channels, **window)
        case lt.MaxPool2d():
            return torch.nn.MaxPool2d(**window)
        case lt.AvgPool2d():
            return torch.nn.AvgPool2d(**window, count_include_pad=layer.count_include_pad)
        case lt.GlobalAvgPool2d():
            return torch.nn.AdaptiveAvgPool2d(1)
        case lt.BatchNorm2d():
            return torch.nn.BatchNorm2d(shape[0])
        case lt.ReLU():
            return torch.nn.ReLU()
        case lt.LeakyReLU():
            return torch.nn.LeakyReLU(layer.negative_slope)
        case lt.PReLU():
            return torch.nn.PReLU(shape[0] if layer.all_channels else 1)
        case lt.Dropout2d():
            return torch.nn.Dropout2d(layer.p)
        case lt.Dropout():
            return torch.nn.Dropout(layer.p)
        case lt.Flatten():
            return torch.nn.Flatten()
        case lt.Linear():
            return torch.nn.Linear(shape[0], layer.out_features)
    raise NotImplementedError(layer)


def torch_network(template):
    """The PyTorch network of a template."""
    inputs = (template.in_shape, *template.shapes)
    return torch.nn.Sequential(*map(torch_layer, template.layers, inputs[:-1]))


def copy_weights(template, module: nnx.Sequential, network: torch.nn.Sequential):
    """Writes the Flax module's weights into the PyTorch network."""
    inputs = (template.in_shape, *template.shapes)
    flattened = None  # the map that Flatten laid out, until a Linear has taken it
    for ours, theirs, shape in zip(module.layers, network, inputs[:-1], strict=True):
        match ours:
            case modules.Conv2d():
                _copy(theirs.weight, np.asarray(ours.kernel[...]).transpose(3, 2, 0, 1))
                _copy(theirs.bias, ours.bias[...])
            case modules.Linear():
                kernel = np.asarray(ours.kernel[...])
                if flattened:
                    channels, height, width = flattened
                    kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
                    kernel = kernel.reshape(channels * height * width, -1)
                flattened = None
                _copy(theirs.weight, kernel.T)
                _copy(theirs.bias, ours.bias[...])
            case modules.BatchNorm2d():
                _copy(theirs.weight, ours.scale[...])
                _copy(theirs.bias, ours.bias[...])
            case modules.PReLU():
                _copy(theirs.weight, ours.slope[...])
            case modules.Flatten():
                flattened = shape


def _copy(parameter, value):
    value = torch.tensor(np.array(value))
    assert parameter.shape == value.shape
    with torch.no_grad():
        parameter.copy_(value)
