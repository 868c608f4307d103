"""Convolution, computed by the algorithm that is fastest for its geometry, pass and platform."""

from jnas.nn.ops.conv._conv2d import conv2d

__all__ = ["conv2d"]
