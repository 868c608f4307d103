"""The command line: `python -m jnas.store`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import tyro

from jnas.errors import JnasError
from jnas.store._export import export_table


@dataclass(frozen=True)
class Options:
    """Write results as a Parquet or CSV file: one row an evaluation, with the architecture's cost, or one table."""

    store: tyro.conf.Positional[str] = "jnas.duckdb"
    """File of a search's results."""
    export: str = field(kw_only=True)
    """File to write; its ending, .parquet or .csv, says how."""
    table: str | None = None
    """One table as it is, such as evaluations, epochs or generations."""
    overwrite: bool = False
    """Replace the file to write where it is there already."""


def main(arguments: list[str] | None = None) -> int:
    """Exports a table; returns the exit code: 0, 2 for bad input."""
    options = tyro.cli(Options, prog="python -m jnas.store", args=arguments)
    try:
        export_table(options.store, options.export, options.table, options.overwrite)
    except JnasError as error:
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {options.export}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
