"""The picture of predicted against measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jnas.errors import JnasError
from jnas.predict import calibration, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_predictions(
    measured: np.ndarray, predicted: np.ndarray, std: np.ndarray, path: str | Path | None = None, title: str = ""
) -> Figure:
    """Predicted against measured values of rows that were not trained on, and how their errors spread.

    Args:
      measured, predicted, std: `[N]` each, in one unit.
      path: a file to write, PNG or SVG by its ending; none is written by default.
      title: above the picture.

    Returns:
      The figure, which a notebook shows.

    Raises:
      JnasError: the arrays are of different lengths or have fewer than two rows, or matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise JnasError("Pictures need matplotlib: pip install 'jnas[plot]'.") from error
    measured, predicted, std = (np.asarray(values, float) for values in (measured, predicted, std))
    if not measured.shape == predicted.shape == std.shape == (len(measured),) or len(measured) < 2:
        raise JnasError(
            f"The picture got {measured.shape} measured values, {predicted.shape} predictions and {std.shape} standard "
            "deviations: give as many of each, 2 or more."
        )
    scores, certainty = score(measured, predicted), calibration(measured, predicted, std)
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    agreement, spread = figure.subplots(1, 2, width_ratios=[1.15, 1])
    line = {"color": "black", "linewidth": 1, "linestyle": ":"}
    agreement.errorbar(
        *(predicted, measured), xerr=std, fmt="o", markersize=3.5, color="#2f7ed8", ecolor="#c9d3de", elinewidth=0.8
    )
    ends = [min(predicted.min(), measured.min()), max(predicted.max(), measured.max())]
    agreement.plot(ends, ends, **line)
    agreement.set(xlabel="predicted (bars: one standard deviation)", ylabel="measured")
    agreement.set_title(
        f"R² {scores.r2:.3f}, Kendall tau {scores.kendall_tau:.3f}, Spearman {scores.spearman:.3f}, "
        f"{scores.rows:,} rows",
        fontsize=9,
    )
    # Sorted errors in units of their standard deviation, against what normal errors would be.
    errors = np.sort(np.abs(measured - predicted) / np.maximum(std, 1e-12))
    spread.plot(errors, (np.arange(len(errors)) + 1) / len(errors), color="#2f7ed8", label="measured")
    sizes = np.linspace(0, max(3.0, min(errors[-1], 6.0)), 100)
    spread.plot(sizes, _normal_share(sizes), **line, label="normal errors")
    spread.set(xlabel="size of the error, in its standard deviations", ylabel="share of rows with no larger one")
    spread.set(xlim=(0, sizes[-1]), ylim=(0, 1.02))
    spread.legend(frameon=False, fontsize=8, loc="lower right")
    spread.set_title(
        f"within one: {certainty.within_1_std:.0%} (68%), within two: {certainty.within_2_std:.0%} (95%)", fontsize=9
    )
    if title:
        figure.suptitle(title, fontsize=10)
    for axes in (agreement, spread):
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _normal_share(size: np.ndarray) -> np.ndarray:
    """The share of normal errors that are no larger than so many standard deviations."""
    from scipy.special import erf

    return erf(size / np.sqrt(2))
