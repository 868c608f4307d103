"""`jnas search`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from dataclasses import dataclass

import tyro

from jnas._search.config import SearchConfig
from jnas._search.loop import run
from jnas._search.presets import PresetName
from jnas._search.progress import ConsoleProgress

_STOPPED = "\njnas: stopped. What was trained is kept; run the same command again to go on."


@dataclass(frozen=True)
class Options(SearchConfig):
    """Find a small image classifier: random templates, then screened ones, then evolved ones.

    Phase 1 trains random templates. Phase 2 fits LSTMs to their validation accuracies, and trains the best of many
    random candidates by their predictions. Phase 3 evolves candidates against the LSTMs, and trains the best of each
    generation. The winner by validation accuracy is trained again, for longer, and only then tested.

    Run the same command on the same store again, and the search goes on where it stopped.
    """

    preset: PresetName | None = None
    """Settings to begin with, which other options change. 'record': all of CIFAR-10 on one GPU, for more than 0.9."""

    def __post_init__(self) -> None:
        """Checks nothing: tyro would wrap the sentence of the error in words of its own. `config` does."""

    def config(self) -> SearchConfig:
        """Returns the settings, checked."""
        return SearchConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(SearchConfig)})


def main(words: list[str]) -> int:
    """Runs a search; a second Ctrl-C ends it at once."""
    progress = ConsoleProgress()

    def leave() -> None:
        progress.close()
        print(_STOPPED, file=sys.stderr, flush=True)
        # Not `sys.exit`, which waits for threads that compile or train. What is written is written whole.
        os._exit(130)

    defaults = SearchConfig.from_preset(_preset(words))
    options = tyro.cli(Options, prog="jnas search", args=words, default=Options(**dataclasses.asdict(defaults)))
    try:
        run(options.config(), progress=progress, on_second_interrupt=leave)
    except KeyboardInterrupt:
        progress.close()
        print(_STOPPED, file=sys.stderr)
        return 130
    finally:
        progress.close()
    return 0


def _preset(words: list[str]) -> PresetName | None:
    """Returns the value of --preset, which decides the defaults of the other options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")  # tyro reports a missing value when it reads all options
    name = parser.parse_known_args(words)[0].preset
    return None if name == "None" else name
