"""Tables and pictures of results."""

from jnas.report._plots import plot_front, plot_predictions, plot_search
from jnas.report._tables import finalist_table, format_count, front_table, layer_summary, leaderboard, mean_std

__all__ = [
    "finalist_table",
    "format_count",
    "front_table",
    "layer_summary",
    "leaderboard",
    "mean_std",
    "plot_front",
    "plot_predictions",
    "plot_search",
]
