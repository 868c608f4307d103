"""Drawings of architectures as SVG: what notebooks and reports show."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from jnas.space import _layers as lt

if TYPE_CHECKING:
    from jnas.space._template import Template

_COLORS = {"image": "#8a94a0", "conv": "#0072b2", "pool": "#e69f00", "linear": "#009e73"}
"""By kind of block; of Okabe and Ito's palette, whose colours colour-blind people can tell apart."""
_NAMES = {lt.MaxPool2d: "max pool", lt.AvgPool2d: "mean pool", lt.GlobalAvgPool2d: "global mean", lt.Linear: "linear"}
_TIMES, _NOTHING = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_INK = "var(--jnas-ink,#7a8490)"
"""Of texts: a page says which; elsewhere a grey that shows on white and on black."""
_SIDE, _MIN_SIDE = 92.0, 6.0
"""Pixels of the side of the largest map, and of the smallest."""
_THICKNESS = 4.0
"""Pixels a block is thicker each time its channels double."""
_DEPTH = 0.34
"""Of a side that goes back, relative to one that goes up."""
_COLUMN, _GAP, _MARGIN, _BAR = 76.0, 8.0, 6.0, 30.0
"""Pixels: of a column with texts, between columns, around the drawing, of a bar of 100 %."""


class Block(NamedTuple):
    """A layer that changes the shape, with the layers after it that do not."""

    kind: str
    name: str
    followers: tuple[str, ...]
    shape: lt.Shape
    params: int
    macs: int


def template_blocks(template: Template) -> list[Block]:
    """Returns what is drawn of a template, its image first; parameters and MACs add up to those of the template."""
    shape: lt.Shape = template.in_shape
    found = [Block("image", "image", (), shape, 0, 0)]
    for layer, out_shape in zip(template.layers, template.shapes, strict=True):
        cost, shape = layer.cost(shape), out_shape
        if isinstance(layer, lt.Conv2d):
            stride = f" / {layer.stride}" if layer.stride > 1 else ""
            name = f"conv {layer.kernel_size}{_TIMES}{layer.kernel_size}{stride}"
            found.append(Block("conv", name, (), shape, cost.params, cost.macs))
        elif type(layer) in _NAMES:
            kind = "linear" if isinstance(layer, lt.Linear) else "pool"
            size = f" {layer.kernel_size}{_TIMES}{layer.kernel_size}" if isinstance(layer, lt.WindowedLayer) else ""
            found.append(Block(kind, _NAMES[type(layer)] + size, (), shape, cost.params, cost.macs))
        else:
            last = found[-1]
            name = " ".join(filter(None, (type(layer).__name__, layer.summary())))
            found[-1] = last._replace(followers=(*last.followers, name), params=last.params + cost.params)
    return found


def draw_template(template: Template) -> str:
    """Returns an SVG element of a template: a block for each convolution, pooling and linear layer, from left to right.

    A block is as wide as its map, and as thick as its channels on a logarithmic scale; a vector is a map of one pixel.
    Below each are its name, its output shape, and its shares of all parameters and MACs in per cent.
    """
    found = template_blocks(template)
    largest = max(template.in_shape[1:])
    base, left, parts = _MARGIN + _SIDE * (1 + _DEPTH), _MARGIN, []
    for block in found:
        side = max(_SIDE * max(block.shape[1:], default=1) / largest, _MIN_SIDE)
        thickness = _THICKNESS * math.log2(1 + block.shape[0])
        needed = thickness + _DEPTH * side
        column = max(needed, _COLUMN)
        parts.append(_draw_block(block, left + (column - needed) / 2, base - (_SIDE - side) / 2, side, thickness))
        parts.append(_write_below(block, template.cost, left + column / 2, base + 18))
        left += column + _GAP
    width, height = left - _GAP + _MARGIN, base + 92
    label = f"{len(template.layers)} layers, {template.cost.params:,} parameters, {template.cost.macs:,} MACs"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" viewBox="0 0 {width:.0f} '
        f'{height:.0f}" width="{width:.0f}" height="{height:.0f}" font-family="system-ui,sans-serif" font-size="11" '
        f'text-anchor="middle">{"".join(parts)}</svg>'
    )


def _draw_block(block: Block, x: float, bottom: float, side: float, thickness: float) -> str:
    """A cuboid in parallel projection: the face in front is thickness by side, top and right side go back."""
    back = _DEPTH * side
    tip = escape(", ".join((f"{block.name}: {_size(block.shape)}", *block.followers)))
    front = f"M{x:.0f} {bottom:.0f}v{-side:.0f}h{thickness:.0f}v{side:.0f}z"
    top = f"M{x:.0f} {bottom - side:.0f}l{back:.0f} {-back:.0f}h{thickness:.0f}l{-back:.0f} {back:.0f}z"
    right = f"M{x + thickness:.0f} {bottom:.0f}l{back:.0f} {-back:.0f}v{-side:.0f}l{-back:.0f} {back:.0f}z"
    return (
        f'<g fill="{_COLORS[block.kind]}"><title>{tip}</title><path d="{front}"/><path opacity=".5" d="{top}"/>'
        f'<path opacity=".75" d="{right}"/></g>'
    )


def _write_below(block: Block, total: lt.Cost, x: float, y: float) -> str:
    """Name, shape and shares of a block; below the image, what the shares are of."""

    def line(row: float, text: str, style: str = "") -> str:
        return f'<text x="{x:.0f}" y="{y + 15 * row:.0f}"{style}>{escape(text)}</text>'

    lines = [line(0, block.name, ' font-weight="600"'), line(1, _size(block.shape))]
    if block.kind == "image":
        lines += [line(2.5, "parameters"), line(3.8, "MACs")]
    else:
        for row, part, whole in ((2.5, block.params, total.params), (3.8, block.macs, total.macs)):
            share = part / max(whole, 1)
            lines.append(line(row, _percent(share)))
            bar = f'x="{x - _BAR:.0f}" y="{y + 15 * row + 4:.0f}" height="3" rx="1.5"'
            lines.append(f'<rect {bar} width="{2 * _BAR:.0f}" opacity=".18"/>')
            lines.append(f'<rect {bar} width="{2 * _BAR * share:.1f}" fill="{_COLORS[block.kind]}"/>')
    return f'<g style="fill:{_INK}">{"".join(lines)}</g>'


def _size(shape: lt.Shape) -> str:
    return _TIMES.join(map(str, shape))


def _percent(share: float) -> str:
    return _NOTHING if not share else "< 1 %" if share < 0.005 else f"{100 * share:.0f} %"
