"""`jnas evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import tyro

from jnas._search import proposals
from jnas._search.config import Precision, RecipeName, SearchConfig
from jnas.data import Dataset, load_data
from jnas.errors import JnasError
from jnas.report import format_count
from jnas.space import Style, Template
from jnas.store import Evaluation
from jnas.train import RECIPES, EngineOptions, Recipe, evaluate


@dataclass(frozen=True)
class Options:
    """Train templates given by their hashes, or random ones, and print their validation accuracies.

    With --store the results are rows of a file, and templates that it has under the same recipe, on the same images
    and with the same seed are not trained again.
    """

    hashes: tyro.conf.Positional[tuple[str, ...]] = ()
    """Templates to train, by their hashes."""
    random: int = 0
    """Number of random templates to train as well."""
    data: str = SearchConfig.data
    """Images: 'excerpt', 'cifar10', or a path, as for `jnas search`."""
    classes: int | None = None
    """Number of classes; by default the largest training label plus one."""
    store: str | None = None
    """File of the results (DuckDB); by default they are only printed."""
    recipe: RecipeName = "standard"
    """How to train: present practice, or the protocol of Sophius (without its two flaws)."""
    epochs: int | None = None
    """Passes over the training images; by default the recipe's."""
    batch_size: int | None = None
    """Images in a training step; by default the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate; by default the recipe's."""
    val_fraction: float | None = None
    """Fraction of the training images that is kept for validation, 0 to 1; by default the recipe's."""
    precision: Precision = "float32"
    """What networks compute in while training; bfloat16 is for GPUs."""
    space: Style = SearchConfig.space
    """Random templates: as those of Sophius, or modern, as for `jnas search`."""
    conv_num: int = SearchConfig.conv_num
    """Convolution layers of a random template, at most."""
    lin_num: int = SearchConfig.lin_num
    """Linear layers of a random template, at most, the last one included."""
    max_params: int | None = SearchConfig.max_params
    """Learnable parameters of a random template, at most."""
    max_macs: int | None = SearchConfig.max_macs
    """Multiply-accumulates of a random template for one image, at most; 'None' for no limit."""
    compile_timeout: float = SearchConfig.compile_timeout
    """Seconds that a program may take to compile; a template that takes longer fails (timeout)."""
    seed: int = 0
    """Of random templates, initial weights, image order, augmentation and dropout."""


def main(words: list[str]) -> int:
    """Trains templates, and prints a row for each."""
    options = tyro.cli(Options, prog="jnas evaluate", args=words)
    if options.random < 0 or not (options.hashes or options.random):
        raise JnasError(f"Give hashes, or --random with 1 or more, got --random {options.random}.")
    recipe = _recipe(options)
    data = load_data(options.data, options.classes)
    rows = evaluate(
        _templates(options, data),
        data,
        recipe,
        seed=options.seed,
        store=options.store,
        options=EngineOptions(compile_timeout=options.compile_timeout),
    )
    _print(rows)
    return 0


def _recipe(options: Options) -> Recipe:
    names = {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "val_fraction": options.val_fraction,
        "precision": options.precision,
    }
    return RECIPES[options.recipe](**{name: value for name, value in names.items() if value is not None})


def _templates(options: Options, data: Dataset) -> list[Template]:
    """Returns the templates of the hashes, then the random ones, which are different from them."""
    hashes = list(options.hashes)
    if options.random:
        # One place that checks and makes the space of random templates.
        limits = {name: getattr(options, name) for name in ("space", "conv_num", "lin_num", "max_params", "max_macs")}
        config = SearchConfig(seed=options.seed, **limits)
        space = config.search_space(data)
        key = jax.random.key(options.seed)
        hashes += [choice.hash for choice in proposals.random(space, key, options.random, set(hashes))]
    return [Template.from_hash(hash, data.in_shape, data.classes) for hash in hashes]


def _print(rows: Sequence[Evaluation]) -> None:
    """Prints one line a template, the hash last and whole, so that it can be copied."""
    print(f"{'val acc':>8}{'train acc':>11}{'params':>8}{'MACs':>8}{'seconds':>9}  {'status':<14} hash")
    for row in rows:
        val_acc, train_acc = (
            "-" if value is None else f"{value:.4f}" for value in (row.val_acc_final, row.train_acc_final)
        )
        params, macs = ("-" if value is None else format_count(value) for value in (row.params, row.macs))
        seconds = row.compile_seconds + row.train_seconds
        line = f"{val_acc:>8}{train_acc:>11}{params:>8}{macs:>8}{seconds:>9.1f}  {row.status:<14} {row.key.hash}"
        print(f"{line} ({row.message})" if row.message else line)
