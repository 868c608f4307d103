"""The page of a search that runs: it is written by the search, as nobody else may open the store meanwhile."""

import time
from pathlib import Path

from jnas._runtime.console import LOGGER
from jnas._validation import to_path
from jnas.errors import JnasError
from jnas.report._html.page import (
    DATA_FILE,
    PLOTLY_FILE,
    data_script,
    is_report,
    make_folder,
    page_data,
    plotly_script,
    render_page,
    write_file,
)
from jnas.report._html.search_data import SearchPage
from jnas.store import Store

_LARGEST_SHARE = 0.01
"""Of a search's time that may go into its page."""
_MIN_SECONDS = 2.0
"""Between two updates."""


class LiveReport:
    """The page `index.html` in a folder, live while a search runs, complete and self-contained once it is finished.

    While it runs, the page loads plotly's JavaScript once and `data.js` every few seconds, both from files beside it.
    What goes wrong once the search runs (a full disk, a store that cannot be read) is logged, and never ends it.

    Args:
      store: where the search keeps its rows.
      experiment: the id of the search, which the store must have.
      folder: where to write; it is made if it is missing, within a folder that exists.

    Raises:
      JnasError: if the folder cannot be written, has an `index.html` that jnas did not write, or the store does not
        have the search.
    """

    def __init__(self, store: Store, experiment: str, folder: str | Path) -> None:
        self.folder = to_path("folder", folder)
        self.path = self.folder / "index.html"
        self._search = SearchPage(store, experiment)
        self._next = 0.0
        if self.path.exists() and not is_report(self.path):
            raise JnasError(f"{self.path} is not a report of jnas: name another folder, this file was not changed.")
        make_folder(self.folder)
        data = page_data([self._search.read()], is_live=True)
        write_file(self.folder / PLOTLY_FILE, plotly_script())
        write_file(self.folder / DATA_FILE, data_script(data))
        write_file(self.path, render_page(data, inline=False))

    def update(self, note: str = "", seconds_left: float | None = None, force: bool = False) -> bool:
        """Returns whether new data were written: at most every two seconds, and within 1 % of the time.

        Call it whenever something has happened, such as a template that is trained.

        Args:
          note: what the search does now, in a few words.
          seconds_left: until the search ends; None where nobody knows.
          force: write it in any case, such as before the winner is trained, when nothing happens for long.
        """
        start = time.monotonic()
        if start < self._next and not force:
            return False
        try:
            data = page_data([self._search.read()], is_live=True, note=note, seconds_left=seconds_left)
            write_file(self.folder / DATA_FILE, data_script(data))
        except JnasError as error:
            LOGGER.warning("The page of the search was not updated: %s", error)
            return False
        finally:
            end = time.monotonic()
            self._next = end + max(_MIN_SECONDS, (end - start) / _LARGEST_SHARE)
        return True

    def finish(self) -> Path | None:
        """Returns the page, with all in the one file; None if it could not be written, which is logged.

        A page that is open shows the end, too: the last `data.js` stays.
        """
        try:
            data = page_data([self._search.read()], is_live=False)
            write_file(self.path, render_page(data, inline=True))
            write_file(self.folder / DATA_FILE, data_script(data))
        except JnasError as error:
            LOGGER.warning("The page of the search was not finished: %s", error)
            return None
        (self.folder / PLOTLY_FILE).unlink(missing_ok=True)
        return self.path
