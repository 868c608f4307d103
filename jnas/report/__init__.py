"""Tables and pictures."""

from jnas.report._front import front_table as front_table
from jnas.report._front import plot_front as plot_front
from jnas.report._plots import plot_search as plot_search
from jnas.report._predictions import plot_predictions as plot_predictions
from jnas.report._tables import architecture as architecture
from jnas.report._tables import count as count
from jnas.report._tables import finalist_table as finalist_table
from jnas.report._tables import ranking as ranking
from jnas.report._tables import spread as spread
