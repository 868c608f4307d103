"""Takes a picture of the page of a search with the system's Chromium: that of the README is one.

python benchmarks/report_picture.py jnas.duckdb picture.png --parts progress front
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import browser

import jnas


def take_picture(store: str | Path, out: str | Path, parts: list[str], width: int = 1280, dark: bool = False) -> Path:
    """Writes a PNG of parts of the page of the newest search in a store, one below the other; returns its path."""
    with tempfile.TemporaryDirectory() as folder, browser.Browser(width, dark=dark) as page:
        page.open(jnas.write_report(store, Path(folder, "page.html")))
        hidden = f"section:not({', '.join(f'#{part}' for part in parts)}), header, footer"
        page.run(f"document.querySelectorAll({hidden!r}).forEach(element => element.remove())")
        page.run("window.dispatchEvent(new Event('beforeprint'))")
        drawn = "[...document.querySelectorAll('.chart')].every(figure => figure.hidden || figure.querySelector('svg'))"
        page.wait(lambda: page.run(drawn))
        page.screenshot(Path(out), "main")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("out")
    parser.add_argument("--parts", nargs="+", default=["overview", "progress", "front", "winner"])
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    if browser.PATH is None:
        sys.exit("There is no Chromium: apt-get install chromium.")
    options = parser.parse_args()
    print(take_picture(**vars(options)))
