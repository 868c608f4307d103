"""The page itself: one HTML file with all in it, or a live one beside which are the data and plotly's JavaScript."""

import importlib.resources
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jnas._validation import first_line
from jnas.errors import JnasError
from jnas.report._html.json_script import to_json

DATA_FILE, PLOTLY_FILE = "data.js", "plotly.min.js"
_MARK = '<meta name="generator" content="jnas">'
_SCRIPTS = ("base.js", "overview.js", "front.js", "networks.js", "insights.js", "table.js", "page.js")
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' 'self' file: blob:; style-src 'unsafe-inline'; "
_POLICY += "img-src 'self' data: blob:; connect-src 'none'"
"""Nothing may be requested from elsewhere, whatever is in the page."""


def page_data(searches: Sequence[dict[str, Any]], is_live: bool, **status: Any) -> str:
    """Returns the data of a page as JSON: searches, whether more is to come, when it was written, and `status`."""
    return to_json({"searches": searches, "is_live": is_live, "written_at": time.time(), **status})


def render_page(data: str, inline: bool) -> str:
    """Returns the HTML of a page; where it is not `inline`, it loads plotly and its data from files beside it."""
    plotly = f"<script>{plotly_script()}</script>" if inline else f'<script src="{PLOTLY_FILE}"></script>'
    scripts = "\n".join(map(_asset, _SCRIPTS))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{_MARK}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,"><title>jnas</title>
<style>{_asset("page.css")}</style></head><body>
{_asset("page.html")}<script>window.jnasData = {data};</script>
<script>(() => {{
{scripts}
}})();</script>
{plotly}</body></html>
"""


def data_script(data: str) -> str:
    """Returns the file that a live page loads again and again."""
    return f"window.jnasUpdate({data});\n"


def plotly_script() -> str:
    """Returns plotly's JavaScript, of the Python package."""
    return (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Makes a folder, if it is missing, within one that exists; raises a `JnasError` if it cannot be made."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise JnasError(f"{folder} cannot be made ({first_line(error)}): name a folder that can be written.") from error


def write_file(path: Path, text: str) -> None:
    """Writes a whole file, or leaves it as it was and raises a `JnasError`."""
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise JnasError(
            f"{path} cannot be written ({first_line(error)}): make sure that it can be, and that the disk has room."
        ) from error


def is_report(path: Path) -> bool:
    """Returns whether a file is a page that jnas wrote."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _MARK in file.read(200)
    except OSError:
        return False


def _asset(name: str) -> str:
    return (importlib.resources.files("jnas.report._html") / "assets" / name).read_text(encoding="utf-8")
