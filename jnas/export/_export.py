"""`export_model`: a trained template as a folder of files."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import nnx
from numpy.typing import ArrayLike

from jnas._runtime.checkpoint import METADATA_FILE, file_digests, load_metadata
from jnas._runtime.jax_config import with_own_settings
from jnas._validation import first_line, optional, to_bool, to_path, to_text
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export._codegen import generate_code, generate_stablehlo
from jnas.export._metadata import export_metadata, format_check, readme
from jnas.export._source import TrainedTemplate, load_images, load_module, retrain, select
from jnas.export._verify import verify
from jnas.store import Evaluation, Store, open_store, paths
from jnas.train import save_weights


@dataclass(frozen=True, repr=False)
class Export:
    """What `export_model` wrote: `metadata` is that of the JSON file without digests, `messages` say what was done."""

    folder: Path
    metadata: dict[str, Any]
    messages: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Export({str(self.folder)!r}, template {self.metadata['hash'][:16]}…)"


@with_own_settings
def export_model(
    store: Store | str | Path = paths.DEFAULT_STORE,
    hash: str | None = None,
    out: str | Path | None = None,
    *,
    experiment: str | None = None,
    data: Dataset | Mapping[str, ArrayLike] | tuple | str | Path | None = None,
    check: bool = True,
) -> Export:
    """Writes a trained template as a folder with Orbax weights, Flax code and a StableHLO program; none needs jnas.

    Args:
      store: the results of a search, or their file.
      hash: the template's hash or its beginning; None for the winner of the search. If its weights are not on disk, it
        is trained again, as its evaluation says.
      out: the folder; None for one beside the store, with the same name ending in .export. An unchanged export of the
        same template is replaced, anything else never.
      experiment: the search's id or its beginning; None for the newest search.
      data: the images of the search, or where they are; None for the source that the search was given.
      check: whether to load the three files in a fresh process and compare how many images they classify correctly with
        the store (after training in bfloat16: with the weights).

    Raises:
      JnasError: if the template, its weights or the images are not available, the folder may not be written, or the
        check fails. Then nothing is written.
    """
    hash, experiment = optional(to_text)("hash", hash), optional(to_text)("experiment", experiment)
    out, check = optional(to_path)("out", out), to_bool("check", check)
    store = store if isinstance(store, Store) else open_store(store)
    source = select(store, hash, experiment)
    default = store.path.with_name(store.path.name.removesuffix(".duckdb") + ".export")
    folder = Path(default if out is None else out).resolve()
    _ensure_replaceable(folder, source.template.hash)
    messages: list[str] = []
    images = _load_images(source, data, messages) if check or source.weights is None else None
    if source.weights is not None:
        module, row = load_module(source, source.weights), source.evaluation
    else:
        assert images is not None  # or `_load_images` has raised an error
        module, row = retrain(source, images)
        messages.append(_retrained_message(source.evaluation, row))
    try:
        metadata = _write(folder, source, module, row, images if check else None)
    except OSError as error:
        raise JnasError(f"{folder} cannot be written ({first_line(error)}): name another folder with --out.") from error
    if metadata["check"]:
        messages.append(format_check(metadata["check"]))
    return Export(folder, metadata, (*messages, f"Template {source.template.hash} is in {folder}."))


def _load_images(source: TrainedTemplate, data: Any, messages: list[str]) -> Dataset | None:
    """Returns the images of the search, or None with a message if they are missing and needed for the check only."""
    try:
        return load_images(source, data)
    except JnasError as error:
        if data is not None:
            raise
        if source.weights is None:
            raise JnasError(
                f"Template {source.template.hash} has no weights on disk, and the images to train it again are not "
                f"available ({first_line(error)}): name them with --data."
            ) from error
        messages.append(f"Not checked, as the images are not available ({first_line(error)}): name them with --data.")
        return None


def _retrained_message(old: Evaluation, new: Evaluation) -> str:
    comparison = "as stored" if old.val_acc_final == new.val_acc_final else f"stored: {old.val_acc_final:.4f}"
    return (
        f"The weights were not on disk, so the template was trained again: validation accuracy {new.val_acc_final:.4f} "
        f"after the last epoch ({comparison})."
    )


def _write(folder: Path, source: TrainedTemplate, module: nnx.Module, row: Evaluation, images: Dataset | None) -> dict:
    """Writes and checks all files under another name, then replaces the folder; returns the metadata."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".jnas-export-") as work:
        partial = Path(work) / "export"
        save_weights(partial / "weights", source.template, module)
        (partial / "model.py").write_text(generate_code(source.template, source.recipe.views))
        (partial / "model.stablehlo").write_bytes(generate_stablehlo(partial / "model.py", source.template.in_shape))
        check = verify(partial, source, row, images) if images is not None else None
        metadata = export_metadata(source, row, check)
        (partial / "README.md").write_text(readme(metadata))
        with_digests = metadata | {"files": _exported_digests(partial)}
        (partial / METADATA_FILE).write_text(json.dumps(with_digests, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return metadata


def _ensure_replaceable(folder: Path, hash: str) -> None:
    """Raises a JnasError unless a folder is new, empty, or an unchanged export of the same template."""
    if not folder.parent.is_dir():
        raise JnasError(f"{folder} is in a folder that does not exist: create that folder first.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        metadata = load_metadata(folder)
    except JnasError:
        metadata = {}
    if not isinstance(metadata, dict) or "hash" not in metadata or metadata.get("files") != _exported_digests(folder):
        raise JnasError(
            f"{folder} exists and has more or other files than jnas exported: name another folder with --out; this one "
            "was not changed."
        )
    if metadata["hash"] != hash:
        raise JnasError(
            f"{folder} has the export of another template ({metadata['hash']}): name another folder with --out."
        )


def _exported_digests(folder: Path) -> dict[str, str]:
    """Returns the digests of all files but the metadata, and the bytecode of an imported `model.py`."""
    digests = file_digests(folder).items()
    return {name: digest for name, digest in digests if name != METADATA_FILE and not name.startswith("__pycache__/")}
