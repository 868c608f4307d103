"""A trained template for PyTorch: a module as code, and its weights as arrays for safetensors."""

import numpy as np
from flax import nnx

import jnas.space as lt
from jnas.export._arrays import layer_arrays
from jnas.space import Template
from jnas.train import ONE_VIEW, Views

_HEAD = '''"""A small image classifier, found by neural architecture search (jnas), for PyTorch.

Its hash is
{hash}.
It has {params:,} parameters and takes {macs:,} multiply-accumulates per image.

>>> model = load()
>>> predict(model, images)  # [N, {height}, {width}, {channels}] uint8 to [N], the class of each image
>>> logits(model, images)  # [N, {classes}]

The model itself takes pixels `[N, {channels}, {height}, {width}]` from -1 to 1, as `preprocess` returns them.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).resolve().parent / "model.safetensors"
IMAGE_SHAPE = ({height}, {width}, {channels})
CLASS_NAMES = {class_names!r}  # None if they are not known


def build() -> nn.Sequential:
    """Returns the network with initial weights, from `[N, {channels}, {height}, {width}]` to `[N, {classes}]`."""
    return nn.Sequential(
{layers}
    )


def load(weights: Path = WEIGHTS) -> nn.Sequential:
    """Returns the trained network, in evaluation mode."""
    model = build()
    model.load_state_dict(load_file(weights))
    return model.eval()


def preprocess(images) -> Tensor:
    """Returns pixels from 0 to 255 as floats from -1 to 1, as in training, channels first."""
    images = torch.as_tensor(images)
{grey}    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != IMAGE_SHAPE:
        got = f"{{images.dtype}} of shape {{tuple(images.shape)}}"
        raise ValueError(f"images must be uint8, from 0 to 255, of shape [N, *{{IMAGE_SHAPE}}], got {{got}}.")
    return images.permute(0, 3, 1, 2).float() * (2 / 255) - 1


{logits}


def predict(model: nn.Module, images) -> Tensor:
    """Returns the class of each image: `[N, {height}, {width}, {channels}]` uint8 to `[N]`."""
    return logits(model, images).argmax(-1)
'''

_LOGITS = '''@torch.inference_mode()
def logits(model: nn.Module, images) -> Tensor:
    """Returns the logits of images: `[N, {height}, {width}, {channels}]` uint8 to `[N, {classes}]`{mean}."""
    pixels = preprocess(images)
    return {mean_logits}'''
_MIRRORED = '''


def mirrored(model: nn.Module, pixels: Tensor) -> Tensor:
    """Returns the mean of the logits of images and of their mirror images."""
    return (model(pixels) + model(pixels.flip(3))) / 2'''
_MOVED = '''


def moved(model: nn.Module, pixels: Tensor) -> Tensor:
    """Returns mean logits; images moved {shift} px up and left, and down and right, count half as much as in place."""
    both = [{elsewhere} for shift in (-{shift}, {shift})]
    return {in_place} / 2 + sum(both) / 4


def translate(pixels: Tensor, shift: int) -> Tensor:
    """Returns images moved down and right by so many pixels; borders are reflected."""
    rows, columns = (reflect(torch.arange(size) - shift, size) for size in pixels.shape[2:])
    return pixels[:, :, rows][:, :, :, columns]


def reflect(index: Tensor, size: int) -> Tensor:
    """Returns indices with those outside of [0, size - 1] reflected at the border, which is not repeated."""
    last = max(size - 1, 1)
    return (last - (last - index.abs()).abs()).clamp(0, size - 1)'''


def generate_torch_code(template: Template, views: Views = ONE_VIEW, class_names: tuple[str, ...] | None = None) -> str:
    """Returns the text of `model_torch.py`: one line per layer, and `load()`, which reads the weights beside the file.

    It needs PyTorch and safetensors. Logits are averaged over the recipe's `views`.
    """
    inputs = (template.in_shape, *template.shapes)
    lines = [
        f"        {_call(layer, shape)},  # [{', '.join(map(str, ('N', *out)))}]"
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
    ]
    channels, height, width = template.in_shape
    values = {"height": height, "width": width, "channels": channels, "classes": template.classes}
    values |= {"params": template.cost.params, "macs": template.cost.macs, "hash": template.hash}
    grey = "    images = images.unsqueeze(3) if images.ndim == 3 else images\n" if channels == 1 else ""
    return _HEAD.format(
        **values, grey=grey, class_names=class_names, layers="\n".join(lines), logits=_logits_code(views, values)
    )


def _logits_code(views: Views, values: dict) -> str:
    """Returns the functions that compute logits."""
    one = "mirrored(model, {})" if views.flip else "model({})"
    functions = _MIRRORED * views.flip
    if views.shift:
        elsewhere = one.format("translate(pixels, shift)")
        functions += _MOVED.format(shift=views.shift, in_place=one.format("pixels"), elsewhere=elsewhere)
    mean = ", means over views" if views.count > 1 else ""
    mean_logits = "moved(model, pixels)" if views.shift else one.format("pixels")
    return _LOGITS.format(**values, mean=mean, mean_logits=mean_logits) + functions


def _call(layer: lt.LayerTemplate, shape: lt.Shape) -> str:
    """Returns the expression of a layer for an input shape."""
    size = shape[0]
    window = ""
    if isinstance(layer, lt.WindowedLayer):
        window = f"{layer.kernel_size}, stride={layer.stride}, padding={layer.pad}"
    match layer:
        case lt.Conv2d(out_channels=outs):
            return f"nn.Conv2d({size}, {outs}, {window})"
        case lt.MaxPool2d():
            return f"nn.MaxPool2d({window})"
        case lt.AvgPool2d(count_include_pad=count_include_pad):
            return f"nn.AvgPool2d({window}, count_include_pad={count_include_pad})"
        case lt.GlobalAvgPool2d():
            return "nn.AdaptiveAvgPool2d(1)"
        case lt.BatchNorm2d():
            return f"nn.BatchNorm2d({size})"
        case lt.ReLU():
            return "nn.ReLU()"
        case lt.LeakyReLU(negative_slope=slope):
            return f"nn.LeakyReLU({slope})"
        case lt.PReLU(all_channels=each):
            return f"nn.PReLU({size if each else 1})"
        case lt.Dropout2d(p=p):
            return f"nn.Dropout2d({p})"
        case lt.Dropout(p=p):
            return f"nn.Dropout({p})"
        case lt.Flatten():
            return "nn.Flatten()"
        case lt.Linear(out_features=outs):
            return f"nn.Linear({size}, {outs})"
    raise NotImplementedError(f"no PyTorch code for {layer}")


def torch_weights(template: Template, module: nnx.Sequential) -> dict[str, np.ndarray]:
    """Returns the state of the PyTorch network, by its names such as "0.weight"."""
    state = {}
    for number, arrays in enumerate(layer_arrays(template, module)):
        state |= {f"{number}.{name}": values for name, values in arrays.items()}
        if "running_mean" in arrays:
            state[f"{number}.num_batches_tracked"] = np.array(0, np.int64)
    return state
