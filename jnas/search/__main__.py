"""The command line: `python -m jnas.search`."""

from __future__ import annotations

import sys

import tyro

from jnas.errors import JnasError
from jnas.search.config import SearchConfig
from jnas.search.progress import ConsoleProgress
from jnas.search.run import run


def main(arguments: list[str] | None = None) -> int:
    """Runs a search; returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    progress = ConsoleProgress()
    try:
        config = tyro.cli(SearchConfig, prog="python -m jnas.search", args=arguments)
        run(config, progress=progress)
    except JnasError as error:
        progress.close()
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.close()
        print("\njnas: stopped. What was trained is kept; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
