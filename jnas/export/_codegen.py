"""A template as Python code that needs Flax and Orbax, and as a StableHLO program that needs JAX; none needs jnas."""

import inspect
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from jax import export

import jnas.space as lt
from jnas.data import check_images
from jnas.space import Template
from jnas.train import ONE_VIEW, Views

PLATFORMS = ("cpu", "cuda")  # of the StableHLO program

_HEAD = '''"""A small image classifier, found by neural architecture search (jnas).

Its hash is
{hash}.
It has {params:,} parameters and takes {macs:,} multiply-accumulates per image.

>>> model = load()
>>> predict(model, images)  # [N, {height}, {width}, {channels}] uint8 to [N], the class of each image
>>> logits(model, images)  # [N, {classes}]

Images of another type or shape are a ValueError that says what to do.
"""

{imports}

WEIGHTS = Path(__file__).resolve().parent / "weights" / "arrays"
IMAGE_SHAPE = ({height}, {width}, {channels})

'''

_BUILD = '''
def build(rngs: nnx.Rngs) -> nnx.Sequential:
    """Returns the network with initial weights, from `[N, {height}, {width}, {channels}]` to `[N, {classes}]`."""
    return nnx.Sequential(
{layers}
    )


def load(weights: Path = WEIGHTS) -> nnx.Sequential:
    """Returns the trained network, in evaluation mode."""
    state = nnx.state(nnx.eval_shape(lambda: build(nnx.Rngs(0))), nnx.Any(nnx.Param, nnx.BatchStat))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), nnx.to_pure_dict(state)
    )
    with ocp.StandardCheckpointer() as checkpointer:
        nnx.replace_by_pure_dict(state, checkpointer.restore(weights, target))

    @nnx.jit  # initial weights are not computed
    def with_weights(state: nnx.State) -> nnx.Sequential:
        model = build(nnx.Rngs(0))
        nnx.update(model, state)
        model.eval()
        return model

    return with_weights(state)


def preprocess(images: jax.Array) -> jax.Array:
    """Returns pixels from 0 to 255 as floats from -1 to 1, as in training."""
    return jnp.asarray(check_images(images, IMAGE_SHAPE)).astype(jnp.float32) * (2 / 255) - 1


{logits}

def predict(model: nnx.Module, images: jax.Array) -> jax.Array:
    """Returns the class of each image: `[N, {height}, {width}, {channels}]` uint8 to `[N]` int32."""
    return _compiled_predict(model, check_images(images, IMAGE_SHAPE))


@nnx.jit
def _compiled_predict(model: nnx.Module, images: jax.Array) -> jax.Array:
    return logits(model, images).argmax(-1)


{check}'''

_LOGITS = '''def logits(model: nnx.Module, images: jax.Array) -> jax.Array:
    """Returns the logits of images: `[N, {height}, {width}, {channels}]` uint8 to `[N, {classes}]`{mean}."""
    pixels = preprocess(images)
    return {mean_logits}
{functions}'''
_MIRRORED = '''

def mirrored(model: nnx.Module, pixels: jax.Array) -> jax.Array:
    """Returns the mean of the logits of images and of their mirror images."""
    return (model(pixels) + model(pixels[:, :, ::-1])) / 2
'''
_MOVED = '''

def moved(model: Callable, pixels: jax.Array) -> jax.Array:
    """Returns mean logits; images moved {shift} px up and left, and down and right, count half as much as in place."""
    borders = (({shift}, {shift}), ({shift}, {shift}), (0, 0))
    padded = jax.vmap(lambda image: jnp.pad(image, borders, mode="reflect"))(pixels)
    return model(pixels) / 2 + (model(padded[:, {size}:, {size}:]) + model(padded[:, :-{size}, :-{size}])) / 4
'''

_HELPERS = {
    "PReLU(": '''
class PReLU(nnx.Module):
    """`x` where it is positive, `slope * x` elsewhere, with one learned slope or one per channel."""

    def __init__(self, slopes: int):
        self.slope = nnx.Param(jnp.full(slopes, 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, x, self.slope[...] * x)

''',
    "max_pool(": '''
def max_pool(window: int, stride: int, pad: int) -> Callable:
    """Returns max pooling; the padding is minus infinity."""
    return partial(nnx.max_pool, window_shape=(window,) * 2, strides=(stride,) * 2, padding=((pad, pad),) * 2)

''',
    "avg_pool(": '''
def avg_pool(window: int, stride: int, pad: int, count_include_pad: bool) -> Callable:
    """Returns average pooling; the divisor counts zeros of the padding if `count_include_pad`."""
    sizes = {"window_shape": (window,) * 2, "strides": (stride,) * 2, "padding": ((pad, pad),) * 2}
    return partial(nnx.avg_pool, **sizes, count_include_pad=count_include_pad)

''',
    "global_avg_pool,": '''
def global_avg_pool(x: jax.Array) -> jax.Array:
    """Returns the mean of each map: `[N, H, W, C]` to `[N, 1, 1, C]`."""
    return x.mean((1, 2), keepdims=True)

''',
    "flatten,": '''
def flatten(x: jax.Array) -> jax.Array:
    """Returns maps as vectors: `[N, H, W, C]` to `[N, H W C]`."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))

''',
}
"""The code that a layer needs in addition to Flax, by how the layer's line begins."""


def generate_code(template: Template, views: Views = ONE_VIEW) -> str:
    """Returns the text of `model.py`: one line per layer, and `load()`, which reads the weights beside the file.

    It builds a `nnx.Sequential` whose variables have the names of those of `Template.build`, so both read the same
    checkpoint. `views` are those of the recipe, over which logits are averaged.
    """
    inputs = (template.in_shape, *template.shapes)
    lines = [
        f"        {_call(layer, shape)},  # {_axes(out)}"
        for layer, shape, out in zip(template.layers, inputs, template.shapes, strict=False)
    ]
    calls = [line.strip() for line in lines]
    helpers = [text for start, text in _HELPERS.items() if any(call.startswith(start) for call in calls)]
    channels, height, width = template.in_shape
    values = {"height": height, "width": width, "channels": channels, "classes": template.classes}
    values |= {"params": template.cost.params, "macs": template.cost.macs, "hash": template.hash}
    logits = _logits_code(views).format(**values)
    # The same check as jnas', which the code does not import.
    check = (
        inspect.getsource(sys.modules[check_images.__module__])
        .partition("\n\n\n")[2]
        .replace("JnasError", "ValueError")
    )
    body = "".join((*helpers, _BUILD.format(**values, layers="\n".join(lines), logits=logits, check=check)))
    return _HEAD.format(**values, imports=_imports(body)) + body


def _logits_code(views: Views) -> str:
    """Returns the functions that compute logits, with the places of sizes left open."""
    one = "partial(mirrored, model)" if views.flip else "model"
    in_place = "mirrored(model, pixels)" if views.flip else "model(pixels)"
    mean_logits = f"moved({one}, pixels)" if views.shift else in_place
    functions = _MIRRORED * views.flip + (_MOVED.format(shift=views.shift, size=2 * views.shift) if views.shift else "")
    mean = ", means over views" if views.count > 1 else ""
    return _LOGITS.replace("{mean}", mean).replace("{mean_logits}", mean_logits).replace("{functions}", functions)


def _imports(body: str) -> str:
    """Returns the imports that the code needs."""
    standard = ["import math"] * ("math." in body)
    standard += ["from collections.abc import Callable"] * ("Callable" in body)
    standard += ["from functools import partial"] * ("partial(" in body) + [
        "from pathlib import Path",
        "from typing import Any",
    ]
    others = ["import jax", "import jax.numpy as jnp", "import numpy as np", "import orbax.checkpoint as ocp"]
    others += ["from flax import nnx"]
    return "\n".join([*standard, "", *others])


def _axes(shape: lt.Shape) -> str:
    """Returns the shape of a batch in Flax' order, channels last."""
    return f"[{', '.join(map(str, ('N', *shape[1:], shape[0])))}]"


def _call(layer: lt.LayerTemplate, shape: lt.Shape) -> str:
    """Returns the expression of a layer for an input shape."""
    channels = shape[0]
    match layer:
        case lt.Conv2d(out_channels=outs, kernel_size=k, stride=stride):
            return f"nnx.Conv({channels}, {outs}, ({k}, {k}), strides={stride}, padding={layer.pad}, rngs=rngs)"
        case lt.MaxPool2d(kernel_size=k, stride=stride):
            return f"max_pool({k}, stride={stride}, pad={layer.pad})"
        case lt.AvgPool2d(kernel_size=k, stride=stride, count_include_pad=count_include_pad):
            return f"avg_pool({k}, stride={stride}, pad={layer.pad}, count_include_pad={count_include_pad})"
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


def import_from_path(path: Path) -> SimpleNamespace:
    """Returns what a generated `model.py` defines. No bytecode is written beside it."""
    return SimpleNamespace(**runpy.run_path(str(path), run_name="exported_model"))


def generate_stablehlo(model_file: Path, in_shape: tuple[int, int, int]) -> bytes:
    """Returns a program from any number of images, `[N, H, W, C]` uint8, to their logits, `[N, classes]` float32.

    It is made from `model.py` and the weights beside it rather than from jnas' module, whose operations are chosen for
    one device. `jax.export.deserialize` reads it.
    """
    model = import_from_path(model_file)
    network = model.load()
    channels, *sides = in_shape
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), *sides, channels), jnp.uint8)
    program = jax.jit(lambda images: model.logits(network, images))
    return bytes(export.export(program, platforms=PLATFORMS)(images).serialize())
