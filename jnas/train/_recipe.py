"""How to train: epochs, batch, optimiser, schedule, augmentation, validation fraction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import optax
from jaxtyping import Float32

from jnas._validation import to_bool, to_choice, to_float, to_int
from jnas.errors import JnasError

_RULES: dict[str, Callable[[str, Any], Any]] = {
    "epochs": partial(to_int, minimum=1),
    "batch_size": partial(to_int, minimum=1),
    "optimizer": partial(to_choice, choices=("adamw", "sgd")),
    "learning_rate": partial(to_float, interval="(0, inf)"),
    "weight_decay": partial(to_float, interval="[0, inf)"),
    "schedule": partial(to_choice, choices=("one_cycle", "exponential", "constant")),
    "lr_decay": partial(to_float, interval="(0, 1]"),
    "label_smoothing": partial(to_float, interval="[0, 1)"),
    "flip": to_bool,
    "alternating_flip": to_bool,
    "shift": partial(to_int, minimum=0),
    "test_flip": to_bool,
    "val_fraction": partial(to_float, interval="(0, 1)"),
    "precision": partial(to_choice, choices=("float32", "bfloat16")),
    "seed": partial(to_int, minimum=0, maximum=2**32 - 1),  # a trial's
}
"""What each field of a recipe and a trial is made by."""


def validate(name: str, value: Any) -> Any:
    """Returns a field's value as its type; raises a `JnasError` if it cannot be, or is out of its range."""
    return _RULES[name](name, value)


@dataclass(frozen=True)
class Recipe:
    """How a template is trained. Presets: `Recipe.standard()` and `Recipe.sophius()`.

    Args:
      batch_size: images a step; a last incomplete batch is left out, and other images fall out in each epoch.
      optimizer: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), or SGD with Nesterov momentum 0.9.
      learning_rate: the schedule's peak.
      weight_decay: decoupled for adamw, as in PyTorch's AdamW; added to the gradient for sgd.
      schedule: "one_cycle" is linear to the peak over the first quarter of all steps, then a cosine to zero.
      lr_decay: factor an epoch of the exponential schedule.
      label_smoothing: fraction of each target that is spread over all classes.
      flip: mirror training images left to right, with probability 0.5.
      alternating_flip: with `flip`, mirror each image in every other epoch instead (Jordan 2024, arXiv:2404.00498).
      shift: move training images by up to this many pixels in each direction.
      test_flip: measure accuracies and predict classes by the mean of the logits of each image and its mirror image,
        which is twice the work.
      val_fraction: fraction of the training images that is kept for validation.
      precision: of the forward and backward pass (weights, statistics, loss and optimiser stay float32); bfloat16 is
        faster on GPUs, slower on most CPUs.

    Raises:
      JnasError: a value is outside its range; the sentence names it.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: Literal["one_cycle", "exponential", "constant"] = "one_cycle"
    lr_decay: float = 1.0
    label_smoothing: float = 0.1
    flip: bool = True
    alternating_flip: bool = True
    shift: int = 2
    test_flip: bool = True
    val_fraction: float = 0.2
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, validate(name, value))

    @classmethod
    def standard(cls, **changes: Any) -> Recipe:
        """Returns the default recipe; benchmarks/README.md has what each part of it brings."""
        return cls(**changes)

    @classmethod
    def sophius(cls, **changes: Any) -> Recipe:
        """Returns the protocol of Sophius: AdamW 1e-3, times 0.95 an epoch, batch 256, 50 epochs, no augmentation.

        Without its two flaws: here images are shuffled, and batch norm and dropout act in every epoch.
        """
        rate = {"learning_rate": 1e-3, "schedule": "exponential", "lr_decay": 0.95}
        no_augmentation = {"flip": False, "alternating_flip": False, "shift": 0, "test_flip": False}
        protocol = {"epochs": 50, "batch_size": 256, "label_smoothing": 0.0} | rate | no_augmentation
        return cls(**protocol | changes)

    @classmethod
    def of(cls, recipe: Recipe | str | None) -> Recipe:
        """Returns a recipe: itself, the preset of that name (or a JnasError), or the standard one for None."""
        if isinstance(recipe, Recipe):
            return recipe
        name = "standard" if recipe is None else recipe
        if not isinstance(name, str) or name not in RECIPES:
            raise JnasError(f"recipe must be a Recipe or one of {', '.join(RECIPES)}, got {recipe!r}.")
        return RECIPES[name]()

    def learning_rates(self, steps_per_epoch: int) -> Float32[np.ndarray, "epochs steps"]:
        """Returns the learning rate of each step as a fraction of `learning_rate`."""
        total = self.epochs * steps_per_epoch
        if self.schedule == "one_cycle":
            warmup = max(1, total // 4)
            schedule = optax.warmup_cosine_decay_schedule(1 / (warmup + 1), 1.0, warmup, max(total, warmup + 1))
        elif self.schedule == "exponential":
            schedule = optax.exponential_decay(1.0, steps_per_epoch, self.lr_decay, staircase=True)
        else:
            schedule = optax.constant_schedule(1.0)
        rates = np.broadcast_to(schedule(np.arange(total)), total)
        return rates.astype(np.float32).reshape(self.epochs, steps_per_epoch)

    def to_json(self) -> str:
        """Returns the fields as JSON, in a fixed order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Returns the recipe of `to_json`."""
        return cls(**json.loads(text))

    @property
    def id(self) -> str:
        """12 hex digits that tell this recipe from any other."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


RECIPES = {"standard": Recipe.standard, "sophius": Recipe.sophius}
"""The presets by name."""
