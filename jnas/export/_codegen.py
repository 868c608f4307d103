"""A template as Python that needs Flax and Orbax, and no jnas."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import jnas.space as lt
from jnas.space import Template

_HEAD = '''"""A small image classifier, found by neural architecture search (jnas).

Its hash is
{hash}.
It has {params:,} parameters and takes {macs:,} multiply-accumulates an image.

>>> model = load()
>>> predict(model, images)  # [N, {height}, {width}, {channels}] uint8 to [N], the class of each image
>>> logits(model, images)  # [N, {classes}]
"""

{imports}

WEIGHTS = Path(__file__).resolve().parent / "weights" / "arrays"

'''

_BUILD = '''
def build(rngs: nnx.Rngs) -> nnx.Sequential:
    """The network with initial weights, in training mode: `[N, {height}, {width}, {channels}]` to `[N, {classes}]`."""
    return nnx.Sequential(
{layers}
    )


def load(weights: Path = WEIGHTS) -> nnx.Sequential:
    """The trained network, in evaluation mode."""
    model = build(nnx.Rngs(0))
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(weights, nnx.to_pure_dict(state))
    nnx.replace_by_pure_dict(state, arrays)
    nnx.update(model, state)
    model.eval()
    return model


def preprocess(images: jax.Array) -> jax.Array:
    """Pixels 0 to 255 as floats -1 to 1, which is what the network was trained on."""
    return jnp.asarray(images).astype(jnp.float32) * (2 / 255) - 1


{logits}

@nnx.jit
def predict(model: nnx.Module, images: jax.Array) -> jax.Array:
    """The class of each image: `[N, {height}, {width}, {channels}]` uint8 to `[N]` int32."""
    return logits(model, images).argmax(-1)
'''

_LOGITS = '''def logits(model: nnx.Module, images: jax.Array) -> jax.Array:
    """The logits of each image: `[N, {height}, {width}, {channels}]` uint8 to `[N, {classes}]`."""
    return model(preprocess(images))
'''
_MIRRORED_LOGITS = '''def logits(model: nnx.Module, images: jax.Array) -> jax.Array:
    """The mean logits of each image and its mirror: `[N, {height}, {width}, {channels}]` uint8 to `[N, {classes}]`."""
    pixels = preprocess(images)
    return (model(pixels) + model(pixels[:, :, ::-1])) / 2
'''

_HELPERS = {
    "PReLU(": '''
class PReLU(nnx.Module):
    """`x` where positive, a learned `slope * x` elsewhere: one slope for all, or one a channel."""

    def __init__(self, slopes: int):
        self.slope = nnx.Param(jnp.full(slopes, 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.slope[...] * x)

''',
    "max_pool(": '''
def max_pool(window: int, stride: int, pad: int) -> Callable:
    """The maximum of each window; padding is minus infinity."""
    return partial(nnx.max_pool, window_shape=(window,) * 2, strides=(stride,) * 2, padding=((pad, pad),) * 2)

''',
    "avg_pool(": '''
def avg_pool(window: int, stride: int, pad: int, count_include_pad: bool) -> Callable:
    """The mean of each window, the padding's zeros counted in its divisor or not."""
    sizes = {"window_shape": (window,) * 2, "strides": (stride,) * 2, "padding": ((pad, pad),) * 2}
    return partial(nnx.avg_pool, **sizes, count_include_pad=count_include_pad)

''',
    "global_avg_pool,": '''
def global_avg_pool(x: jax.Array) -> jax.Array:
    """The mean of each map: `[N, H, W, C]` to `[N, 1, 1, C]`."""
    return x.mean((1, 2), keepdims=True)

''',
    "flatten,": '''
def flatten(x: jax.Array) -> jax.Array:
    """`[N, H, W, C]` to `[N, H W C]`."""
    return x.reshape(x.shape[0], -1)

''',
}
"""What a layer needs beside Flax, by how its line begins."""


def code(template: Template, mirrored: bool = False) -> str:
    """The text of `model.py`: one layer a line; its `load()` reads the weights beside it.

    `mirrored` is the recipe's `test_flip`: whether logits are means over an image and its mirror image.

    What it builds is a `nnx.Sequential` whose variables are named as those of `Template.build`, so both read the same
    checkpoint. Nothing but numbers and the hash comes from outside.
    """
    inputs = (template.in_shape, *template.shapes)
    lines = [
        f"        {_call(layer, shape)},  # {_axes(out)}"
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
    ]
    calls = [line.strip() for line in lines]
    helpers = [text for begin, text in _HELPERS.items() if any(call.startswith(begin) for call in calls)]
    channels, height, width = template.in_shape
    values = {"height": height, "width": width, "channels": channels, "classes": template.classes}
    values |= {"params": template.cost.params, "macs": template.cost.macs, "hash": template.hash}
    logits = (_MIRRORED_LOGITS if mirrored else _LOGITS).format(**values)
    body = "".join((*helpers, _BUILD.format(**values, layers="\n".join(lines), logits=logits)))
    return _HEAD.format(**values, imports=_imports(body)) + body


def _imports(body: str) -> str:
    """Those that `body` needs."""
    standard = ["from collections.abc import Callable"] * ("Callable" in body)
    standard += ["from functools import partial"] * ("partial(" in body) + ["from pathlib import Path"]
    others = ["import jax", "import jax.numpy as jnp", "import orbax.checkpoint as ocp", "from flax import nnx"]
    return "\n".join([*standard, "", *others])


def _axes(shape: lt.Shape) -> str:
    """A shape as Flax has it, channels last."""
    return f"[{', '.join(map(str, ('N', *shape[1:], shape[0])))}]"


def _call(layer: lt.LayerTemplate, shape: lt.Shape) -> str:
    """The expression of one layer for an input of `shape`."""
    channels = shape[0]
    match layer:
        case lt.Conv2d(out_channels=outs, kernel_size=k, stride=stride):
            return f"nnx.Conv({channels}, {outs}, ({k}, {k}), strides={stride}, padding={layer.pad}, rngs=rngs)"
        case lt.MaxPool2d(kernel_size=k, stride=stride):
            return f"max_pool({k}, stride={stride}, pad={layer.pad})"
        case lt.AvgPool2d(kernel_size=k, stride=stride, count_include_pad=counted):
            return f"avg_pool({k}, stride={stride}, pad={layer.pad}, count_include_pad={counted})"
        case lt.GlobalAvgPool2d():
            return "global_avg_pool"
        case lt.BatchNorm2d():
            return f"nnx.BatchNorm({channels}, momentum=0.9, epsilon=1e-5, rngs=rngs)"
        case lt.ReLU():
            return "nnx.relu"
        case lt.LeakyReLU(negative_slope=slope):
            return f"partial(nnx.leaky_relu, negative_slope={slope})"
        case lt.PReLU(all_channels=each):
            return f"PReLU({channels if each else 1})"
        case lt.Dropout2d(p=p):
            return f"nnx.Dropout({p}, broadcast_dims=(1, 2), rngs=rngs)"
        case lt.Dropout(p=p):
            return f"nnx.Dropout({p}, rngs=rngs)"
        case lt.Flatten():
            return "flatten"
        case lt.Linear(out_features=outs):
            return f"nnx.Linear({channels}, {outs}, rngs=rngs)"
    raise NotImplementedError(f"no code for {layer}")


class _LeavesNothing(SourceFileLoader):
    """Keeps no bytecode beside the file."""

    def set_data(self, *_, **__) -> None:
        pass


def imported(path: Path) -> ModuleType:
    """A `model.py` that `code` wrote, as a module."""
    spec = spec_from_loader("exported_model", _LeavesNothing("exported_model", str(path)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
