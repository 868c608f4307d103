"""Pictures of a search, of its Pareto front, and of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from jnas._validation import first_line, refuse, shown, to_choice, to_instance, to_path, to_text
from jnas.errors import JnasError
from jnas.predict import calibration, score, to_vectors

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PHASE_COLORS = ("#9aa5b1", "#2f7ed8", "#d9480f")
_DOTTED = {"color": "black", "linewidth": 1, "linestyle": ":"}
_LEGEND = {"frameon": False, "fontsize": 8}
_COST_LABELS = {
    "macs": "MACs for one image",
    "params": "learnable parameters",
    "memory_bytes": "working memory that a board needs, bytes",
    "flash_bytes": "flash that a board needs, bytes",
    "latency_ms": "measured latency of one image, ms",
}


def plot_search(rows: pd.DataFrame, path: str | Path | None = None) -> Figure:
    """Returns a picture of a search: accuracy in the order of training, against MACs, and against any predictions.

    The rows are those of `SearchResult.to_df`; the file to write is PNG or SVG by its ending. Raises a `JnasError` if
    no template was trained successfully, or matplotlib is not installed, as the other functions do.
    """
    figure, path = _new_figure(11, 3.4), _to_picture(path)
    columns = ("status", "phase", "macs", "predicted_mean", "val_acc_final")
    rows = _to_frame("rows", rows, columns).reset_index(drop=True)
    good = rows[rows.status == "ok"]
    if good.empty:
        raise JnasError(f"rows must have a template of status ok, got none of {len(rows)}; run the search again.")
    predicted = good.loc[good.predicted_mean.notna(), ["predicted_mean", "val_acc_final"]]
    order, cost, *others = figure.subplots(1, 2 if predicted.empty else 3)
    for color, (phase, part) in zip(_PHASE_COLORS, good.groupby("phase", sort=False), strict=False):
        panels = [(order, part.index + 1), (cost, part.macs), *((axes, part.predicted_mean) for axes in others)]
        for axes, values in panels:
            axes.scatter(values, part.val_acc_final, s=22, color=color, label=phase)
    best = good.val_acc_final.cummax()
    order.step(good.index + 1, best, where="post", color="black", linewidth=1, label="best so far")
    order.set(xlabel="template, in the order of training", ylabel="validation accuracy, last epoch")
    order.legend(**_LEGEND)
    cost.set(xlabel=_COST_LABELS["macs"], xscale="log")
    for axes in others:
        axes.set(xlabel="predicted before training", ylabel="validation accuracy, last epoch")
        ends = [predicted.min(axis=None), predicted.max(axis=None)]
        axes.plot(ends, ends, **_DOTTED)
    return _finish_figure(figure, path)


def plot_front(rows: pd.DataFrame, front: pd.DataFrame, path: str | Path | None = None, cost: str = "macs") -> Figure:
    """Returns a picture of accuracy against cost: all templates of a search, and their Pareto front as a line.

    These are `SearchResult.to_df` and `SearchResult.front`. Raises a `JnasError` if the front has no such cost, which
    is "macs", "params", "memory_bytes", "flash_bytes" or "latency_ms". The file to write is PNG or SVG by its ending.
    """
    figure, path = _new_figure(5, 3.6), _to_picture(path)
    cost = to_choice("cost", cost, _COST_LABELS)
    rows = _to_frame("rows", rows, ("status", "val_acc_final"))
    front = _to_frame("front", front, (cost, "val_acc_final"))
    best = front.dropna(subset=[cost]).sort_values(cost)
    if best.empty:
        raise JnasError(f"front must have values of {cost}, got none; add it to the objectives of the search.")
    axes = figure.subplots()
    if cost in rows:
        good = rows[rows.status == "ok"]
        axes.scatter(good[cost], good.val_acc_final, s=18, color="#9aa5b1", label="trained")
    axes.plot(best[cost], best.val_acc_final, "o-", color="#d9480f", markersize=5, linewidth=1, label="Pareto front")
    axes.set(xlabel=_COST_LABELS[cost], ylabel="validation accuracy, last epoch", xscale="log")
    axes.legend(**_LEGEND)
    return _finish_figure(figure, path)


def plot_predictions(
    measured: ArrayLike, predicted: ArrayLike, std: ArrayLike, path: str | Path | None = None, title: str = ""
) -> Figure:
    """Returns a picture of predicted against measured values, and of the distribution of the errors.

    All are `[N]` in the same unit, of rows that the predictor was not trained on, `std` standard deviations of the
    predictions. Raises a `JnasError` if the lengths differ or are less than two. The file is PNG or SVG by its ending.
    """
    figure, path, title = _new_figure(8.4, 3.8), _to_picture(path), to_text("title", title)
    targets, means, stds = to_vectors(measured=measured, predicted=predicted, std=std)
    if len(targets) < 2:
        raise JnasError(f"measured must have 2 rows or more, got {len(targets)}; predict more templates.")
    if (stds < 0).any():
        refuse("std", ">= 0", stds.min())
    scores, coverage = score(targets, means), calibration(targets, means, stds)
    agreement, spread = figure.subplots(1, 2, width_ratios=[1.15, 1])
    bars = {"ecolor": "#c9d3de", "elinewidth": 0.8}
    agreement.errorbar(means, targets, xerr=stds, fmt="o", markersize=3.5, color="#2f7ed8", **bars)
    ends = [min(means.min(), targets.min()), max(means.max(), targets.max())]
    agreement.plot(ends, ends, **_DOTTED)
    agreement.set(xlabel="predicted (bars: one standard deviation)", ylabel="measured")
    agreement.set_title(
        f"R² {scores.r2:.3f}, Kendall tau {scores.kendall_tau:.3f}, Spearman {scores.spearman:.3f}, "
        f"{targets.size:,} rows",
        fontsize=9,
    )
    errors = np.sort(np.abs(targets - means) / np.maximum(stds, 1e-12))
    sizes = np.linspace(0, np.clip(errors[-1], 3, 6), 100)
    spread.plot(errors, (np.arange(len(errors)) + 1) / len(errors), color="#2f7ed8", label="measured")
    spread.plot(sizes, 2 * ndtr(sizes) - 1, **_DOTTED, label="normal errors")
    spread.set(xlabel="size of the error, in standard deviations", ylabel="fraction of rows with no larger error")
    spread.set(xlim=(0, sizes[-1]), ylim=(0, 1.02))
    spread.legend(**_LEGEND, loc="lower right")
    spread.set_title(
        f"within one: {coverage.coverage_1std:.0%} (68%), within two: {coverage.coverage_2std:.0%} (95%)", fontsize=9
    )
    if title:
        figure.suptitle(title, fontsize=10)
    return _finish_figure(figure, path)


def _new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnasError("Pictures need matplotlib: pip install 'jnas[plot]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def _to_frame(name: str, frame: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Returns a data frame that has these columns."""
    import pandas as pd

    to_instance(name, frame, pd.DataFrame, "take SearchResult.to_df() or SearchResult.front")
    if missing := [column for column in columns if column not in frame]:
        raise JnasError(
            f"{name} must have the columns {', '.join(columns)}, got none named {' and '.join(missing)}; take "
            "SearchResult.to_df() or SearchResult.front."
        )
    return frame


def _to_picture(path: Any) -> Path | None:
    """Returns the path of a picture to write, or None."""
    if path is None:
        return None
    path = to_path("path", path)
    if path.suffix.lower() not in (".png", ".svg"):
        refuse("path", "the name of a picture that ends in .png or .svg", path)
    return path


def _finish_figure(figure: Figure, path: Path | None) -> Figure:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise JnasError(f"{shown(path)} cannot be written ({first_line(error)}): name another file.") from error
    return figure
