"""Networks that people build by hand: what a search begins with, and has to surpass."""

import math

from jnas.errors import JnasError
from jnas.space import _layers as lt
from jnas.space._space import Space
from jnas.space._template import Template

_BLOCKS = {"plain": (1, 1, 1, 1), "deep": (1, 2, 2, 2), "vgg": (2, 2, 2, 2)}
"""Convolutions before each pooling, in chains of three kinds."""
_WIDTHS = ((64, 128, 192, 192), (32, 96, 192, 192), (32, 64, 128, 128), (16, 32, 64, 64), (8, 16, 32, 32))
"""Channels of each block, the largest first."""
_SMALLEST_MAP, _LARGE_MAP = 3, 64
"""Sides in pixels: blocks end before a map would be smaller, and a convolution of a larger map moves by two pixels."""


def known_networks(space: Space) -> list[Template]:
    """Returns textbook chains for the images of a space within its limits, the largest of each kind first.

    They are blocks of padded 3x3 convolutions, each with batch norm and ReLU, and of a max pooling that halves the map
    (Simonyan and Zisserman 2015, arXiv:1409.1556; Ioffe and Szegedy 2015, arXiv:1502.03167), then one Linear. The first
    one of each of three depths comes first, the one with the most multiply-accumulates before the others; then smaller
    ones. There are none where no chain is small enough.
    """
    found: list[list[Template]] = []
    for convs in _BLOCKS.values():
        chains = [_chain(space, convs, widths) for widths in _WIDTHS]
        found.append([chain for chain in chains if chain is not None and space.admits(chain)])
    ranks = [[chains[rank] for chains in found if rank < len(chains)] for rank in range(len(_WIDTHS))]
    ordered = [chain for rank in ranks for chain in sorted(rank, key=lambda chain: -chain.cost.macs)]
    return list({chain.hash: chain for chain in ordered}.values())


def _chain(space: Space, convs: tuple[int, ...], widths: tuple[int, ...]) -> Template | None:
    """The chain for images of this size, or None where there is none."""
    side = min(space.in_shape[1:])
    blocks = min(max(int(math.log2(side / _SMALLEST_MAP)), 1), len(convs))
    layers: list[lt.LayerTemplate] = []
    for count, channels in zip(convs[:blocks], widths, strict=False):
        for _ in range(count):
            stride = 2 if side > _LARGE_MAP else 1
            layers += [lt.Conv2d(channels, 3, stride, True), lt.BatchNorm2d(), lt.ReLU()]
            side = -(-side // stride)
        layers += [lt.MaxPool2d(2, 2)] * (side >= 2)
        side //= 2
    try:
        return Template([*layers, lt.Flatten(), lt.Linear(space.classes)], space.in_shape)
    except JnasError:  # such as images of one pixel
        return None


def describe_chain(template: Template) -> str:
    """Returns a chain in words, such as "conv16-pool-conv32-linear"; layers without channels of their own left out."""
    words = []
    for layer in template.layers:
        if isinstance(layer, lt.Conv2d):
            words.append(f"conv{layer.out_channels}")
        elif isinstance(layer, lt.MaxPool2d | lt.AvgPool2d | lt.GlobalAvgPool2d):
            words.append("pool")
        elif isinstance(layer, lt.Linear):
            words.append("linear")
    return "-".join(words)
