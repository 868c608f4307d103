"""DuckDB: the only place that holds SQL."""

from jnas.store.records import Epoch as Epoch
from jnas.store.records import Evaluation as Evaluation
from jnas.store.records import Key as Key
from jnas.store.store import Store as Store
