"""A whole architecture: a sequence of layer templates over one input shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jnas.errors import JnasError
from jnas.space._encoding import layers_from_hash, layers_to_vectors, vectors_to_hash
from jnas.space._layers import Cost, LayerTemplate, Linear, Shape

if TYPE_CHECKING:
    from flax import nnx


@dataclass(frozen=True)
class Template:
    """An architecture without weights.

    Args:
      layers: the layer templates; the last is the `Linear` classifier, so its width is the class count.
      in_shape: `(C, H, W)` of one image.

    Two templates are equal when their layers and input shapes are. `str()` prints one layer a line with its output
    shape, `repr()` the same on one line.

    Raises:
      JnasError: the layers do not fit one another; the sentence names the layer and the shape that reaches it.

    >>> from jnas.space._layers import Conv2d, Flatten, Linear, PReLU
    >>> print(Template((Conv2d(8, 5, 3, padding=False), PReLU(), Flatten(), Linear(10))))
    Conv2d (8, 10, 10) (5, 5) (3, 3)
    PReLU (8, 10, 10)
    Flatten 800
    Linear 10
    """

    layers: tuple[LayerTemplate, ...]
    in_shape: tuple[int, int, int] = (3, 32, 32)

    def __init__(self, layers: Sequence[LayerTemplate], in_shape: Sequence[int] = (3, 32, 32)):
        object.__setattr__(self, "layers", tuple(layers))
        object.__setattr__(self, "in_shape", tuple(int(n) for n in in_shape))
        if len(self.in_shape) != 3 or min(self.in_shape) < 1:
            raise JnasError(f"in_shape={self.in_shape} is not (channels, height, width) with positive numbers.")
        if not self.layers or not isinstance(self.layers[-1], Linear):
            raise JnasError("A template must end in the Linear layer that tells the classes apart: append Linear(10).")
        self.shapes  # noqa: B018  the property raises where the layers do not fit

    @classmethod
    def from_hash(cls, hash: str, in_shape: Sequence[int] = (3, 32, 32), classes: int = 10) -> Template:
        """The template of `hash`, with a `Linear(classes)` appended.

        Args:
          hash: 8 hex digits a layer, as `Template.hash` gives it.
          in_shape: `(C, H, W)` of one image.
          classes: number of classes.

        Raises:
          JnasError: `hash` is not one, or its layers do not fit `in_shape`.
        """
        return cls((*layers_from_hash(hash), Linear(classes)), in_shape)

    @property
    def classes(self) -> int:
        """Number of classes: the width of the last layer."""
        return self.layers[-1].out_features

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The output shape of each layer: `(C, H, W)` or `(N,)`."""
        shape, shapes = self.in_shape, []
        for position, layer in enumerate(self.layers, start=1):
            name = f"layer {position} ({type(layer).__name__})"
            if layer.spatial is not None and layer.spatial != (len(shape) == 3):
                wanted = "a map, so it must come before Flatten" if layer.spatial else "a vector: put Flatten before it"
                raise JnasError(f"The template does not fit together: {name} gets {shape} but takes {wanted}.")
            following = layer.out_shape(shape)
            if min(following) < 1:
                raise JnasError(
                    f"The template's shape collapses: {name} with window and stride {layer.details()} turns {shape} "
                    f"into {following}; use a smaller window or stride, padding, or larger images."
                )
            shape = following
            shapes.append(shape)
        return tuple(shapes)

    @functools.cached_property
    def cost(self) -> Cost:
        """Parameters, MACs and FLOPs for one image, the last Linear included."""
        inputs = (self.in_shape, *self.shapes)
        return sum((layer.cost(shape) for layer, shape in zip(self.layers, inputs, strict=False)), Cost())

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """`[T, 32]` uint8: a 32-bit vector for each layer but the last Linear, which the class count implies."""
        return layers_to_vectors(self.layers[:-1])

    @functools.cached_property
    def hash(self) -> str:
        """The bits of `vectors` as 8 hex digits a layer: the key of the architecture everywhere."""
        return vectors_to_hash(self.vectors)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The template as a Flax module that takes `[N, H, W, C]` floats and returns `[N, classes]` logits.

        Args:
          rngs: random streams for the initial weights (`params`) and for dropout.
        """
        from jnas.nn._build import build  # the one arrow that points up: a convenience, loaded when asked for

        return build(self, rngs)

    def _lines(self) -> list[str]:
        lines = []
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            size = str(shape[0]) if len(shape) == 1 else str(shape)
            lines.append(" ".join(filter(None, (type(layer).__name__, size, layer.details()))))
        return lines

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return " / ".join(self._lines())
