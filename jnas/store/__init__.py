"""DuckDB: the only place that holds SQL."""

from jnas.store._records import Epoch as Epoch
from jnas.store._records import Evaluation as Evaluation
from jnas.store._records import Key as Key
from jnas.store._store import Store as Store
