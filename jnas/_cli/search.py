"""`jnas search`."""

import argparse
import dataclasses
import os
import sys
from dataclasses import dataclass

from jnas._search.api import search
from jnas._search.callbacks import Callback
from jnas._search.config import PresetName, SearchConfig

_STOPPED = "\njnas: stopped. What was trained is kept; run the same command again to go on."


@dataclass(frozen=True)
class Options(SearchConfig):
    __doc__ = SearchConfig.__doc__

    preset: PresetName | None = None
    """Settings to begin with, which other options change. 'gpu': all of CIFAR-10 on one GPU."""
    quiet: bool = False
    """Print nothing but errors; `jnas show` prints the result."""

    def __post_init__(self) -> None:
        """Checks nothing: tyro would wrap the sentence of the error in words of its own. `config` does."""

    def config(self) -> SearchConfig:
        """Returns the settings, checked."""
        return SearchConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(SearchConfig)})


class EndAtOnce(Callback):
    """Ends the process at the second Ctrl-C."""

    def on_second_interrupt(self) -> None:
        print(_STOPPED, file=sys.stderr, flush=True)
        # Not `sys.exit`, which waits for threads that compile or train. What is written is written whole.
        os._exit(130)


def defaults(words: list[str]) -> Options:
    """Returns the settings of the preset that the words of a command name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")  # tyro reports a missing value when it reads all options
    name = parser.parse_known_args(words)[0].preset
    return Options(**dataclasses.asdict(SearchConfig.from_preset(None if name == "None" else name)))


def run(options: Options) -> int:
    try:
        search(config=options.config(), callbacks=[EndAtOnce()], verbose=not options.quiet)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        return 130
    return 0
