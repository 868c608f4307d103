"""Results in a DuckDB file: the only package that contains SQL."""

from jnas.store._experiments import find_experiment, find_weights, resolve_prefix
from jnas.store._export import export_table
from jnas.store._import import import_rows
from jnas.store._optuna import export_optuna
from jnas.store._records import RETRYABLE_STATUSES, Epoch, Evaluation, Key, Metric, ProposalRow, Status
from jnas.store._search_rows import SearchRows, read_curves, read_search
from jnas.store._store import Store, open_store

__all__ = [
    "RETRYABLE_STATUSES",
    "Epoch",
    "Evaluation",
    "Key",
    "Metric",
    "ProposalRow",
    "SearchRows",
    "Status",
    "Store",
    "export_optuna",
    "export_table",
    "find_experiment",
    "find_weights",
    "import_rows",
    "open_store",
    "read_curves",
    "read_search",
    "resolve_prefix",
]
