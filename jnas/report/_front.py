"""The Pareto front of a search, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from jnas.errors import JnasError
from jnas.report._figure import finish_figure, new_figure
from jnas.report._tables import format_count, new_table, short_hash

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COST_LABELS = {
    "macs": "MACs for one image",
    "params": "learnable parameters",
    "latency_ms": "measured latency of one image, ms",
}


def front_table(front: pd.DataFrame) -> Table:
    """Returns the Pareto front as a table.

    Args:
      front: the result of `Store.front_df`.
    """
    title = "Pareto front: validation accuracy after the last epoch, against cost"
    table = new_table(title, numbers=("val acc", "params", "MACs", "latency, ms"), texts=("hash",))
    for row in front.to_dict("records"):
        latency = row["latency_ms"]
        table.add_row(
            f"{row['val_acc_final']:.4f}",
            format_count(row["params"]),
            format_count(row["macs"]),
            "-" if latency is None or latency != latency else f"{latency:.2f}",
            short_hash(row["hash"]),
        )
    return table


def plot_front(rows: pd.DataFrame, front: pd.DataFrame, path: str | Path | None = None, cost: str = "macs") -> Figure:
    """Returns a picture of accuracy against cost: all templates of a search, and their Pareto front as a line.

    Args:
      rows: the result of `SearchResult.to_df`.
      front: `SearchResult.front`.
      path: the file to write, PNG or SVG by its ending; None for no file.
      cost: "macs", "params" or "latency_ms".

    Raises:
      JnasError: if the front has no such cost, or matplotlib is not installed.
    """
    figure = new_figure(5, 3.6)
    if cost not in _COST_LABELS:
        raise JnasError(f"cost must be one of {', '.join(_COST_LABELS)}, got {cost!r}.")
    best = front.dropna(subset=[cost]).sort_values(cost)
    if best.empty:
        raise JnasError(
            f"The front has no {cost}, so there is nothing to draw: add it to the objectives of the search."
        )
    axes = figure.subplots()
    if cost in rows:
        good = rows[rows.status == "ok"]
        axes.scatter(good[cost], good.val_acc_final, s=18, color="#9aa5b1", label="trained")
    axes.plot(best[cost], best.val_acc_final, "o-", color="#d9480f", markersize=5, linewidth=1, label="Pareto front")
    axes.set(xlabel=_COST_LABELS[cost], ylabel="validation accuracy, last epoch", xscale="log")
    axes.legend(frameon=False, fontsize=8)
    return finish_figure(figure, path)
