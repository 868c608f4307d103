"""`jnas export`."""

import dataclasses
from dataclasses import dataclass

import tyro

from jnas.export import export_model
from jnas.store import paths


@dataclass(frozen=True)
class Options:
    """Write a trained template as a folder: Orbax weights, plain Flax code (model.py), and StableHLO (model.stablehlo).

    All three are loaded again in a fresh process, and must classify as many images correctly as the store says (after
    training in bfloat16: as the weights do).
    """

    store: tyro.conf.Positional[str] = paths.DEFAULT_STORE
    """File of a search's results, or the folder that it is in."""
    hash: str | None = None
    """Template, by its hash or the beginning of it; by default the winner. A template without weights on disk is
    trained again, as its row says."""
    out: str | None = None
    """Folder to write; by default beside the store, of the same name ending in .export."""
    experiment: str | None = None
    """Search, by its id in the store or the beginning of it; by default the newest."""
    data: str | None = None
    """Images of the search, if they are no longer where the store says."""
    check: bool = True
    """Load the files again, and compare how many images they classify correctly."""


def run(options: Options) -> None:
    print(*export_model(**dataclasses.asdict(options)).messages, sep="\n")
