"""The export, put together."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import nnx

from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export import _folder as place
from jnas.export import _restore as trained
from jnas.export._codegen import code
from jnas.export._metadata import checked_words, facts, readme
from jnas.export._select import Source, find, opened
from jnas.export._stablehlo import PLATFORMS, stablehlo
from jnas.export._verify import check as checked_facts
from jnas.store import Evaluation, Store
from jnas.train import save_weights


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
      folder: where.
      facts: what `metadata.json` there holds, but for the files' digests.
      told: sentences on what was done, and on what was not.
    """

    folder: Path
    facts: dict[str, Any]
    told: tuple[str, ...]


def export_model(
    store: Store | str | Path = "jnas.duckdb",
    hash: str | None = None,
    out: str | Path | None = None,
    *,
    experiment: str | None = None,
    data: Dataset | Mapping | str | Path | None = None,
    check: bool = True,
) -> Export:
    """Writes a trained template as Orbax weights, as Flax code without jnas, and as StableHLO.

    Args:
      store: the results of a search.
      hash: the template, by its hash or the beginning of it; None for the search's winner. Where its weights are not on
        disk it is trained again, as its row says.
      out: the folder; None for one beside the store, of the same name ending in .export. An earlier export of the same
        template is replaced, anything else never.
      experiment: the search, by its name in the store or the beginning of it; None for the newest.
      data: the images that the search was on, where they are not at the place that it was told.
      check: whether to load the three files in a fresh process; each must give as many right answers as the store says,
        or, after training in bfloat16, as the weights do when they are read again.

    Raises:
      JnasError: something asked for cannot be had, or the check failed; then nothing is written.
    """
    store = store if isinstance(store, Store) else opened(store)
    source = find(store, hash, experiment)
    default = store.path.with_name(store.path.name.removesuffix(".duckdb") + ".export")
    folder = Path(default if out is None else out).expanduser().resolve()
    place.check_free(folder, source.template.hash)
    images, told = None, []
    if check or source.weights is None:
        images, told = _images(source, data)
    if source.weights is not None:
        module, row = trained.from_disk(source), source.row
    else:
        module, row = trained.again(source, images)
        told.append(_trained_again(source.row, row))
    try:
        about = _write(folder, source, module, row, images if check else None)
    except OSError as error:
        raise JnasError(f"{folder} cannot be written ({error}): name another folder with --out.") from error
    if about["checked"]:
        told.append(checked_words(about["checked"]))
    return Export(folder, about, (*told, f"Template {source.template.hash} is in {folder}."))


def _images(source: Source, given: Any) -> tuple[Dataset | None, list[str]]:
    """The search's images, or a sentence that they are not at hand where they are not needed."""
    try:
        return trained.images_of(source, given), []
    except JnasError as error:
        if given is not None:
            raise
        if source.weights is None:
            raise JnasError(
                f"Template {source.template.hash} has no weights on disk, and the images to train it again are not at "
                f"hand: name them with --data. ({error})"
            ) from error
        return None, [f"Not checked, as the images are not at hand: name them with --data. ({error})"]


def _trained_again(old: Evaluation, new: Evaluation) -> str:
    said = "as its row says" if old.val_acc_final == new.val_acc_final else f"its row says {old.val_acc_final:.4f}"
    return (
        f"Its weights were not on disk, so it was trained again: validation accuracy {new.val_acc_final:.4f} after the "
        f"last epoch, {said}."
    )


def _write(folder: Path, source: Source, module: nnx.Module, row: Evaluation, images: Dataset | None) -> dict[str, Any]:
    """Writes and checks everything under another name first; returns the facts."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".jnas-export-") as work:
        draft = Path(work) / "export"
        save_weights(draft / "weights", source.template, module)
        (draft / "model.py").write_text(code(source.template, source.recipe.test_flip))
        (draft / "model.stablehlo").write_bytes(stablehlo(draft / "model.py", source.template.in_shape))
        checked = checked_facts(draft, source, row, images) if images is not None else None
        about = facts(source, row, checked)
        (draft / "README.md").write_text(readme(about, PLATFORMS))
        place.complete(draft, about)
        place.put(draft, folder)
    return about
