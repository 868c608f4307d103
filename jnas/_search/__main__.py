"""The command line: `python -m jnas.search`."""

from __future__ import annotations

import argparse
import os
import sys

import tyro

from jnas._search.config import SearchConfig
from jnas._search.loop import run
from jnas._search.progress import ConsoleProgress
from jnas.errors import JnasError

_STOPPED = "\njnas: stopped. What was trained is kept; run the same command again to go on."


def main(arguments: list[str] | None = None) -> int:
    """Runs a search; returns the exit code: 0, 2 for bad input, 130 where Ctrl-C ended it at once."""
    progress = ConsoleProgress()

    def leave() -> None:
        progress.close()
        print(_STOPPED, file=sys.stderr, flush=True)
        # Not `sys.exit`, which waits for threads that compile or train. What is written is written whole.
        os._exit(130)

    try:
        begin = SearchConfig.of(_preset(sys.argv[1:] if arguments is None else arguments))
        config = tyro.cli(SearchConfig, prog="python -m jnas.search", args=arguments, default=begin)
        run(config, progress=progress, at_once=leave)
    except JnasError as error:
        progress.close()
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.close()
        print(_STOPPED, file=sys.stderr)
        return 130
    return 0


def _preset(arguments: list[str]) -> str | None:
    """What --preset names, looked up before the other options, whose defaults it decides."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")  # without a name is told when all options are read
    name = parser.parse_known_args(arguments)[0].preset
    return None if name == "None" else name


if __name__ == "__main__":
    sys.exit(main())
