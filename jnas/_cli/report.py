"""`jnas report`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from jnas.report import write_report
from jnas.store import paths


@dataclass(frozen=True)
class Options:
    """Write the page of a search, or of several side by side: one HTML file, which needs no other and no network."""

    store: tyro.conf.Positional[str] = paths.DEFAULT_STORE
    """File of a search's results, or the folder that it is in."""
    experiment: tuple[str, ...] = ()
    """Searches, by their ids in the store or the beginnings of these; by default the newest."""
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write; by default index.html in the folder beside the store that a search writes its page to."""


def run(options: Options) -> None:
    path = write_report(options.store, options.out, experiments=options.experiment)
    print(f"Wrote {path}.")
