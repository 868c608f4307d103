"""Whose file it is, of which schema version, and how it comes to the present one."""

from __future__ import annotations

from pathlib import Path

import duckdb

from jnas.errors import JnasError
from jnas.store._connection import first_line
from jnas.store._schema import MIGRATIONS, TABLE_NAMES, TABLES, VERSION


def version_of(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The schema version of a file; 0 where it has no tables yet.

    Raises:
      JnasError: jnas did not write it, or a newer one did.
    """
    tables = _tables(connection)
    if not tables:
        return 0
    found = "jnas" in tables and connection.execute("SELECT * FROM jnas").fetchall()
    match found:
        case [(int(version),)] if version > VERSION:
            raise JnasError(
                f"{path} has schema version {version}, and this jnas reads {VERSION}: use the jnas that wrote it, or "
                "another file."
            )
        case [(int(version),)] if version > 0:
            return version
    raise JnasError(f"{path} is a DuckDB file, but jnas did not write it: name another file.")


def read_through(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Reads every value once, so that a file which ends too early is told before anything is written to it.

    Raises:
      JnasError: something of it cannot be read.
    """
    try:
        for table in _tables(connection) & set(TABLE_NAMES):
            connection.execute(f"SELECT max(hash(_row)) FROM {table} AS _row").fetchall()  # our own names
    except duckdb.Error as error:
        raise JnasError(
            f"{path} is damaged ({first_line(error)}): put a copy in its place, or name another file; it was left as "
            "it is."
        ) from error


def migrate(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """Makes the tables, or those of an older version into the present ones; within the caller's transaction."""
    connection.execute(TABLES)
    for migration in MIGRATIONS[version - 1 :] if version else ():
        connection.execute(migration)
    if version:
        connection.execute("UPDATE jnas SET schema_version = ?", [VERSION])
    else:
        connection.execute("INSERT INTO jnas VALUES (?)", [VERSION])


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Tables and views."""
    names = "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    return {name for (name,) in connection.execute(names).fetchall()}
