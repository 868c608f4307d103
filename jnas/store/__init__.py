"""Results in a DuckDB file: the only package that contains SQL."""

from jnas.store._export import export_table as export_table
from jnas.store._records import RETRYABLE_STATUSES as RETRYABLE_STATUSES
from jnas.store._records import Epoch as Epoch
from jnas.store._records import Evaluation as Evaluation
from jnas.store._records import Key as Key
from jnas.store._records import ProposalRow as ProposalRow
from jnas.store._records import Status as Status
from jnas.store._store import Store as Store
from jnas.store._store import open_store as open_store

__all__ = [
    "RETRYABLE_STATUSES",
    "Epoch",
    "Evaluation",
    "Key",
    "ProposalRow",
    "Status",
    "Store",
    "export_table",
    "open_store",
]
