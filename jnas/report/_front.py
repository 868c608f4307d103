"""The Pareto front of a search: as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from jnas.errors import JnasError
from jnas.report._tables import count

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_LABELS = {
    "macs": "MACs for one image",
    "params": "learnable parameters",
    "latency_ms": "measured latency of one image, ms",
}


def front_table(front: pd.DataFrame) -> Table:
    """The templates that no other beats in every objective, as a rich table.

    Args:
      front: as `Store.front_df` returns it.
    """
    title = "Pareto front: validation accuracy after the last epoch, against cost"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for name in ("val acc", "params", "MACs", "latency, ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    for row in front.itertuples():
        latency = "-" if row.latency_ms is None or row.latency_ms != row.latency_ms else f"{row.latency_ms:.2f}"
        shown = f"{row.hash[:16]}…" if len(row.hash) > 16 else row.hash
        table.add_row(f"{row.val_acc_final:.4f}", count(row.params), count(row.macs), latency, shown)
    return table


def plot_front(rows: pd.DataFrame, front: pd.DataFrame, path: str | Path | None = None, cost: str = "macs") -> Figure:
    """All that a search trained, and the front of it as a line.

    Args:
      rows: as `SearchResult.to_df()` returns them.
      front: as `SearchResult.front` returns it.
      path: a file to write, PNG or SVG by its ending; none is written by default.
      cost: "macs", "params" or "latency_ms": against what accuracy is drawn.

    Returns:
      The figure, which a notebook shows.

    Raises:
      JnasError: there is nothing to draw, no such cost, or matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnasError("Pictures need matplotlib: pip install 'jnas[plot]'.") from error
    if cost not in _LABELS:
        raise JnasError(f"There is no cost {cost!r} to draw: choose one of {', '.join(_LABELS)}.")
    best = front.dropna(subset=[cost]).sort_values(cost)
    if best.empty:
        raise JnasError(f"The front holds no {cost}, so there is nothing to draw: add it to the search's objectives.")
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    if cost in rows:
        good = rows[rows.status == "ok"]
        axes.scatter(good[cost], good.val_acc_final, s=18, color="#9aa5b1", label="trained")
    axes.plot(best[cost], best.val_acc_final, "o-", color="#d9480f", markersize=5, linewidth=1, label="Pareto front")
    axes.set(xlabel=_LABELS[cost], ylabel="validation accuracy, last epoch", xscale="log")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
