"""Tables and pictures."""

from jnas.report.front import front_table as front_table
from jnas.report.front import plot_front as plot_front
from jnas.report.plots import plot_search as plot_search
from jnas.report.predictions import plot_predictions as plot_predictions
from jnas.report.tables import architecture as architecture
from jnas.report.tables import count as count
from jnas.report.tables import finalist_table as finalist_table
from jnas.report.tables import ranking as ranking
from jnas.report.tables import spread as spread
