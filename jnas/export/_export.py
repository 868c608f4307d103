"""`export_model`: a trained template as a folder of files."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import ArrayLike

from jnas._runtime.jax_config import with_own_settings
from jnas._search.stored_images import StoredImages
from jnas._validation import first_line, optional, to_bool, to_path, to_text
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.export._card import format_check, format_speed, model_card
from jnas.export._facts import FACTS_FILE, export_facts, file_sizes
from jnas.export._folder import ensure_replaceable, exported_digests
from jnas.export._forms import Format, FormName, GraphOptions, Options, make_options
from jnas.export._latencies import measure_latencies
from jnas.export._source import TrainedTemplate, load_module, retrain, select
from jnas.export._trained import TrainedModel
from jnas.export._verify import verify
from jnas.export._write import remove_unwanted, write_forms
from jnas.store import Evaluation, Store, open_store, paths


@dataclass(frozen=True, repr=False)
class Export:
    """What `export_model` wrote: `metadata` is what facts.json has, without digests, `messages` say what was done."""

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
    format: Format | Iterable[Format] | None = None,
    check: bool = True,
    **graph: Unpack[GraphOptions],
) -> Export:
    """Writes a trained template as a folder of files that need no jnas, and returns what was written.

    Args:
      store: the results of a search, or their file.
      hash: the template's hash or its beginning; None for the winner of the search. If its weights are not on disk, it
        is trained again, as its evaluation says.
      out: the folder; None for one beside the store, with the same name ending in .export. An unchanged export of the
        same template is replaced, anything else never.
      experiment: the search's id or its beginning; None for the newest search.
      data: the images of the search, or where they are; None for the source that the search was given.
      format: "flax" (code and Orbax weights), "stablehlo", "onnx", "int8" (ONNX in eight-bit integers), "torch" (code
        and safetensors), several of them, or "all"; None for those whose packages are installed.
      check: whether to load each form in a fresh process, compare how many images it classifies correctly with the
        store (after training in bfloat16: with the weights), and measure how long it takes.
      **graph: `input`, what the ONNX files take: "uint8" for pixels `[N, H, W, C]`, which they normalise, or "float32"
        for pixels `[N, C, H, W]` from -1 to 1; `views`, False to classify each image once, as it is, where the recipe
        averages over mirror images or moved ones.

    Raises:
      JnasError: if the template, its weights, the images or packages are not available, the folder may not be written,
        or the check fails. Then nothing is written.
    """
    hash, experiment = optional(to_text)("hash", hash), optional(to_text)("experiment", experiment)
    out, check = optional(to_path)("out", out), to_bool("check", check)
    options, left_out = make_options(format, **graph)
    store = store if isinstance(store, Store) else open_store(store)
    source = select(store, hash, experiment)
    default = store.path.with_name(store.path.name.removesuffix(".duckdb") + ".export")
    folder = Path(default if out is None else out).resolve()
    ensure_replaceable(folder, source.template.hash)
    messages = [left_out] if left_out else []
    images, options = _load_images(source, data, options, check, messages)
    trained = _load_or_train(source, images, options, messages)
    try:
        facts = _write(folder, trained, check and images is not None)
    except OSError as error:
        raise JnasError(f"{folder} cannot be written ({first_line(error)}): name another folder with --out.") from error
    if facts["check"]:
        messages += [format_check(facts["check"], facts), format_speed(facts)]
    return Export(folder, facts, (*messages, f"Template {source.template.hash} is in {folder}."))


def _load_images(
    source: TrainedTemplate, data: Any, options: Options, check: bool, messages: list[str]
) -> tuple[Dataset | None, Options]:
    """Returns the images of the search, or None with a message if they are missing and can be done without.

    Without them int8, which is calibrated on them, is left out of the options.
    """
    try:
        return StoredImages(source.experiment).load(data), options
    except JnasError as error:
        if data is not None:
            raise
        if source.weights is None:
            raise JnasError(
                f"Template {source.template.hash} has no weights on disk, and the images to train it again are not "
                f"available ({first_line(error)}): name them with --data."
            ) from error
        forms = tuple[FormName, ...](form for form in options.forms if form != "int8")
        if not forms:
            raise JnasError(
                f"The form int8 needs training images, which are not available ({first_line(error)}): name them with "
                "--data."
            ) from error
        lost = " Left out: int8, which is calibrated on them." if forms != options.forms else ""
        if check or lost:
            messages.append(
                f"Not checked, as the images are not available ({first_line(error)}): name them with --data.{lost}"
            )
        return None, dataclasses.replace(options, forms=forms)


def _load_or_train(
    source: TrainedTemplate, images: Dataset | None, options: Options, messages: list[str]
) -> TrainedModel:
    if source.weights is not None:
        return TrainedModel(source, load_module(source, source.weights), source.evaluation, images, options)
    assert images is not None  # or `_load_images` has raised an error
    module, row = retrain(source, images)
    messages.append(_retrained_message(source.evaluation, row))
    return TrainedModel(source, module, row, images, options)


def _retrained_message(old: Evaluation, new: Evaluation) -> str:
    comparison = "as stored" if old.val_acc_final == new.val_acc_final else f"stored: {old.val_acc_final:.4f}"
    return (
        f"The weights were not on disk, so the template was trained again: validation accuracy {new.val_acc_final:.4f} "
        f"after the last epoch ({comparison})."
    )


def _write(folder: Path, trained: TrainedModel, check: bool) -> dict:
    """Writes and checks all files under another name, then replaces the folder; returns the facts."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".jnas-export-") as work:
        partial = Path(work) / "export"
        write_forms(partial, trained)
        checked = verify(partial, trained) if check else None
        latencies = measure_latencies(partial, trained) if check else []
        remove_unwanted(partial, trained.options.forms)
        facts = export_facts(trained, checked, latencies)
        facts["sizes"] = file_sizes(partial)
        (partial / "README.md").write_text(model_card(facts, facts["sizes"]))
        with_digests = facts | {"files": exported_digests(partial)}
        (partial / FACTS_FILE).write_text(json.dumps(with_digests, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return facts
