"""The command line: `python -m jnas.export`."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass

import tyro

from jnas.errors import JnasError
from jnas.export._writer import export_model


@dataclass(frozen=True)
class Options:
    """Write a trained template as a folder: Orbax weights, plain Flax code (model.py), and StableHLO (model.stablehlo).

    All three are loaded again in a fresh process, and must give as many right answers as the store says (after
    training in bfloat16: as the weights do when they are read again).
    """

    store: tyro.conf.Positional[str] = "jnas.duckdb"
    """File of a search's results."""
    hash: str | None = None
    """Template, by its hash or the beginning of it; the winner where not given. One that has no weights on disk is
    trained again, as its row says."""
    out: str | None = None
    """Folder to write; by default beside the store, of the same name ending in .export."""
    experiment: str | None = None
    """Search, by its name in the store or the beginning of it; the newest where not given."""
    data: str | None = None
    """The images that the search was on, where they are not at the place that it was told."""
    check: bool = True
    """Load what was written again, and compare the number of right answers."""


def main(arguments: list[str] | None = None) -> int:
    """Exports a template; returns the exit code: 0, 2 for bad input."""
    options = tyro.cli(Options, prog="python -m jnas.export", args=arguments)
    try:
        export = export_model(**dataclasses.asdict(options))
    except JnasError as error:
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    print(*export.told, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
