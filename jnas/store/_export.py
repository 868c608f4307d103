"""A table of a store as a Parquet or CSV file."""

import os
from pathlib import Path

import duckdb

from jnas.errors import JnasError
from jnas.store._connection import first_line, read_connection
from jnas.store._schema import EVALUATIONS_WITH_COST, TABLE_NAMES
from jnas.store._store import Store, open_store

_WRITERS = {".parquet": duckdb.DuckDBPyRelation.write_parquet, ".csv": duckdb.DuckDBPyRelation.write_csv}


def export_table(
    store: Store | str | Path, path: str | Path, table: str | None = None, overwrite: bool = False
) -> Path:
    """Writes a table of a store as a file whose ending, .parquet or .csv, decides the format; returns its path.

    Without the name of a table, such as "epochs", these are all evaluations with the cost of their architectures.
    Raises a `JnasError` if there is no such store or table, the file may not be replaced, or it cannot be written.
    """
    store = store if isinstance(store, Store) else open_store(store)
    target = Path(path).expanduser()
    _check_target(target, overwrite)
    if table is not None and table not in TABLE_NAMES:
        raise JnasError(f"table must be one of {', '.join(TABLE_NAMES)}, got {table!r}.")
    with read_connection(store.path, store.lock_timeout) as connection:
        _write(connection.table(table) if table else connection.sql(EVALUATIONS_WITH_COST), target)
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in _WRITERS:
        raise JnasError(f"The file to write must end in {' or '.join(_WRITERS)}, got {target}.")
    if not target.parent.is_dir():
        raise JnasError(f"{target} is in a folder that does not exist: create the folder first.")
    if target.is_dir():
        raise JnasError(f"The file to write must not be a folder, got {target}: name a file in it.")
    if target.exists() and not overwrite:
        raise JnasError(f"{target} exists: name another file, or allow jnas to replace it with --overwrite.")


def _write(relation: duckdb.DuckDBPyRelation, target: Path) -> None:
    """Writes the whole file, or leaves it as it was."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _WRITERS[target.suffix.lower()](relation, str(part))
        part.replace(target)
    except (duckdb.IOException, OSError) as error:
        raise JnasError(
            f"{target} cannot be written ({first_line(error)}): name another file, or make room."
        ) from error
    finally:
        part.unlink(missing_ok=True)
