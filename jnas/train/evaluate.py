"""Many templates trained one after another, each a row: what was trained before is looked up, failures are rows too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import jax

from jnas.data import Dataset, Split, load_data
from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Evaluation, Key, Store
from jnas.train.cache import use_compilation_cache
from jnas.train.recipe import Recipe
from jnas.train.trainer import Trained, Trainer, lanes


def evaluate(
    templates: Iterable[Template],
    data: Dataset | str = "excerpt",
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    split_seed: int = 0,
    store: Store | str | None = None,
    on_result: Callable[[Evaluation], None] | None = None,
) -> list[Evaluation]:
    """Trains each template and measures its validation accuracy.

    Args:
      templates: any mix of architectures.
      data: a `Dataset`, or what `load_data` takes.
      recipe: how to train; `Recipe.standard()` by default.
      seed: of initial weights, image order, augmentation and dropout.
      split_seed: which training images are kept for validation.
      store: a `Store` or its path. Rows that it has are not trained again; each new one is written as it is done.
      on_result: called with each row, in order.

    Returns:
      One `Evaluation` a template, in order. A template that fails is a row with another status than "ok".

    Raises:
      JnasError: the recipe does not suit the data at all, such as a batch larger than the training set.
    """
    data = load_data(data)
    recipe = recipe or Recipe.standard()
    store = Store(store) if isinstance(store, str) else store
    templates = list(templates)
    split = data.split(recipe.validation, split_seed)
    keys = [key_of(template, recipe, data, split_seed, seed) for template in templates]
    rows = store.find(keys) if store else {}
    results = []
    for template, key in zip(templates, keys, strict=True):
        if key not in rows:
            rows[key], _ = evaluate_one(template, key, recipe, split)
            if store:
                store.add([rows[key]], recipe.to_json())
        results.append(rows[key])
        if on_result:
            on_result(rows[key])
    return results


def key_of(template: Template, recipe: Recipe, data: Dataset, split_seed: int, seed: int) -> Key:
    """The key of an evaluation."""
    shape = "x".join(map(str, template.in_shape))
    return Key(template.hash, shape, template.classes, recipe.id, data.fingerprint, split_seed, seed)


def evaluate_one(
    template: Template,
    key: Key,
    recipe: Recipe,
    split: Split,
    on_epoch: Callable[[int], None] | None = None,
) -> tuple[Evaluation, tuple[Trainer, Trained] | None]:
    """One template trained: its row, and the trainer with what it left (None where it failed).

    Raises:
      JnasError: the recipe does not suit the images.
    """
    use_compilation_cache()
    cost = template.cost
    row = {"key": key, "params": cost.params, "macs": cost.macs, "flops": cost.flops, "device": device_name()}
    height, width, channels = split.x_train.shape[1:]
    if template.in_shape != (channels, height, width):
        message = f"the template is for images of {template.in_shape}, the data has {(channels, height, width)}"
        return Evaluation(**row, status="invalid", message=message), None
    trainer = Trainer(template, recipe, split)
    try:
        row["compile_seconds"] = trainer.compile()
        report = (lambda number, _: on_epoch(number)) if on_epoch else None
        trained = trainer.train(lanes(key.seed, recipe.learning_rate, recipe.weight_decay), report)
    except JnasError:
        raise
    except Exception as error:  # a template must never end a search: whatever it raised is its row
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        status = "out_of_memory" if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError) else "error"
        return Evaluation(**row, status=status, message=text), None
    (epochs,) = trained.epochs
    row |= {"train_seconds": trained.seconds, "epochs": tuple(epochs)}
    if not math.isfinite(epochs[-1].train_loss):
        message = f"the loss stopped being a number in epoch {len(epochs)}"
        return Evaluation(**row, status="nan", message=message), None
    return (
        Evaluation(
            **row,
            val_acc_final=epochs[-1].val_acc,
            val_acc_max=max(epoch.val_acc for epoch in epochs),
            train_acc_final=epochs[-1].train_acc,
        ),
        (trainer, trained),
    )


def device_name() -> str:
    """What JAX computes on, such as "cpu" or "NVIDIA H200"."""
    return jax.devices()[0].device_kind
