"""`jnas report`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from jnas.report import write_report


@dataclass(frozen=True)
class Options:
    """Write the page of a search, or of several side by side: one HTML file, which needs no other and no network."""

    store: tyro.conf.Positional[str] = "jnas.duckdb"
    """File of a search's results."""
    experiment: tuple[str, ...] = ()
    """Searches, by their ids in the store or the beginnings of these; by default the newest."""
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write; by default beside the store, of the same name ending in .html."""


def run(options: Options) -> None:
    path = write_report(options.store, options.out, experiments=options.experiment)
    print(f"Wrote {path}.")
