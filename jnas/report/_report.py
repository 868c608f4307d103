"""The page of searches as one file."""

from collections.abc import Sequence
from pathlib import Path

from jnas._validation import first_line, optional, to_path, to_text, to_tuple
from jnas.errors import JnasError
from jnas.report._html.page import is_report, make_folder, page_data, render_page, write_file
from jnas.report._html.search_data import MOST_ROWS, SearchPage
from jnas.store import Store, find_experiment, open_store, paths

_MOST_SEARCHES = 8


def write_report(
    store: Store | str | Path = paths.DEFAULT_STORE,
    out: str | Path | None = None,
    *,
    experiments: Sequence[str] = (),
) -> Path:
    """Returns the file of a page that shows searches, side by side where there are several; it needs no other file.

    Args:
      store: the results of the searches, their file, or the folder that it is in.
      out: the HTML file; None for index.html in the folder beside the store that a search writes its page to. A page
        that jnas wrote is replaced, anything else never.
      experiments: ids of the searches in the store, or their beginnings; none for the newest search.

    Raises:
      JnasError: if the store cannot be read or does not have the searches, or the file cannot be written.
    """
    names = tuple(to_text("Each of experiments", name) for name in to_tuple("experiments", experiments, "ids"))
    target = optional(to_path)("out", out)
    store = store if isinstance(store, Store) else open_store(store)
    if target is None:
        target = paths.report_dir(store.path) / "index.html"
    _check_target(target, is_own=out is None)
    found = list(dict.fromkeys(find_experiment(store, name).experiment_id for name in names or (None,)))
    if len(found) > _MOST_SEARCHES:
        raise JnasError(f"experiments must be at most {_MOST_SEARCHES}, got {len(found)}; leave some out.")
    searches = [SearchPage(store, name, MOST_ROWS // len(found)).read() for name in found]
    if out is None:
        make_folder(target.parent)
    write_file(target, render_page(page_data(searches, is_live=False), inline=True))
    return target


def _check_target(target: Path, is_own: bool) -> None:
    if target.suffix.lower() not in (".html", ".htm"):
        raise JnasError(f"The report to write must end in .html, got {target}.")
    if not is_own and not target.parent.is_dir():
        raise JnasError(f"{target} is in a folder that does not exist: create the folder first.")
    try:
        is_there = target.exists()
    except OSError as error:
        raise JnasError(f"{target} cannot be written ({first_line(error)}): name another file.") from error
    if is_there and not is_report(target):
        raise JnasError(f"{target} exists and is not a report of jnas: name another file with --out.")
