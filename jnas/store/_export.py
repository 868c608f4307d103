"""A table of a store as a Parquet or CSV file."""

import contextlib
import os
import uuid
from pathlib import Path

import duckdb

from jnas._validation import to_bool, to_choice, to_path
from jnas.errors import JnasError
from jnas.store._connection import first_line
from jnas.store._schema import EVALUATIONS_WITH_COST, TABLE_NAMES
from jnas.store._store import Store, open_store

_WRITERS = {".parquet": duckdb.DuckDBPyRelation.write_parquet, ".csv": duckdb.DuckDBPyRelation.write_csv}


def export_table(
    store: Store | str | Path, path: str | Path, table: str | None = None, overwrite: bool = False
) -> Path:
    """Writes a table of a store as a file whose ending, .parquet or .csv, decides the format; returns its path.

    Without the name of a table, such as "epochs", these are all evaluations with the cost of their architectures.
    Parquet keeps types. A reader of CSV has to be told that hashes and ids are text, or takes some of them for
    numbers: `pandas.read_csv(path, dtype={"hash": str, "recipe_id": str})`.
    Raises a `JnasError` if there is no such store or table, the file may not be replaced, or it cannot be written.
    """
    target = to_path("path", path)
    if table is not None:
        table = to_choice("table", table, TABLE_NAMES)
    _check_target(target, to_bool("overwrite", overwrite))
    store = store if isinstance(store, Store) else open_store(store)
    if os.path.exists(target) and os.path.exists(store.path) and os.path.samefile(target, store.path):
        raise JnasError(f"{target} is the store itself: name another file.")
    with store.connect() as connection:
        _write(connection.table(table) if table else connection.sql(EVALUATIONS_WITH_COST), target)
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in _WRITERS:
        raise JnasError(f"The file to write must end in {' or '.join(_WRITERS)}, got {target}.")
    if not os.path.isdir(target.parent):
        raise JnasError(f"{target} is in a folder that does not exist: create the folder first.")
    if os.path.isdir(target):
        raise JnasError(f"The file to write must not be a folder, got {target}; name a file in it.")
    if os.path.lexists(target) and not overwrite:
        raise JnasError(f"{target} exists: name another file, or allow jnas to replace it with --overwrite.")


def _write(relation: duckdb.DuckDBPyRelation, target: Path) -> None:
    """Writes the whole file, or leaves it as it was."""
    part = target.with_name(f".{uuid.uuid4().hex}")
    try:
        _WRITERS[target.suffix.lower()](relation, str(part))
        part.replace(target)
    except (duckdb.IOException, OSError) as error:
        raise JnasError(
            f"{target} cannot be written ({first_line(error)}): name another file, or make room."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
