"""The search: its command line is `python -m jnas.search`, its function `jnas.search(...)`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jnas._search.result import SearchResult


def search(data: Any = None, *, verbose: bool = True, **settings: Any) -> SearchResult:
    """Finds a small image classifier: random templates, then filtered ones, then evolved ones.

    Args:
      data: a `Dataset`, or what `load_data` takes: "excerpt", "cifar10", a path, a dictionary of arrays; by default
        those of the preset, or the excerpt.
      verbose: show progress and the final tables.
      **settings: the other fields of `SearchConfig`, which are the options of the command line.

    Returns:
      A `SearchResult`; `.best` is the winner, `.best.build()` its trained Flax module.

    Raises:
      JnasError: something asked for cannot be had, or no template could be trained.
    """
    from dataclasses import fields

    from jnas._search.config import SearchConfig
    from jnas._search.loop import run
    from jnas._search.progress import ConsoleProgress, Progress
    from jnas.data import IN_MEMORY_SOURCE, load_data
    from jnas.errors import JnasError

    unknown = sorted(set(settings) - {field.name for field in fields(SearchConfig)})
    if unknown:
        known = ", ".join(field.name for field in fields(SearchConfig))
        raise JnasError(f"A search has no setting {', '.join(unknown)}: the settings are {known}.")
    if data is not None:
        # What the store notes down as the source; `run` gets the images themselves.
        settings["data"] = data if isinstance(data, str | os.PathLike) else IN_MEMORY_SOURCE
    config = SearchConfig.of(**settings)
    config.check()
    progress = ConsoleProgress() if verbose else Progress()
    try:
        return run(config, load_data(config.data if data is None else data, config.classes), progress)
    finally:
        progress.close()
