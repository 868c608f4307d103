"""Tables, pictures and pages of results."""

from jnas.report._html.live import LiveReport
from jnas.report._html.winner_facts import facts_path, read_facts, winner_facts, write_facts
from jnas.report._notebook import Point, candidate_html, result_html
from jnas.report._plots import plot_front, plot_predictions, plot_search
from jnas.report._report import write_report
from jnas.report._tables import (
    finalist_table,
    format_count,
    front_table,
    layer_summary,
    leaderboard,
    mean_std,
    wilson_interval,
)

__all__ = [
    "LiveReport",
    "Point",
    "candidate_html",
    "facts_path",
    "finalist_table",
    "format_count",
    "front_table",
    "layer_summary",
    "leaderboard",
    "mean_std",
    "plot_front",
    "plot_predictions",
    "plot_search",
    "read_facts",
    "result_html",
    "wilson_interval",
    "winner_facts",
    "write_facts",
    "write_report",
]
