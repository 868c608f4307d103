"""Where progress is printed, or logged."""

import contextlib
import importlib.util
import io
import logging
import sys
from typing import IO, Any, cast

from rich.console import Console

LOGGER = logging.getLogger("jnas")


class _Output(io.TextIOBase):
    """`sys.stdout` as it is by then: what it cannot hold is replaced, and nothing is said once nobody reads it."""

    def write(self, text: str) -> int:
        encoding = self.encoding
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a closed pipe, a closed file, none at all
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(ValueError, AttributeError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def _stream(self) -> Any:
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # a live bar of Rich puts itself before it


def make_console(quiet: bool = False) -> Console:
    """Returns a console for standard output; in a notebook without ipywidgets, which a live bar needs, a plain one."""
    is_plain = Console().is_jupyter and importlib.util.find_spec("ipywidgets") is None
    no = False if is_plain else None  # None: Rich looks for itself
    file = cast("IO[str]", _Output())
    return Console(file=file, highlight=False, quiet=quiet, force_jupyter=no, force_terminal=no)


def is_logging() -> bool:
    """Returns whether the program has set up logging so that it shows what jnas does (level INFO)."""
    return LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers()


def say(console: Console, what: object) -> None:
    """Logs a line or a table of Rich where logging is set up for that; else prints it, as it is.

    Lines are wrapped by the terminal, so that they can be copied whole.
    """
    if not is_logging():
        console.print(what, markup=False, soft_wrap=isinstance(what, str))
        return
    text = io.StringIO()
    Console(file=text, width=120).print(what, markup=False, highlight=False, soft_wrap=isinstance(what, str))
    LOGGER.info("%s", text.getvalue().rstrip())


def is_live(console: Console) -> bool:
    """Returns whether a console can show a bar that moves."""
    return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
