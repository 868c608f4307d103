"""Tables and pictures of results."""

from jnas.report._front import front_table as front_table
from jnas.report._front import plot_front as plot_front
from jnas.report._plots import plot_search as plot_search
from jnas.report._predictions import plot_predictions as plot_predictions
from jnas.report._tables import finalist_table as finalist_table
from jnas.report._tables import format_count as format_count
from jnas.report._tables import layer_summary as layer_summary
from jnas.report._tables import leaderboard as leaderboard
from jnas.report._tables import mean_std as mean_std

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
