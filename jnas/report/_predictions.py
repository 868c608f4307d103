"""A picture of predicted against measured values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jnas.errors import JnasError
from jnas.predict import calibration, score
from jnas.report._figure import finish_figure, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTTED = {"color": "black", "linewidth": 1, "linestyle": ":"}


def plot_predictions(
    measured: ArrayLike, predicted: ArrayLike, std: ArrayLike, path: str | Path | None = None, title: str = ""
) -> Figure:
    """Returns a picture of predicted against measured values, and of the distribution of the errors.

    Args:
      measured: `[N]` values of rows that the predictor was not trained on.
      predicted: `[N]` predictions in the same unit.
      std: `[N]` standard deviations of the predictions.
      path: the file to write, PNG or SVG by its ending; None for no file.
      title: a title of the picture.

    Raises:
      JnasError: if the arrays have different lengths or fewer than two values, or matplotlib is not installed.
    """
    figure = new_figure(8.4, 3.8)
    targets, means, stds = (np.asarray(values, float) for values in (measured, predicted, std))
    if not targets.shape == means.shape == stds.shape == (targets.size,) or targets.size < 2:
        raise JnasError(
            "measured, predicted and std must be vectors of one length >= 2, got the shapes "
            f"{targets.shape}, {means.shape} and {stds.shape}."
        )
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
    spread.plot(errors, (np.arange(len(errors)) + 1) / len(errors), color="#2f7ed8", label="measured")
    sizes = np.linspace(0, max(3.0, min(errors[-1], 6.0)), 100)
    spread.plot(sizes, _normal_coverage(sizes), **_DOTTED, label="normal errors")
    spread.set(xlabel="size of the error, in standard deviations", ylabel="fraction of rows with no larger error")
    spread.set(xlim=(0, sizes[-1]), ylim=(0, 1.02))
    spread.legend(frameon=False, fontsize=8, loc="lower right")
    spread.set_title(
        f"within one: {coverage.coverage_1std:.0%} (68%), within two: {coverage.coverage_2std:.0%} (95%)", fontsize=9
    )
    if title:
        figure.suptitle(title, fontsize=10)
    return finish_figure(figure, path)


def _normal_coverage(stds: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns the fraction of normally distributed errors within so many standard deviations."""
    from scipy.special import erf

    return erf(stds / np.sqrt(2))
