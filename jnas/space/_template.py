"""A whole architecture: a sequence of layer templates for one input shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from jnas._validation import to_instance, to_int, to_text, to_tuple
from jnas.errors import JnasError
from jnas.space._drawing import draw_template
from jnas.space._encoding import layers_from_hash, layers_to_vectors
from jnas.space._layers import MAX_CLASSES, Cost, LayerTemplate, Linear, Shape, check_in_shape

if TYPE_CHECKING:
    from flax import nnx


@dataclass(frozen=True, repr=False)
class Template:
    """An architecture without weights.

    The last layer is the `Linear` classifier, with one feature per class; `in_shape` is `(C, H, W)` of one image.
    `str()` prints one layer per line with its output shape, `repr()` prints the same on one line.

    Raises:
      JnasError: if the layers do not fit one another; the sentence names the layer and the shape of its input.

    Example:
      >>> from jnas.space import Conv2d, Flatten, Linear, PReLU
      >>> print(Template((Conv2d(8, 5, 3, padding=False), PReLU(), Flatten(), Linear(10))))
      Conv2d (8, 10, 10) (5, 5) (3, 3)
      PReLU (8, 10, 10)
      Flatten 800
      Linear 10
    """

    layers: tuple[LayerTemplate, ...]
    in_shape: tuple[int, int, int] = (3, 32, 32)

    def __init__(self, layers: Sequence[LayerTemplate], in_shape: Sequence[int] = (3, 32, 32)):
        layers = to_tuple("layers", layers, "a sequence of layer templates", hint="Template.from_hash takes a hash")
        layers = tuple(to_instance("Each of layers", layer, LayerTemplate) for layer in layers)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "in_shape", check_in_shape(in_shape))
        if not self.layers or not isinstance(self.layers[-1], Linear):
            last = type(self.layers[-1]).__name__ if self.layers else "no layer"
            raise JnasError(f"layers must end with the Linear classifier, got {last}; append Linear(classes).")
        self.shapes  # noqa: B018  the property raises if the layers do not fit

    @classmethod
    def from_hash(cls, arch_hash: str, in_shape: Sequence[int] = (3, 32, 32), classes: int = 10) -> Template:
        """Returns the template of a hash; raises a `JnasError` if it is none, or its layers do not fit `in_shape`."""
        layers = layers_from_hash(to_text("hash", arch_hash, "copy it as Template.hash prints it"))
        return cls((*layers, Linear(to_int("classes", classes, 1, MAX_CLASSES))), in_shape)

    @property
    def classes(self) -> int:
        """Number of classes: the width of the last layer."""
        return self.shapes[-1][0]

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The output shape of each layer: `(C, H, W)` or `(N,)`."""
        shape, shapes = self.in_shape, []
        for position, layer in enumerate(self.layers, start=1):
            name = f"layer {position} ({type(layer).__name__})"
            if layer.input_rank not in (None, len(shape)):
                needed, remedy = ("a map", "put it before") if layer.input_rank == 3 else ("a vector", "put it after")
                raise JnasError(f"The input of {name} must be {needed}, got {shape}; {remedy} Flatten.")
            out_shape = layer.out_shape(shape)
            if min(out_shape) < 1:
                raise JnasError(
                    f"The output of {name} with window and stride {layer.summary()} must have a pixel, got {out_shape} "
                    f"from {shape}; use a smaller window or stride, padding, or larger images."
                )
            shape = out_shape
            shapes.append(shape)
        return tuple(shapes)

    @functools.cached_property
    def cost(self) -> Cost:
        """Parameters, MACs and FLOPs for one image, the last Linear included."""
        inputs = (self.in_shape, *self.shapes[:-1])
        return sum((layer.cost(shape) for layer, shape in zip(self.layers, inputs, strict=True)), Cost())

    @functools.cached_property
    def vectors(self) -> UInt8[np.ndarray, "t 32"]:
        """A 32-bit vector for each layer but the last Linear, which the class count implies."""
        return layers_to_vectors(self.layers[:-1])

    @functools.cached_property
    def hash(self) -> str:
        """The bits of `vectors` as 8 hex digits per layer: the key of an architecture everywhere in jnas."""
        return np.packbits(self.vectors, axis=-1).tobytes().hex()

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the template as a Flax module; see `jnas.nn.build`."""
        from jnas.nn._build import build  # a convenience that imports a higher layer, so only when it is called

        return build(self, rngs)

    def _repr_svg_(self) -> str:
        """Returns the drawing that a notebook shows."""
        return draw_template(self)

    def _format_layers(self) -> list[str]:
        lines = []
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            size = str(shape[0]) if len(shape) == 1 else str(shape)
            lines.append(" ".join(filter(None, (type(layer).__name__, size, layer.summary()))))
        return lines

    def __str__(self) -> str:
        return "\n".join(self._format_layers())

    def __repr__(self) -> str:
        return " / ".join(self._format_layers())
