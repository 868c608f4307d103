"""`jnas show`."""

import json
from dataclasses import dataclass

import tyro

from jnas._runtime.console import make_console
from jnas._search import opening
from jnas._search.summary import describe_result, result_to_json
from jnas.store import paths


@dataclass(frozen=True)
class Options:
    """Print what a search found, or has found so far: the best networks, the winner and what it is better than."""

    store: tyro.conf.Positional[str] = paths.DEFAULT_STORE
    """File of a search's results, or the folder that it is in."""
    experiment: str | None = None
    """Search, by its id in the store or the beginning of it; by default the newest."""
    json: bool = False
    """Print one object for programs, with accuracies as fractions and times in seconds."""


def run(options: Options) -> None:
    result = opening.open(options.store, options.experiment)
    if options.json:
        print(json.dumps(result_to_json(result), indent=2))
        return
    console = make_console()
    for part in describe_result(result):
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
