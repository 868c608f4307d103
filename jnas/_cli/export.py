"""`jnas export`."""

import dataclasses
from dataclasses import dataclass

import tyro

from jnas.export import Format, InputKind, export_model
from jnas.store import paths


@dataclass(frozen=True)
class Options:
    """Write a trained template as a folder of files that need no jnas, in all forms whose packages are installed.

    Each form is loaded again in a fresh process, and must classify as many images correctly as the store says (after
    training in bfloat16: as the weights do; int8: how many more or fewer is said).
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
    format: tuple[Format, ...] = ()
    """Forms to write: flax (code and Orbax weights), onnx, torch (code and safetensors), stablehlo, int8 (ONNX in
    eight-bit integers), or all; by default those whose packages are installed (pip install 'jnas[export]')."""
    input: InputKind = "uint8"
    """What ONNX files take: uint8 [N, H, W, C] from 0 to 255, or float32 [N, C, H, W] from -1 to 1."""
    views: bool = True
    """Classify by the mean over mirror images and moved ones, where the recipe does; with --no-views each image once,
    which is several times faster and a little less accurate."""
    check: bool = True
    """Load the files again, compare how many images they classify correctly, and measure how long they take."""


def run(options: Options) -> None:
    settings = {**dataclasses.asdict(options), "format": options.format or None}
    print(*export_model(**settings).messages, sep="\n")
