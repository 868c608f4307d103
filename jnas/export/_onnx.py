"""A trained template as an ONNX model, layer by layer: the numerics of PyTorch, which jnas has, are those of ONNX."""

import json
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx
from flax import nnx
from jaxtyping import UInt8
from onnx import TensorProto, helper, numpy_helper

import jnas.space as lt
from jnas.data import normalise
from jnas.errors import JnasError
from jnas.export._arrays import LayerArrays, layer_arrays
from jnas.export._forms import InputKind
from jnas.space import Template
from jnas.train import ONE_VIEW, Views

OPSET, IR_VERSION = 17, 8
"""Old enough for runtimes of 2022, onnxruntime 1.12 and later; no newer operation is needed."""
IMAGES, LOGITS = "images", "logits"
_MOST_BYTES = (1 << 31) - 1
"""Of a protocol buffer, which an ONNX file is."""


@dataclass
class _Graph:
    """Nodes and constants in the order in which they are added."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operation: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node, and returns the name of its output, which is also its own."""
        self.nodes.append(helper.make_node(operation, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Adds an array, and returns its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name


def onnx_model(
    template: Template,
    module: nnx.Sequential,
    *,
    views: Views = ONE_VIEW,
    input_kind: InputKind = "uint8",
    metadata: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """Returns a model from any number of `images` to their `logits`, `[N, classes]`.

    Images are `[N, H, W, C]` uint8, which the model normalises, or, for the kind "float32", `[N, C, H, W]` from -1 to
    1. With several `views` of an image logits are averaged over them. Values of `metadata` are written as JSON, text as
    it is.

    Raises:
      JnasError: if the model is larger than the 2 GiB that a file may have.
    """
    if 4 * template.cost.params > _MOST_BYTES:
        got = f"{template.cost.params:,}"
        raise JnasError(
            f"A template must have at most 536,870,911 parameters for ONNX, got {got}; name other forms with --format."
        )
    graph, (channels, height, width) = _Graph(), template.in_shape
    if input_kind == "uint8":
        images = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["n", height, width, channels])
        pixels = _add_normalise(graph)
    else:
        images = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, ["n", channels, height, width])
        pixels = IMAGES
    if views.count > 1:
        pixels = _add_views(graph, pixels, views, template.in_shape)
    output = _add_layers(graph, pixels, template, module)
    if views.count > 1:
        output = _add_mean(graph, output, views, template.classes)
    graph.add("Identity", LOGITS, output)
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["n", template.classes])
    proto = helper.make_graph(graph.nodes, "jnas", [images], [logits], graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(proto, producer_name="jnas", opset_imports=opset, ir_version=IR_VERSION)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (metadata or {}).items()}
    helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    return model


def to_input(images: UInt8[np.ndarray, "n h w c"], kind: InputKind) -> np.ndarray:
    """Returns images as the model takes them."""
    return images if kind == "uint8" else np.asarray(normalise(jnp.asarray(images))).transpose(0, 3, 1, 2)


def _add_normalise(graph: _Graph) -> str:
    """Adds `jnas.data.normalise`, and the axes of maps."""
    floats = graph.add("Cast", "input/cast", IMAGES, to=TensorProto.FLOAT)
    scaled = graph.add("Mul", "input/mul", floats, graph.constant("input/scale", np.float32(2 / 255)))
    shifted = graph.add("Sub", "input/sub", scaled, graph.constant("input/one", np.float32(1)))
    return graph.add("Transpose", "input/transpose", shifted, perm=[0, 3, 1, 2])


def _add_views(graph: _Graph, pixels: str, views: Views, in_shape: tuple[int, int, int]) -> str:
    """Adds all views of each image, one behind the other in the batch, as gathers of rows and columns."""
    _, height, width = in_shape
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)[
        None
    ]  # each pixel's own row and column
    gathered = []
    for number, view in enumerate(np.asarray(one) for one in views.of(jnp.asarray(places, jnp.float32))):
        rows = graph.constant(f"view{number}/rows", view[0, :, 0, 0], np.int64)
        columns = graph.constant(f"view{number}/columns", view[0, 0, :, 1], np.int64)
        moved = graph.add("Gather", f"view{number}/vertical", pixels, rows, axis=2)
        gathered.append(graph.add("Gather", f"view{number}/horizontal", moved, columns, axis=3))
    return graph.add("Concat", "views", *gathered, axis=0)


def _add_mean(graph: _Graph, output: str, views: Views, classes: int) -> str:
    """Adds the weighted mean of the logits of the views."""
    weights = np.asarray(views.mean(list(jnp.eye(views.count))))
    shape = graph.constant("views/shape", [views.count, -1, classes], np.int64)
    each = graph.add("Reshape", "views/reshape", output, shape)
    weighted = graph.add("Mul", "views/mul", each, graph.constant("views/weights", weights.reshape(-1, 1, 1)))
    return graph.add("ReduceSum", "views/sum", weighted, graph.constant("views/axis", [0], np.int64), keepdims=0)


def _add_layers(graph: _Graph, output: str, template: Template, module: nnx.Sequential) -> str:
    inputs = (template.in_shape, *template.shapes)
    for number, (layer, shape, arrays) in enumerate(
        zip(template.layers, inputs, layer_arrays(template, module), strict=False)
    ):
        output = _add_layer(graph, f"layer{number}/{type(layer).__name__}", output, layer, shape, arrays)
    return output


def _add_layer(
    graph: _Graph, name: str, source: str, layer: lt.LayerTemplate, shape: lt.Shape, arrays: LayerArrays
) -> str:
    """Adds one layer for an input of `shape`, and returns the name of its output."""
    if isinstance(layer, lt.PReLU):  # one slope, or one a channel of a map or a feature of a vector
        arrays = {"weight": arrays["weight"].reshape(-1, *(1,) * (len(shape) - 1))}
    constants = [graph.constant(f"{name}/{key}", values) for key, values in arrays.items()]
    window: dict[str, Any] = {}
    if isinstance(layer, lt.WindowedLayer):
        window = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2, "pads": [layer.pad] * 4}
    match layer:
        case lt.Conv2d():
            return graph.add("Conv", name, source, *constants, **window)
        case lt.MaxPool2d():
            return graph.add("MaxPool", name, source, **window)
        case lt.AvgPool2d():
            return graph.add("AveragePool", name, source, **window, count_include_pad=int(layer.count_include_pad))
        case lt.GlobalAvgPool2d():
            return graph.add("GlobalAveragePool", name, source)
        case lt.BatchNorm2d():
            return graph.add("BatchNormalization", name, source, *constants, epsilon=1e-5)
        case lt.ReLU():
            return graph.add("Relu", name, source)
        case lt.LeakyReLU():
            return graph.add("LeakyRelu", name, source, alpha=layer.negative_slope)
        case lt.PReLU():
            return graph.add("PRelu", name, source, *constants)
        case lt.Dropout():  # Dropout2d, too: nothing is dropped where a network is used
            return source
        case lt.Flatten():
            return graph.add("Flatten", name, source)
        case lt.Linear():
            return graph.add("Gemm", name, source, *constants, transB=1)
    raise NotImplementedError(f"no ONNX for {layer}")
