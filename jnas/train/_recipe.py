"""How to train: epochs, batch, optimiser, schedule, augmentation, validation fraction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optax
from jaxtyping import Float32

from jnas.errors import JnasError

_INTEGERS = ("epochs", "batch_size", "shift")
_FLOATS = ("learning_rate", "weight_decay", "lr_decay", "label_smoothing", "val_fraction")
_SWITCHES = ("flip", "alternating_flip", "test_flip")


@dataclass(frozen=True)
class Recipe:
    """How a template is trained. Presets: `Recipe.standard()` and `Recipe.sophius()`.

    Args:
      epochs: passes over the training images.
      batch_size: images a step; a last incomplete batch is left out, and other images fall out in each epoch.
      optimizer: "adamw" (Loshchilov and Hutter 2019, arXiv:1711.05101) or "sgd" (Nesterov momentum 0.9).
      learning_rate: the schedule's peak.
      weight_decay: decoupled for adamw, as in PyTorch's AdamW; added to the gradient for sgd.
      schedule: "one_cycle" (linear to the peak over the first quarter of all steps, then by a cosine to zero),
        "exponential" (times `lr_decay` after each epoch) or "constant".
      lr_decay: factor an epoch of the exponential schedule.
      label_smoothing: fraction of each target that is spread over all classes.
      flip: mirror training images left to right, with probability 0.5.
      alternating_flip: with `flip`, mirror each image in every other epoch instead (Jordan 2024, arXiv:2404.00498).
      shift: move training images by up to this many pixels in each direction.
      test_flip: measure accuracies and predict classes by the mean of the logits of each image and its mirror image,
        which is twice the work.
      val_fraction: fraction of the training images that is kept for validation.
      precision: "float32", or "bfloat16" for the forward and backward pass of networks (weights, statistics, loss and
        optimiser stay float32); faster on GPUs, slower on most CPUs.

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
        for names, convert in ((_INTEGERS, _to_int), (_FLOATS, _to_float), (_SWITCHES, _to_bool)):
            for name in names:
                object.__setattr__(self, name, convert(name, getattr(self, name)))
        for name, is_valid, condition in (
            ("epochs", self.epochs >= 1, ">= 1"),
            ("batch_size", self.batch_size >= 1, ">= 1"),
            ("optimizer", self.optimizer in ("adamw", "sgd"), "adamw or sgd"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "> 0 and finite"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, ">= 0 and finite"),
            (
                "schedule",
                self.schedule in ("one_cycle", "exponential", "constant"),
                "one_cycle, exponential or constant",
            ),
            ("lr_decay", 0 < self.lr_decay <= 1, "in (0, 1]"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("shift", self.shift >= 0, ">= 0 pixels"),
            ("val_fraction", 0 < self.val_fraction < 1, "in (0, 1)"),
            ("precision", self.precision in ("float32", "bfloat16"), "float32 or bfloat16"),
        ):
            if not is_valid:
                raise JnasError(f"The recipe's {name} must be {condition}, got {getattr(self, name)!r}.")

    @classmethod
    def standard(cls, **changes: Any) -> Recipe:
        """Returns the default recipe: AdamW, one-cycle schedule, label smoothing, flips and shifts.

        benchmarks/README.md has what each of them brings.
        """
        return cls(**changes)

    @classmethod
    def sophius(cls, **changes: Any) -> Recipe:
        """Returns the protocol of Sophius: AdamW 1e-3, times 0.95 an epoch, batch 256, 50 epochs, no augmentation.

        Without its two flaws: here images are shuffled, and batch norm and dropout act in every epoch.
        """
        protocol = cls(
            epochs=50,
            batch_size=256,
            learning_rate=1e-3,
            schedule="exponential",
            lr_decay=0.95,
            label_smoothing=0.0,
            flip=False,
            alternating_flip=False,
            shift=0,
            test_flip=False,
        )
        return dataclasses.replace(protocol, **changes)

    @classmethod
    def of(cls, recipe: Recipe | str | None) -> Recipe:
        """Returns a recipe: itself, the preset of that name, or the standard one for None.

        Raises:
          JnasError: there is no preset of that name.
        """
        if isinstance(recipe, Recipe):
            return recipe
        if recipe is None:
            return cls.standard()
        if not isinstance(recipe, str) or recipe not in RECIPES:
            raise JnasError(f"recipe must be a Recipe or one of {', '.join(RECIPES)}, got {recipe!r}.")
        return RECIPES[recipe]()

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
        """Returns the recipe of `to_json`.

        Raises:
          JnasError: a value is outside its range.
        """
        return cls(**json.loads(text))

    @property
    def id(self) -> str:
        """12 hex digits that tell this recipe from any other."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


RECIPES = {"standard": Recipe.standard, "sophius": Recipe.sophius}
"""The presets by name."""


def _to_int(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool | np.bool_) or int(value) != value:
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise JnasError(f"The recipe's {name} must be an integer, got {value!r}.") from error


def _to_float(name: str, value: Any) -> float:
    if isinstance(value, str | bytes | bool | np.bool_):
        raise JnasError(f"The recipe's {name} must be a number, got {value!r}.")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise JnasError(f"The recipe's {name} must be a number, got {value!r}.") from error


def _to_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise JnasError(f"The recipe's {name} must be True or False, got {value!r}.")
    return bool(value)
