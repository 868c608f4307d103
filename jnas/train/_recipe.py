"""How to train: epochs, batch, optimiser, schedule, augmentation, validation share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import optax

from jnas.errors import JnasError

_SINCE = {"decay_vectors": True, "alternate": False, "lookahead": 0.0, "test_flip": False}
"""Fields that came later, with what they were before: recipes that do not use them keep their rows in a store."""


@dataclass(frozen=True)
class Recipe:
    """How a template is trained. Two presets: `Recipe.standard()` and `Recipe.sophius()`.

    Args:
      epochs: passes over the training images.
      batch_size: images a step; a last incomplete batch is left out, and other images fall out each epoch.
      optimizer: "adamw" (Loshchilov and Hutter, arXiv:1711.05101) or "sgd" (Nesterov momentum 0.9).
      learning_rate: the schedule's peak.
      weight_decay: decoupled for adamw, as in PyTorch's AdamW; added to the gradient for sgd.
      decay_vectors: whether weight decay acts on all parameters, or on kernels alone and not on biases, batch norm and
        slopes (as Jia et al., arXiv:1807.11205).
      schedule: "one_cycle" (linear to the peak over the first quarter of all steps, then by a cosine to zero),
        "exponential" (times `decay` after each epoch) or "constant".
      decay: factor an epoch of the exponential schedule.
      label_smoothing: share of each target that is spread over all classes.
      flip: mirror training images left to right with probability one half.
      alternate: where they are flipped, mirror each in every other epoch instead (Jordan, arXiv:2404.00498).
      shift: move training images by up to this many pixels each way.
      lookahead: every fifth step, how much of the way slow weights go towards those of the optimiser, which then go on
        from there (Zhang et al., arXiv:1907.08610); 0 for none.
      test_flip: whether accuracies are measured, and classes predicted, by the mean of the logits of each image and its
        mirror image; twice the work.
      validation: share of the training images that is kept for validation.
      precision: "float32", or "bfloat16" for the forward and backward pass of networks (weights, statistics, loss and
        optimiser stay float32); faster on GPUs, slower on most CPUs.

    Raises:
      JnasError: a value that cannot be trained with, named.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    decay_vectors: bool = True
    schedule: Literal["one_cycle", "exponential", "constant"] = "one_cycle"
    decay: float = 1.0
    label_smoothing: float = 0.1
    flip: bool = True
    alternate: bool = True
    shift: int = 2
    lookahead: float = 0.0
    test_flip: bool = True
    validation: float = 0.2
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name, ok, wanted in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("optimizer", self.optimizer in ("adamw", "sgd"), "adamw or sgd"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a number above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("schedule", self.schedule in ("one_cycle", "exponential", "constant"), "one_cycle, exponential, constant"),
            ("decay", 0 < self.decay <= 1, "above 0 and at most 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 or more and below 1"),
            ("shift", self.shift >= 0, "0 pixels or more"),
            ("lookahead", 0 <= self.lookahead < 1, "0 or more and below 1"),
            ("validation", 0 < self.validation < 1, "a share above 0 and below 1"),
            ("precision", self.precision in ("float32", "bfloat16"), "float32 or bfloat16"),
        ):
            if not ok:
                raise JnasError(f"The recipe's {name}={getattr(self, name)!r} cannot be trained with: give {wanted}.")

    @classmethod
    def standard(cls, **changes) -> Recipe:
        """What one would use today: AdamW, one-cycle schedule, label smoothing, flips and shifts.

        What each of them brings is in benchmarks/RESULTS.md.
        """
        return cls(**changes)

    @classmethod
    def sophius(cls, **changes) -> Recipe:
        """The protocol of the original: AdamW 1e-3, times 0.95 an epoch, batch 256, 50 epochs, no augmentation.

        Without its two flaws: here images are shuffled, and batch norm and dropout act in every epoch.
        """
        protocol = cls(
            epochs=50,
            batch_size=256,
            learning_rate=1e-3,
            schedule="exponential",
            decay=0.95,
            label_smoothing=0.0,
            flip=False,
            alternate=False,
            shift=0,
            test_flip=False,
        )
        return dataclasses.replace(protocol, **changes)

    def rates(self, steps: int) -> np.ndarray:
        """The learning rate of each step as a share of `learning_rate`: `[epochs, steps]` for `steps` an epoch."""
        total = self.epochs * steps
        if self.schedule == "one_cycle":
            warm = max(1, total // 4)
            schedule = optax.warmup_cosine_decay_schedule(1 / (warm + 1), 1.0, warm, max(total, warm + 1))
        elif self.schedule == "exponential":
            schedule = optax.exponential_decay(1.0, steps, self.decay, staircase=True)
        else:
            schedule = optax.constant_schedule(1.0)
        return np.broadcast_to(schedule(np.arange(total)), total).astype(np.float32).reshape(self.epochs, steps)

    def to_json(self) -> str:
        """The fields as JSON, in a fixed order; those of `_SINCE` only where they are used."""
        fields = dataclasses.asdict(self)
        for name, unused in _SINCE.items():
            if fields[name] == unused:
                del fields[name]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe of `to_json`, by this jnas or an older one.

        Raises:
          JnasError: a value that cannot be trained with.
        """
        return cls(**(_SINCE | json.loads(text)))

    @property
    def id(self) -> str:
        """12 hex digits that tell this recipe from any other."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


RECIPES = {"standard": Recipe.standard, "sophius": Recipe.sophius}
"""The presets by name."""
