"""Pictures of what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jnas.errors import JnasError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLORS = {"random": "#9aa5b1", "filtered": "#2f7ed8", "evolved": "#d9480f"}


def plot_search(rows: pd.DataFrame, path: str | Path | None = None) -> Figure:
    """How a search went: accuracy in the order of training, against MACs, and against what was predicted.

    Args:
      rows: as `SearchResult.to_df()` returns them.
      path: a file to write, PNG or SVG by its ending; none is written by default.

    Returns:
      The figure, which a notebook shows.

    Raises:
      JnasError: no row ended well, or matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnasError("Pictures need matplotlib: pip install 'jnas[plot]'.") from error
    rows = rows.reset_index(drop=True)
    good = rows[rows.status == "ok"]
    if good.empty:
        raise JnasError("No row of the search ended well, so there is nothing to draw.")
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    order, cost, agreement = figure.subplots(1, 3)
    for step, color in _COLORS.items():
        part = good[good.phase == step]
        if part.empty:
            continue
        style = {"s": 22, "color": color, "label": step}
        order.scatter(part.index + 1, part.val_acc_final, **style)
        cost.scatter(part.macs, part.val_acc_final, **style)
        agreement.scatter(part.predicted_mean, part.val_acc_final, **style)
    order.step(
        good.index + 1, good.val_acc_final.cummax(), where="post", color="black", linewidth=1, label="best so far"
    )
    order.set(xlabel="template, in the order of training", ylabel="validation accuracy, last epoch")
    order.legend(frameon=False, fontsize=8)
    cost.set(xlabel="MACs for one image", xscale="log")
    predicted = good.dropna(subset=["predicted_mean"])
    agreement.set(xlabel="predicted before training", ylabel="validation accuracy, last epoch")
    if not predicted.empty:
        low = min(predicted.predicted_mean.min(), predicted.val_acc_final.min())
        high = max(predicted.predicted_mean.max(), predicted.val_acc_final.max())
        agreement.plot([low, high], [low, high], color="black", linewidth=1, linestyle=":")
    for axes in (order, cost, agreement):
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
