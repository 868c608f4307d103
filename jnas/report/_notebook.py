"""Results as HTML and SVG, for notebooks."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from jnas.report._tables import format_count
from jnas.space import Template, draw_template

_WIDTH, _HEIGHT, _MARGIN = 420, 220, 44
_STYLE = "font: 13px sans-serif"


class Point(NamedTuple):
    """A network that was trained: what its row of a leader board says."""

    phase: str
    val_acc: float
    template: Template


def candidate_html(point: Point, notes: Sequence[str] = ()) -> str:
    """Returns the drawing of a network with its accuracy and costs, and more lines of text below."""
    cost = point.template.cost
    first = f"validation accuracy in the search {point.val_acc:.4f}, {format_count(cost.params)} parameters, "
    lines = [f"{first}{format_count(cost.macs)} MACs ({point.phase})", *notes, f"hash {point.template.hash}"]
    text = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return f'<div style="{_STYLE}">{draw_template(point.template)}{text}</div>'


def result_html(winner: str, points: Sequence[Point]) -> str:
    """Returns a search's winner, as `candidate_html` made it, the best of its networks as a table, and the front."""
    rows = "".join(
        f"<tr><td>{rank}</td><td>{point.val_acc:.4f}</td><td>{format_count(point.template.cost.params)}</td>"
        f"<td>{format_count(point.template.cost.macs)}</td><td>{html.escape(point.phase)}</td></tr>"
        for rank, point in enumerate(points[:10], 1)
    )
    head = "".join(f"<th>{name}</th>" for name in ("#", "val acc", "params", "MACs", "phase"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div style="{_STYLE}">{winner}<div style="display: flex; gap: 2em">{table}{front_svg(points)}</div></div>'


def front_svg(points: Sequence[Point]) -> str:
    """Returns a drawing of accuracies against multiply-accumulates, with the line of what nothing cheaper beats."""
    costs = [math.log10(max(point.template.cost.macs, 1)) for point in points]
    accuracies = [point.val_acc for point in points]

    def place(values: Sequence[float], start: float, end: float) -> list[float]:
        low, span = min(values), (max(values) - min(values)) or 1.0
        return [start + (end - start) * (value - low) / span for value in values]

    xs, ys = place(costs, _MARGIN, _WIDTH - 12), place(accuracies, _HEIGHT - _MARGIN, 12)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#0072b2"/>' for x, y in zip(xs, ys, strict=True))
    line, best = [], math.inf
    for x, y in sorted(zip(xs, ys, strict=True)):
        if y < best:
            line += [f"{x:.1f},{best:.1f}"] if line else []
            line.append(f"{x:.1f},{y:.1f}")
            best = y
    macs = [point.template.cost.macs for point in points]
    labels = [
        (_MARGIN, _HEIGHT - _MARGIN + 18, "start", f"{format_count(min(macs))} MACs"),
        (_WIDTH - 12, _HEIGHT - _MARGIN + 18, "end", f"{format_count(max(macs))} MACs"),
        (_MARGIN - 6, 16, "end", f"{max(accuracies):.3f}"),
        (_MARGIN - 6, _HEIGHT - _MARGIN, "end", f"{min(accuracies):.3f}"),
    ]
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="11" fill="currentColor">{text}</text>'
        for x, y, anchor, text in labels
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="Validation accuracy against multiply-accumulates (logarithmic)">{dots}'
        f'<polyline points="{" ".join(line)}" fill="none" stroke="currentColor"/>{texts}</svg>'
    )
