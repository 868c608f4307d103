"""The twelve layer templates: parameters, shape rules and costs.

Shapes are PyTorch's, without a batch dimension: `(C, H, W)` for a map and `(N,)` for a vector. The parameter values are
those of Sophius, and so is the order of the types: both define the bits of the 32-bit vector (see `_encoding`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jnas._validation import to_choice, to_int, to_tuple

Shape = tuple[int, ...]

MAX_SIDE, MAX_CLASSES = 1 << 14, (1 << 31) - 1
"""Of an image's channels and pixels on a side, and of its classes: what 32 bits count."""


def check_in_shape(in_shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns the shape of one image as a tuple of Python's integers; raises a `JnasError` if it is none."""
    names = "(channels, height, width)"
    channels, height, width = (
        to_int(f"Each of in_shape {names}", n, 1, MAX_SIDE) for n in to_tuple("in_shape", in_shape, names, length=3)
    )
    return channels, height, width


@dataclass(frozen=True)
class Cost:
    """Learnable parameters, multiply-accumulates and FLOPs of a layer or template for one image, as Sophius counts.

    FLOPs are 2 per MAC, 1 per Conv2d output element (the bias), 2 per BatchNorm2d element, 1 per activation element and
    1 per *input* element of every pooling. The bias of Linear, Dropout and Flatten count nothing.
    """

    params: int = 0
    macs: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs, self.flops + other.flops)


def _parameter(values: tuple, default: Any) -> Any:
    """Returns a dataclass field that takes one of `values`; their order is the order of their bits."""
    return field(default=default, metadata={"values": values})


@dataclass(frozen=True)
class LayerTemplate:
    """One layer with its parameters and without weights; a parameter outside the space raises a `JnasError`.

    A square window may be given as PyTorch users write it: `Conv2d(8, (5, 5), (3, 3))`.
    """

    input_rank: ClassVar[int | None] = None
    """3 if the layer takes maps only, 1 if it takes vectors only, None if it takes both."""
    flops_per_input: ClassVar[int] = 0
    """FLOPs for each element of the input, beside those of MACs and biases."""

    def __post_init__(self) -> None:
        for name, values in self.parameter_values().items():
            value = getattr(self, name)
            if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
                value = value[0]
            object.__setattr__(self, name, to_choice(f"{type(self).__name__} {name}", value, values))

    @classmethod
    def parameter_values(cls) -> dict[str, tuple]:
        """Returns the values of each parameter, in the order of the bits."""
        return {f.name: f.metadata["values"] for f in dataclasses.fields(cls)}

    def out_shape(self, shape: Shape) -> Shape:
        """Returns the output shape for an input of `shape`; dimensions may come out as zero or less."""
        return shape

    def cost(self, shape: Shape) -> Cost:
        """Returns the cost of the layer on one input of `shape`."""
        return Cost(flops=self.flops_per_input * math.prod(shape))

    def summary(self) -> str:
        """Returns what is printed after the output shape: slope or rate, window and stride, or nothing."""
        return "".join(f"({value})" for value in vars(self).values() if isinstance(value, float))


@dataclass(frozen=True)
class Linear(LayerTemplate):
    """Fully connected layer with a bias. The last one of a template has one feature per class.

    Any positive `out_features` is a Linear, because the class count is not a gene; only the listed ones have bits.
    """

    input_rank = 1
    out_features: int = _parameter((32, 64, 128, 256, 512, 1024, 2048, 4096), 32)

    def __post_init__(self) -> None:
        value = to_int("Linear out_features", self.out_features, 1, MAX_CLASSES)
        object.__setattr__(self, "out_features", value)

    def out_shape(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def cost(self, shape: Shape) -> Cost:
        macs = shape[0] * self.out_features
        return Cost(params=macs + self.out_features, macs=macs, flops=2 * macs)


@dataclass(frozen=True)
class BatchNorm2d(LayerTemplate):
    """Batch normalisation over the channels of a map."""

    input_rank = 3
    flops_per_input = 2

    def cost(self, shape: Shape) -> Cost:
        return super().cost(shape) + Cost(params=2 * shape[0])


@dataclass(frozen=True)
class Activation(LayerTemplate):
    """Base of the three activations: `x` where positive, `slope * x` elsewhere."""

    flops_per_input = 1


@dataclass(frozen=True)
class ReLU(Activation):
    """Activation of slope 0."""


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Activation of a constant slope."""

    negative_slope: float = _parameter((0.1, 0.01, 0.001), 0.01)


@dataclass(frozen=True)
class PReLU(Activation):
    """Activation of a learned slope, initially 0.25: one per channel (`all_channels=True`) or one for all."""

    all_channels: bool = _parameter((True, False), False)

    def cost(self, shape: Shape) -> Cost:
        return super().cost(shape) + Cost(params=shape[0] if self.all_channels else 1)


@dataclass(frozen=True)
class Dropout(LayerTemplate):
    """Sets single elements to zero with probability `p` during training."""

    p: float = _parameter(tuple(round(0.05 * i, 2) for i in range(1, 20)), 0.5)


@dataclass(frozen=True)
class Dropout2d(Dropout):
    """Sets whole channels to zero with probability `p` during training."""

    input_rank = 3


@dataclass(frozen=True)
class Flatten(LayerTemplate):
    """Turns a map into a vector."""

    input_rank = 3

    def out_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class WindowedLayer(LayerTemplate):
    """Base of Conv2d and the poolings: a square window with a stride, and padding by `kernel_size // 2` or none."""

    input_rank = 3
    flops_per_input = 1
    # Not a dataclass: the subclasses declare these fields, so that they come in the order of their bits.
    kernel_size: int
    stride: int
    padding: bool

    @property
    def pad(self) -> int:
        """Pixels of padding on each side."""
        return self.kernel_size // 2 if self.padding else 0

    def out_shape(self, shape: Shape) -> Shape:
        channels, *sides = shape
        return (channels, *((n + 2 * self.pad - self.kernel_size) // self.stride + 1 for n in sides))

    def summary(self) -> str:
        return f"({self.kernel_size}, {self.kernel_size}) ({self.stride}, {self.stride})"


@dataclass(frozen=True)
class Conv2d(WindowedLayer):
    """Convolution with a bias."""

    flops_per_input = 0
    out_channels: int = _parameter((8, 16, 32, 64, 96, 128, 192), 32)
    kernel_size: int = _parameter((1, 2, 3, 4, 5, 6, 7), 3)
    stride: int = _parameter((1, 2, 3, 4), 1)
    padding: bool = _parameter((True, False), True)

    def out_shape(self, shape: Shape) -> Shape:
        return (self.out_channels, *super().out_shape(shape)[1:])

    def cost(self, shape: Shape) -> Cost:
        weights = self.out_channels * shape[0] * self.kernel_size**2
        _, height, width = self.out_shape(shape)
        macs = weights * height * width
        return Cost(weights + self.out_channels, macs, 2 * macs + self.out_channels * height * width)


@dataclass(frozen=True)
class MaxPool2d(WindowedLayer):
    """Maximum over a window; padding counts as minus infinity."""

    kernel_size: int = _parameter((2, 3, 4), 2)
    stride: int = _parameter((1, 2, 3), 2)
    padding: bool = _parameter((True, False), False)


@dataclass(frozen=True)
class AvgPool2d(WindowedLayer):
    """Mean over a window; `count_include_pad` says whether the padding's zeros count in the divisor."""

    kernel_size: int = _parameter((2, 3, 4), 2)
    stride: int = _parameter((1, 2), 2)
    padding: bool = _parameter((True, False), False)
    count_include_pad: bool = _parameter((True, False), True)


@dataclass(frozen=True)
class GlobalAvgPool2d(LayerTemplate):
    """Mean over each channel of a map; the output is a map of one pixel."""

    input_rank = 3
    flops_per_input = 1

    def out_shape(self, shape: Shape) -> Shape:
        return (shape[0], 1, 1)


LAYER_TYPES: tuple[type[LayerTemplate], ...] = (
    Linear,
    BatchNorm2d,
    ReLU,
    LeakyReLU,
    PReLU,
    Dropout,
    Dropout2d,
    Flatten,
    Conv2d,
    MaxPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
)
"""The layer types in the order of their bits."""
