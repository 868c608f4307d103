"""The static sizes and the arrays of a convolution with a square kernel."""

from typing import NamedTuple

from jaxtyping import Array, Float

from jnas.nn.ops._windows import Pair, num_windows

Maps = Float[Array, "n h w c"]
Kernel = Float[Array, "k k c o"]
OutMaps = Float[Array, "n h_out w_out o"]


class Geometry(NamedTuple):
    """The sizes of a convolution, in pixels and channels."""

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

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """The shape of the kernel."""
        return self.kernel_size, self.kernel_size, self.in_channels, self.out_channels
