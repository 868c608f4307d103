"""The static sizes of a convolution."""

from __future__ import annotations

from typing import NamedTuple

from jnas.nn.ops._windows import Pair, num_windows


class Geometry(NamedTuple):
    """The sizes of a convolution with a square kernel.

    Attributes:
      height: rows of the input map, in pixels.
      width: columns of the input map, in pixels.
      in_channels: channels of the input.
      out_channels: channels of the output.
      kernel_size: side of the kernel, in pixels.
      stride: distance of neighbouring windows, in pixels.
      padding: border of zeros around the input map, in pixels.
    """

    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int

    @property
    def out_size(self) -> Pair:
        """Rows and columns of the output map."""
        rows, columns = (num_windows(n, self.kernel_size, self.stride, self.padding) for n in (self.height, self.width))
        return rows, columns
