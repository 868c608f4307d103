"""Many templates trained one after another, each a row: what was trained before is looked up, failures are rows too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax

from jnas.data import Dataset, Split, load_data
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train.cache import use_compilation_cache
from jnas.train.recipe import Recipe
from jnas.train.trainer import Trained, Trainer, check_batch, lanes


def evaluate(
    templates: Iterable[Template],
    data: Dataset | Mapping | str | Path = "excerpt",
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    split_seed: int = 0,
    store: Store | str | Path | None = None,
    on_result: Callable[[Evaluation], None] | None = None,
) -> list[Evaluation]:
    """Trains each template and measures its validation accuracy.

    Args:
      templates: any mix of architectures.
      data: a `Dataset`, or what `load_data` takes.
      recipe: how to train; `Recipe.standard()` by default.
      seed: of initial weights, image order, augmentation and dropout.
      split_seed: which training images are kept for validation.
      store: a `Store` or its path. Rows that it has are not trained again, except those that an error or a lack of
        memory ended; each new one is written as it is done.
      on_result: called with each row, in order.

    Returns:
      One `Evaluation` a template, in order. A template that fails is a row with another status than "ok".

    Raises:
      JnasError: the recipe does not suit the data at all, such as a batch larger than the training set.
    """
    data = load_data(data)
    recipe = recipe or Recipe.standard()
    store = store if store is None or isinstance(store, Store) else Store(store)
    templates = list(templates)
    split = data.split(recipe.validation, split_seed)
    keys = [key_of(template, recipe, data, split_seed, seed) for template in templates]
    results = []
    for row in evaluate_each(templates, keys, recipe, split, store):
        results.append(row)
        if on_result:
            on_result(row)
    return results


def evaluate_each(
    templates: Sequence[Template],
    keys: Sequence[Key],
    recipe: Recipe,
    split: Split,
    store: Store | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Iterator[Evaluation]:
    """The row of each template in turn, the next one compiling while the present one trains.

    Compiling releases Python's lock, so one thread is enough to keep the device busy while XLA works.

    Raises:
      JnasError: the recipe does not suit the images.
    """
    check_batch(recipe, split)
    use_compilation_cache()
    found = store.find(keys) if store else {}
    rows = {key: row for key, row in found.items() if row.lasting}
    missing = {key: template for key, template in zip(keys, templates, strict=True) if key not in rows}
    jobs = (_Job(template, key, recipe, split) for key, template in missing.items())
    with ThreadPoolExecutor(max_workers=1) as compiler:
        job = next(jobs, None)
        compiling = job and compiler.submit(job.compile)
        for key in keys:
            if key not in rows:
                compiling.result()
                following = next(jobs, None)
                compiling = following and compiler.submit(following.compile)
                rows[key] = job.run(on_epoch)
                job = following  # the last one goes, with its program and weights
                if store:
                    store.add([rows[key]], recipe.to_json())
            yield rows[key]


def evaluate_one(
    template: Template, key: Key, recipe: Recipe, split: Split, on_epoch: Callable[[int], None] | None = None
) -> tuple[Evaluation, tuple[Trainer, Trained] | None]:
    """One template trained: its row, and the trainer with what it left (None where it failed).

    Raises:
      JnasError: the recipe does not suit the images.
    """
    check_batch(recipe, split)
    use_compilation_cache()
    job = _Job(template, key, recipe, split)
    job.compile()
    row = job.run(on_epoch)
    return row, (job.trainer, job.trained) if row.status == "ok" else None


class _Job:
    """A template on its way to a row. Whatever goes wrong on the way is the row: a template never ends a search."""

    def __init__(self, template: Template, key: Key, recipe: Recipe, split: Split):
        self.template, self.key, self.recipe, self.split = template, key, recipe, split
        self.trainer: Trainer | None = None
        self.trained: Trained | None = None
        self.compile_seconds = 0.0
        self.failure: tuple[str, str] | None = None

    def compile(self) -> None:
        """What may run in another thread."""
        height, width, channels = self.split.x_train.shape[1:]
        if self.template.in_shape != (channels, height, width):
            message = f"the template is for images of {self.template.in_shape}, not {(channels, height, width)}"
            self.failure = "invalid", message
            return
        if self.template.classes != self.split.classes:
            message = f"the template is for {self.template.classes} classes, not {self.split.classes}"
            self.failure = "invalid", message
            return
        try:
            self.trainer = Trainer(self.template, self.recipe, self.split)
            self.compile_seconds = self.trainer.compile()
        except Exception as error:
            self.failure = _failure(error)

    def run(self, on_epoch: Callable[[int], None] | None) -> Evaluation:
        """Trains what was compiled."""
        if self.failure is None:
            report = (lambda number, _: on_epoch(number)) if on_epoch else None
            lane = lanes(self.key.seed, self.recipe.learning_rate, self.recipe.weight_decay)
            try:
                self.trained = self.trainer.train(lane, report)
            except Exception as error:
                self.failure = _failure(error)
        return self._row()

    def _row(self) -> Evaluation:
        cost = self.template.cost
        row = {"key": self.key, "params": cost.params, "macs": cost.macs, "flops": cost.flops}
        row |= {"device": device_name(), "compile_seconds": self.compile_seconds}
        if self.failure is not None:
            status, message = self.failure
            return Evaluation(**row, status=status, message=message)
        (epochs,) = self.trained.epochs
        row |= {"train_seconds": self.trained.seconds, "epochs": tuple(epochs)}
        if not math.isfinite(epochs[-1].train_loss):
            message = f"the loss stopped being a number in epoch {len(epochs)}"
            return Evaluation(**row, status="nan", message=message)
        return Evaluation(
            **row,
            val_acc_final=epochs[-1].val_acc,
            val_acc_max=max(epoch.val_acc for epoch in epochs),
            train_acc_final=epochs[-1].train_acc,
        )


def _failure(error: Exception) -> tuple[str, str]:
    """The status and the first line of what was raised."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    memory = "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError)
    return "out_of_memory" if memory else "error", text


def key_of(template: Template, recipe: Recipe, data: Dataset, split_seed: int, seed: int) -> Key:
    """The key of an evaluation."""
    shape = "x".join(map(str, template.in_shape))
    return Key(template.hash, shape, template.classes, recipe.id, data.fingerprint, split_seed, seed)


def device_name() -> str:
    """What JAX computes on, such as "cpu" or "NVIDIA H200"."""
    return jax.devices()[0].device_kind
