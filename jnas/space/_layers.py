"""The twelve layer templates: parameters, ranges, shape rules and costs.

A layer template is a layer without weights. Shapes are written as PyTorch writes them, `(C, H, W)` for a map and
`(N,)` for a vector, never with a batch dimension. The parameter ranges are those of Sophius, and so is the order of
the types: both define the bits of the 32-bit vector (see `vectors`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jnas.errors import JnasError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What a layer or template costs for one image: `params` (learnable), `macs` and `flops`.

    `macs` are the multiply-accumulates of Conv2d and Linear. `flops` are 2 per MAC, 1 per Conv2d output element
    (the bias), 2 per BatchNorm2d element, 1 per activation element and 1 per *input* element of every pooling; the
    bias of Linear, Dropout and Flatten count nothing. This is the accounting of Sophius' table of runs.
    """

    params: int = 0
    macs: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs, self.flops + other.flops)


def _choice(values: tuple, default: Any) -> Any:
    """A dataclass field that may take one of `values`; their order is the order of their bits."""
    return field(default=default, metadata={"values": values})


@dataclass(frozen=True)
class LayerTemplate:
    """One layer with its parameters and ranges, and no weights."""

    spatial: ClassVar[bool | None] = None
    """True: takes maps only; False: takes vectors only; None: takes both."""

    def __post_init__(self) -> None:
        for name, values in self.ranges():
            value = getattr(self, name)
            if isinstance(value, tuple) and len(set(value)) == 1 and len(value) == 2:
                value = value[0]  # (3, 3), as PyTorch users write square windows
            if value not in values or isinstance(value, bool) != isinstance(values[0], bool):
                allowed = ", ".join(map(str, values))
                raise JnasError(f"{type(self).__name__} {name}={value!r} is not in the space: choose one of {allowed}.")
            object.__setattr__(self, name, values[values.index(value)])

    @classmethod
    def ranges(cls) -> Iterator[tuple[str, tuple]]:
        """Each parameter's name and its values, in the order of the bits."""
        for f in dataclasses.fields(cls):
            yield f.name, f.metadata["values"]

    def out_shape(self, shape: Shape) -> Shape:
        """The output shape for an input of `shape`; dimensions may come out as zero or less."""
        return shape

    def cost(self, shape: Shape) -> Cost:
        """What the layer costs on an input of `shape`."""
        return Cost()

    def details(self) -> str:
        """The parameters worth printing beside the output shape, or an empty string."""
        return ""


@dataclass(frozen=True)
class Linear(LayerTemplate):
    """Fully connected layer. The last one of a template has as many features as there are classes."""

    spatial: ClassVar[bool | None] = False
    out_features: int = _choice((32, 64, 128, 256, 512, 1024, 2048, 4096), 32)

    def __post_init__(self) -> None:
        # The classifier's width is the class count, which is no gene: any positive number is a Linear.
        if isinstance(self.out_features, bool) or not isinstance(self.out_features, int) or self.out_features < 1:
            raise JnasError(f"Linear out_features={self.out_features!r} is not a positive whole number.")

    def out_shape(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def cost(self, shape: Shape) -> Cost:
        macs = shape[0] * self.out_features
        return Cost(params=macs + self.out_features, macs=macs, flops=2 * macs)


@dataclass(frozen=True)
class BatchNorm2d(LayerTemplate):
    """Batch normalisation over the channels of a map."""

    spatial: ClassVar[bool | None] = True

    def cost(self, shape: Shape) -> Cost:
        return Cost(params=2 * shape[0], flops=2 * math.prod(shape))


@dataclass(frozen=True)
class Activation(LayerTemplate):
    """What the three activations share: `x` where positive, `slope * x` elsewhere."""

    def cost(self, shape: Shape) -> Cost:
        return Cost(flops=math.prod(shape))


@dataclass(frozen=True)
class ReLU(Activation):
    """Slope 0."""


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """A constant slope."""

    negative_slope: float = _choice((0.1, 0.01, 0.001), 0.01)

    def details(self) -> str:
        return f"({self.negative_slope})"


@dataclass(frozen=True)
class PReLU(Activation):
    """A learned slope, one for all (`all_channels=False`) or one a channel, from 0.25."""

    all_channels: bool = _choice((True, False), False)

    def cost(self, shape: Shape) -> Cost:
        return super().cost(shape) + Cost(params=shape[0] if self.all_channels else 1)


@dataclass(frozen=True)
class Dropout(LayerTemplate):
    """Zeroes single elements with probability `p` while training."""

    p: float = _choice(tuple(round(0.05 * i, 2) for i in range(1, 20)), 0.5)

    def details(self) -> str:
        return f"({self.p})"


@dataclass(frozen=True)
class Dropout2d(Dropout):
    """Zeroes whole channels with probability `p` while training."""

    spatial: ClassVar[bool | None] = True


@dataclass(frozen=True)
class Flatten(LayerTemplate):
    """A map as a vector."""

    spatial: ClassVar[bool | None] = True

    def out_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True)
class Window(LayerTemplate):
    """What Conv2d and the poolings share: a square window, its stride, and padding by `kernel_size // 2` or none."""

    spatial: ClassVar[bool | None] = True

    @property
    def pad(self) -> int:
        """Pixels of padding on each side."""
        return self.kernel_size // 2 if self.padding else 0

    def out_shape(self, shape: Shape) -> Shape:
        channels, *sides = shape
        return (channels, *((n + 2 * self.pad - self.kernel_size) // self.stride + 1 for n in sides))

    def details(self) -> str:
        return f"({self.kernel_size}, {self.kernel_size}) ({self.stride}, {self.stride})"

    def cost(self, shape: Shape) -> Cost:
        return Cost(flops=math.prod(shape))  # of a pooling; Conv2d has its own


@dataclass(frozen=True)
class Conv2d(Window):
    """Convolution with a bias."""

    out_channels: int = _choice((8, 16, 32, 64, 96, 128, 192), 32)
    kernel_size: int = _choice((1, 2, 3, 4, 5, 6, 7), 3)
    stride: int = _choice((1, 2, 3, 4), 1)
    padding: bool = _choice((True, False), True)

    def out_shape(self, shape: Shape) -> Shape:
        return (self.out_channels, *super().out_shape(shape)[1:])

    def cost(self, shape: Shape) -> Cost:
        weights = self.out_channels * shape[0] * self.kernel_size**2
        _, height, width = self.out_shape(shape)
        macs = weights * height * width
        return Cost(weights + self.out_channels, macs, 2 * macs + self.out_channels * height * width)


@dataclass(frozen=True)
class MaxPool2d(Window):
    """Maximum over a window; padding counts as minus infinity."""

    kernel_size: int = _choice((2, 3, 4), 2)
    stride: int = _choice((1, 2, 3), 2)
    padding: bool = _choice((True, False), False)


@dataclass(frozen=True)
class AvgPool2d(Window):
    """Mean over a window, with the padding's zeros counted in the divisor (`count_include_pad`) or not."""

    kernel_size: int = _choice((2, 3, 4), 2)
    stride: int = _choice((1, 2), 2)
    padding: bool = _choice((True, False), False)
    count_include_pad: bool = _choice((True, False), True)


@dataclass(frozen=True)
class GlobalAvgPool2d(LayerTemplate):
    """Mean over the whole map, which stays as one pixel."""

    spatial: ClassVar[bool | None] = True

    def out_shape(self, shape: Shape) -> Shape:
        return (shape[0], 1, 1)

    def cost(self, shape: Shape) -> Cost:
        return Cost(flops=math.prod(shape))


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
"""The types in the order of their bits."""
