"""`jnas predict`."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from jnas._runtime.jax_config import with_own_settings
from jnas.data import Fit, read_pictures, to_fit
from jnas.errors import JnasError
from jnas.export import load_module, select
from jnas.store import open_store
from jnas.train import probabilities


@dataclass(frozen=True)
class Options:
    """Classify pictures by the winner of a search, and print the class of each and its probability.

    They are brought to the size of the network as the pictures of training were.
    """

    store: tyro.conf.Positional[str]
    """File of a search's results, or the folder that it is in."""
    files: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures, folders of which all pictures are classified, and .npz, CSV and Parquet files, of which the test images
    are."""
    csv: bool = False
    """Print a CSV table with the columns file, class and probability."""
    json: bool = False
    """Print a JSON list of objects with file, class and probability."""
    fit: Fit | None = None
    """How pictures of another shape come to the network's; by default as in training."""
    hash: str | None = None
    """Template, by its hash or the beginning of it; by default the winner."""
    experiment: str | None = None
    """Search, by its id in the store or the beginning of it; by default the newest."""


@with_own_settings
def run(options: Options) -> None:
    if options.csv and options.json:
        raise JnasError("--csv and --json must not be given together, got both; leave one out.")
    fit = None if options.fit is None else to_fit("fit", options.fit)
    source = select(open_store(options.store), options.hash, options.experiment)
    if source.weights is None:
        raise JnasError(
            f"Template {source.template.hash} must have weights beside {options.store}, got none; run the search "
            "again, which trains its winner again, or move the folder of its weights there."
        )
    settings = json.loads(source.experiment.config_json)
    pictures = read_pictures(options.files, source.template.in_shape, fit or settings.get("fit", "crop"))
    module = load_module(source, source.weights)
    found = probabilities(module, pictures.images, source.recipe.views, source.template.in_shape)
    names = source.class_names or [str(number) for number in range(source.template.classes)]
    rows = [
        {"file": file, "class": names[one.argmax()], "probability": round(float(one.max()), 6)}
        for file, one in zip(pictures.names, found, strict=True)
    ]
    for problem in pictures.problems:
        print(f"jnas: {problem}.", file=sys.stderr)
    _print(rows, options)


def _print(rows: Sequence[dict], options: Options) -> None:
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif options.csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        widths = [max(len(row[name]) for row in rows) for name in ("file", "class")]
        for row in rows:
            print(f"{row['file']:<{widths[0]}}  {row['class']:<{widths[1]}}  {row['probability']:.4f}")
