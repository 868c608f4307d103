"""What is static of a convolution: its sizes."""

from __future__ import annotations

import math
from typing import NamedTuple

from jnas.nn.ops._windows import out_size

_LARGEST_MATRIX = 4_000_000
"""Elements of a matrix that stands for a whole convolution, at most: 16 MB."""


class Geometry(NamedTuple):
    """What is static of a convolution: the input map's sides and channels, the window's side, stride and padding."""

    height: int
    width: int
    channels: int
    out_channels: int
    size: int
    stride: int
    pad: int

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        return tuple(out_size(n, self.size, self.stride, self.pad) for n in (self.height, self.width))

    @property
    def phase_taps(self) -> int:
        """Taps along a side of the window that the pixels of one phase, `stride` apart, meet at most."""
        return -(-self.size // self.stride)

    def suits_dense(self, most: float) -> bool:
        """Whether one matrix for the whole map is small, and takes at most `most` times the windows' arithmetic."""
        pixels, outputs = self.height * self.width, math.prod(self.out)
        small = pixels * self.channels * outputs * self.out_channels <= _LARGEST_MATRIX
        return small and pixels <= most * self.size**2
