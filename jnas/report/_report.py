"""The page of searches as one file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from jnas._validation import first_line, optional, to_path, to_text, to_tuple
from jnas.errors import JnasError
from jnas.report._html.page import is_report, page_data, render_page, write_file
from jnas.report._html.search_data import MOST_ROWS, SearchPage
from jnas.store import Store, open_store

_MOST_SEARCHES = 8


def write_report(
    store: Store | str | Path = "jnas.duckdb",
    out: str | Path | None = None,
    *,
    experiments: Sequence[str] = (),
) -> Path:
    """Returns the file of a page that shows searches, side by side where there are several; it needs no other file.

    Args:
      store: the results of the searches, or their file.
      out: the HTML file; None for one beside the store, with the same name ending in .html. A page that jnas wrote is
        replaced, anything else never.
      experiments: ids of the searches in the store, or their beginnings; none for the newest search.

    Raises:
      JnasError: if the store cannot be read or does not have the searches, or the file cannot be written.
    """
    names = tuple(to_text("Each of experiments", name) for name in to_tuple("experiments", experiments, "ids"))
    target = optional(to_path)("out", out)
    store = store if isinstance(store, Store) else open_store(store)
    if target is None:
        target = store.path.with_name(store.path.name.removesuffix(".duckdb") + ".html")
    _check_target(target)
    found = list(dict.fromkeys(_find(names, store)))
    if len(found) > _MOST_SEARCHES:
        raise JnasError(f"experiments must be at most {_MOST_SEARCHES}, got {len(found)}; leave some out.")
    searches = [SearchPage(store, name, MOST_ROWS // len(found)).read() for name in found]
    write_file(target, render_page(page_data(searches, is_live=False), inline=True))
    return target


def _check_target(target: Path) -> None:
    if target.suffix.lower() not in (".html", ".htm"):
        raise JnasError(f"The report to write must end in .html, got {target}.")
    if not target.parent.is_dir():
        raise JnasError(f"{target} is in a folder that does not exist: create the folder first.")
    try:
        is_there = target.exists()
    except OSError as error:
        raise JnasError(f"{target} cannot be written ({first_line(error)}): name another file.") from error
    if is_there and not is_report(target):
        raise JnasError(f"{target} exists and is not a report of jnas: name another file with --out.")


def _find(names: Iterable[str], store: Store) -> list[str]:
    """The ids of searches, by their beginnings."""
    searches: pd.Series = store.experiments_df().experiment_id
    if searches.empty:
        raise JnasError(f"{store.path} has no search: run jnas search --store {store.path} first.")
    if not names:
        return [searches.iloc[-1]]
    found = []
    for name in names:
        matches = [id for id in searches if id == name] or [id for id in searches if id.startswith(name)]
        if not matches or len(matches) > 1:
            few = ", ".join(searches.iloc[-3:])
            which = "no search" if not matches else f"{len(matches)} searches"
            raise JnasError(f"{store.path} has {which} {name!r}: give --experiment one of {few}.")
        found.append(matches[0])
    return found
