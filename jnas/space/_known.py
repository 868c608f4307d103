"""Networks that people build by hand: what a search begins with, and has to surpass."""

import math
from typing import NamedTuple

from jnas.errors import JnasError
from jnas.space import _layers as lt
from jnas.space._space import Space
from jnas.space._template import Template


class _Kind(NamedTuple):
    """How chains of a kind are built from the channels of each block."""

    convs: tuple[int, ...]
    """Convolutions of each block."""
    pools_early: bool = False
    """The first block is one convolution of 2x2 pixels; the others pool after their first convolution, not the last."""


_KINDS = (
    _Kind((1, 2, 2, 2), pools_early=True),
    _Kind((2, 2, 2, 2)),
    _Kind((1, 2, 2, 2)),
    _Kind((1, 1, 1, 1)),
)
_CHANNELS = (
    *((64, 128, 192, 192), (32, 64, 192, 192), (32, 64, 128, 192), (32, 64, 128, 128), (32, 64, 96, 128)),
    *((32, 64, 64, 128), (32, 32, 96, 192), (16, 32, 96, 128), (16, 32, 64, 128), (16, 32, 64, 64), (16, 16, 64, 64)),
    *((16, 16, 32, 64), (8, 16, 32, 64), (8, 16, 32, 32), (8, 8, 32, 64), (8, 8, 16, 32)),
)
"""Of each block."""
_SMALLEST_MAP, _LARGE_MAP = 3, 64
"""Sides in pixels: blocks end before a map would be smaller, and a convolution of a larger map moves by two pixels."""


def known_networks(space: Space) -> list[Template]:
    """Returns chains that people build for the images of a space within its limits, the largest of each kind first.

    The first kind is that of airbench: a convolution of 2x2 pixels, then blocks of two of 3x3, with a max pooling right
    after the first (Jordan 2024, arXiv:2404.00498). The others are textbook chains of three depths: blocks of 3x3
    convolutions, then a max pooling (Simonyan and Zisserman 2015, arXiv:1409.1556). All have batch norm (Ioffe and
    Szegedy 2015, arXiv:1502.03167), ReLU, and one Linear at the end. There are none where no chain is small enough.
    """
    found: list[list[Template]] = []
    for kind in _KINDS:
        chains = [_chain(space, kind, channels) for channels in _CHANNELS]
        admitted = {chain.hash: chain for chain in chains if chain is not None and space.admits(chain)}
        found.append(sorted(admitted.values(), key=lambda chain: -chain.cost.macs))
    ordered = [chains[rank] for rank in range(len(_CHANNELS)) for chains in found if rank < len(chains)]
    return list({chain.hash: chain for chain in ordered}.values())


def _chain(space: Space, kind: _Kind, channels: tuple[int, ...]) -> Template | None:
    """The chain for images of this size, or None where there is none."""
    side = min(space.in_shape[1:])
    num_blocks = kind.pools_early + max(int(math.log2(side / _SMALLEST_MAP)), 1)
    layers: list[lt.LayerTemplate] = []
    for block, (count, width) in enumerate(list(zip(kind.convs, channels, strict=True))[:num_blocks]):
        is_stem = kind.pools_early and not block
        for index in range(count):
            stride = 2 if side > _LARGE_MAP else 1
            side = -(-(side - is_stem) // stride)
            is_pooled = side >= 2 and not is_stem and index == (0 if kind.pools_early else count - 1)
            pool = [lt.MaxPool2d(2, 2)] * is_pooled
            side //= 1 + is_pooled
            conv, rest = lt.Conv2d(width, 2 if is_stem else 3, stride, not is_stem), [lt.BatchNorm2d(), lt.ReLU()]
            layers += [conv, *pool, *rest] if kind.pools_early else [conv, *rest, *pool]
    layers += [lt.GlobalAvgPool2d()] * kind.pools_early
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
