"""`jnas search`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from dataclasses import dataclass

import tyro

from jnas._search.api import search
from jnas._search.config import PresetName, SearchConfig
from jnas._search.progress import ConsoleProgress

_STOPPED = "\njnas: stopped. What was trained is kept; run the same command again to go on."


@dataclass(frozen=True)
class Options(SearchConfig):
    __doc__ = SearchConfig.__doc__

    preset: PresetName | None = None
    """Settings to begin with, which other options change. 'record': all of CIFAR-10 on one GPU, for more than 0.9."""

    def __post_init__(self) -> None:
        """Checks nothing: tyro would wrap the sentence of the error in words of its own. `config` does."""

    def config(self) -> SearchConfig:
        """Returns the settings, checked."""
        return SearchConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(SearchConfig)})


class CommandProgress(ConsoleProgress):
    """The console of the command, which a second Ctrl-C ends at once."""

    def on_second_interrupt(self) -> None:
        self.close()
        print(_STOPPED, file=sys.stderr, flush=True)
        # Not `sys.exit`, which waits for threads that compile or train. What is written is written whole.
        os._exit(130)


def main(words: list[str]) -> int:
    """Runs a search."""
    defaults = SearchConfig.from_preset(_preset(words))
    options = tyro.cli(Options, prog="jnas search", args=words, default=Options(**dataclasses.asdict(defaults)))
    try:
        search(config=options.config(), progress=CommandProgress())
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        return 130
    return 0


def _preset(words: list[str]) -> PresetName | None:
    """Returns the value of --preset, which decides the defaults of the other options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")  # tyro reports a missing value when it reads all options
    name = parser.parse_known_args(words)[0].preset
    return None if name == "None" else name
