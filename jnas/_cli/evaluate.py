"""`jnas evaluate`."""

from dataclasses import dataclass

import jax
import tyro

from jnas._runtime.jax_config import with_own_settings
from jnas._search.config import TrainingConfig
from jnas._search.screening import propose_random
from jnas._validation import to_int, to_seed
from jnas.data import Dataset, load_data
from jnas.errors import JnasError
from jnas.report import format_count
from jnas.space import Template
from jnas.store import Evaluation
from jnas.train import EngineOptions, evaluate

_MOST_RANDOM = 100_000


@dataclass(frozen=True)
class Options(TrainingConfig):
    """Train templates given by their hashes, or random ones, and print their validation accuracies.

    With --store the results are rows of a file, and templates that it has under the same recipe, on the same images
    and with the same seed are not trained again.
    """

    hashes: tyro.conf.Positional[tuple[str, ...]] = ()
    """Templates to train, by their hashes."""
    random: int = 0
    """Number of random templates to train as well."""
    store: str | None = None
    """File of the results (DuckDB); by default they are only printed."""
    epochs: int | None = None
    """Passes over the training images; by default the recipe's."""


@with_own_settings
def run(options: Options) -> None:
    """Trains templates, and prints a line for each, with the hash last and whole, so that it can be copied."""
    to_int("random", options.random, 0, _MOST_RANDOM)
    if not (options.hashes or options.random):
        raise JnasError("hashes must be one or more, or --random 1 or more, got none.")
    to_seed("seed", options.seed)
    recipe = options.make_recipe(options.epochs)
    data = load_data(options.data, options.classes, size=options.size, fit=options.fit)
    templates = _templates(options, data)
    engine = EngineOptions(compile_timeout=options.compile_timeout, workers=options.workers)
    rows = evaluate(templates, data, recipe, seed=options.seed, store=options.store, options=engine)
    for note in data.notes:
        print(note)
    print(f"{'val acc':>8}{'train acc':>11}{'params':>8}{'MACs':>8}{'seconds':>9}  {'status':<14} hash")
    for row in rows:
        print(_format_row(row))


def _templates(options: Options, data: Dataset) -> list[Template]:
    """Returns the templates of the hashes, then the random ones, which are different from them."""
    templates = [Template.from_hash(hash, data.in_shape, data.classes) for hash in options.hashes]
    space = options.search_space(data)
    if options.random:
        key = jax.random.key(options.seed)
        proposals = propose_random(space, key, options.random + len(options.hashes), set())
        others = [p.candidate.template for p in proposals if p.candidate.hash not in options.hashes]
        templates += others[: options.random]
    return templates


def _format_row(row: Evaluation) -> str:
    accuracies = (row.val_acc_final, row.train_acc_final)
    val_acc, train_acc = ("-" if value is None else f"{value:.4f}" for value in accuracies)
    params, macs, seconds = format_count(row.params), format_count(row.macs), row.compile_seconds + row.train_seconds
    line = f"{val_acc:>8}{train_acc:>11}{params:>8}{macs:>8}{seconds:>9.1f}  {row.status:<14} {row.key.hash}"
    return f"{line} ({row.message})" if row.message else line
