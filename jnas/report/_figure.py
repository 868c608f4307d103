"""What all pictures share: matplotlib, which is optional, and the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jnas.errors import JnasError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches.

    Raises:
      JnasError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnasError("Pictures need matplotlib: pip install 'jnas[plot]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def finish_figure(figure: Figure, path: str | Path | None) -> Figure:
    """Returns the figure without the upper and right spines, written to a file if `path` is not None."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
