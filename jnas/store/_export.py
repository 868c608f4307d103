"""A table as a file that other programs read: Parquet or CSV."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from jnas.errors import JnasError
from jnas.store._connection import first_line

_WRITERS = {".parquet": duckdb.DuckDBPyRelation.write_parquet, ".csv": duckdb.DuckDBPyRelation.write_csv}


def check_target(path: str | Path, overwrite: bool) -> Path:
    """The file to write.

    Raises:
      JnasError: its ending is unknown, its folder is not there, or it is there already and may not be overwritten.
    """
    target = Path(path).expanduser()
    if target.suffix.lower() not in _WRITERS:
        raise JnasError(f"{target} has another ending than {' or '.join(_WRITERS)}: the ending says what to write.")
    if not target.parent.is_dir():
        raise JnasError(f"{target} is in a folder that does not exist: make it first.")
    if target.is_dir():
        raise JnasError(f"{target} is a folder: name a file in it.")
    if target.exists() and not overwrite:
        raise JnasError(f"{target} is there already: name another file, or allow it to be overwritten (--overwrite).")
    return target


def write(relation: duckdb.DuckDBPyRelation, target: Path) -> None:
    """Writes rows whole, or leaves what was there.

    Raises:
      JnasError: the file cannot be written.
    """
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
