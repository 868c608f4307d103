"""A picture of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jnas.errors import JnasError
from jnas.report._figure import finish_figure, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PHASE_COLORS = ("#9aa5b1", "#2f7ed8", "#d9480f")


def plot_search(rows: pd.DataFrame, path: str | Path | None = None) -> Figure:
    """Returns a picture of a search: accuracy in the order of training, against MACs, and against the prediction.

    Args:
      rows: the result of `SearchResult.to_df`.
      path: the file to write, PNG or SVG by its ending; None for no file.

    Raises:
      JnasError: if no template was trained successfully, or matplotlib is not installed.
    """
    figure = new_figure(11, 3.4)
    rows = rows.reset_index(drop=True)
    good = rows[rows.status == "ok"]
    if good.empty:
        raise JnasError("No template of the search was trained successfully, so there is nothing to draw.")
    order, cost, agreement = figure.subplots(1, 3)
    for color, (phase, part) in zip(_PHASE_COLORS, good.groupby("phase", sort=False), strict=False):
        style = {"s": 22, "color": color, "label": phase}
        order.scatter(part.index + 1, part.val_acc_final, **style)
        cost.scatter(part.macs, part.val_acc_final, **style)
        agreement.scatter(part.predicted_mean, part.val_acc_final, **style)
    best = good.val_acc_final.cummax()
    order.step(good.index + 1, best, where="post", color="black", linewidth=1, label="best so far")
    order.set(xlabel="template, in the order of training", ylabel="validation accuracy, last epoch")
    order.legend(frameon=False, fontsize=8)
    cost.set(xlabel="MACs for one image", xscale="log")
    agreement.set(xlabel="predicted before training", ylabel="validation accuracy, last epoch")
    predicted = good.loc[good.predicted_mean.notna()]
    if not predicted.empty:
        low = min(predicted.predicted_mean.min(), predicted.val_acc_final.min())
        high = max(predicted.predicted_mean.max(), predicted.val_acc_final.max())
        agreement.plot([low, high], [low, high], color="black", linewidth=1, linestyle=":")
    return finish_figure(figure, path)
