"""How to train: epochs, batch, optimiser, schedule, augmentation, validation fraction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import optax
from jaxtyping import Float32

from jnas._validation import Rule, apply_rules, optional, refuse, to_bool, to_choice, to_float, to_int, to_text
from jnas.train._views import Views

AUGMENTATION = ("flip", "alternating_flip", "shift", "cut_out", "test_flip", "test_shift")
"""The fields of a recipe that say which other images count as the same."""
RULES: dict[str, Rule] = {
    "epochs": partial(to_int, minimum=1, maximum=1_000_000),
    "batch_size": partial(to_int, minimum=1),
    "optimizer": partial(to_choice, choices=("adamw", "sgd", "muon")),
    "learning_rate": partial(to_float, interval="(0, inf)"),
    "weight_decay": partial(to_float, interval="[0, inf)"),
    "schedule": partial(to_choice, choices=("one_cycle", "triangular", "exponential", "constant")),
    "norm_bias_rate": partial(to_float, interval="(0, inf)"),
    "init": partial(to_choice, choices=("default", "dirac")),
    "whiten": to_bool,
    "lr_decay": partial(to_float, interval="(0, 1]"),
    "label_smoothing": partial(to_float, interval="[0, 1)"),
    "flip": to_bool,
    "alternating_flip": to_bool,
    "shift": partial(to_int, minimum=0),
    "cut_out": partial(to_int, minimum=0),
    "test_flip": to_bool,
    "test_shift": partial(to_int, minimum=0),
    "val_fraction": partial(to_float, interval="(0, 1)"),
    "class_weights": partial(to_choice, choices=("none", "balanced")),
    "train_images": optional(partial(to_int, minimum=1)),
    "precision": partial(to_choice, choices=("float32", "bfloat16")),
}
"""What each field of a recipe is made by."""


@dataclass(frozen=True)
class Recipe:
    """How a template is trained. Presets: `Recipe.standard()`, `Recipe.fast()` and `Recipe.sophius()`.

    Args:
      batch_size: images a step; a last incomplete batch is left out, and other images fall out in each epoch.
      optimizer: AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), SGD with Nesterov momentum 0.9, or Muon for
        kernels of convolutions and AdamW for all else (Jordan 2024, kellerjordan.github.io/posts/muon).
      learning_rate: the schedule's peak.
      weight_decay: decoupled for adamw and muon, as in PyTorch's AdamW; added to the gradient for sgd.
      init: "default" is PyTorch's; with "dirac" as many filters of a convolution as it has input channels begin as the
        identity, but not those of the first one (Zagoruyko and Komodakis 2017, arXiv:1706.00388).
      whiten: train the first convolution in coordinates in which the patches of the training images are white.
      norm_bias_rate: learning rate of batch norm's biases, in units of `learning_rate`.
      schedule: "one_cycle" is linear to the peak over the first quarter of all steps, then a cosine to zero;
        "triangular" is linear to zero.
      lr_decay: factor an epoch of the exponential schedule.
      label_smoothing: fraction of each target that is spread over all classes.
      flip: mirror training images left to right, with probability 0.5. Switch it off where mirror images are of another
        class or of none, as hands and letters are.
      alternating_flip: with `flip`, mirror each image in every other epoch instead (Jordan 2024, arXiv:2404.00498).
      shift: move training images by up to this many pixels in each direction.
      cut_out: make a square of so many pixels a side grey, at a random place of each training image (DeVries and Taylor
        2017, arXiv:1708.04552); 0 is for none.
      test_flip: predict classes, and measure accuracies after the last epoch, by the mean of the logits of each image
        and its mirror image, which is twice the work. None is as `flip`: what must not be mirrored in training must
        not be later.
      test_shift: with a number of pixels, also by images moved by so many up and left, and down and right; three times
        the work.
      val_fraction: fraction of the training images that is kept for validation.
      class_weights: "balanced" weighs the loss of an image in inverse proportion to the training images of its class.
      train_images: train on so many of the others, the same ones each time; None is all of them.
      precision: of the forward and backward pass (weights, statistics, loss and optimiser stay float32); bfloat16 is
        faster on GPUs, slower on most CPUs.

    Raises:
      JnasError: a value is outside its range; the sentence names it.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    norm_bias_rate: float = 1.0
    schedule: Literal["one_cycle", "triangular", "exponential", "constant"] = "one_cycle"
    lr_decay: float = 1.0
    init: Literal["default", "dirac"] = "default"
    whiten: bool = False
    label_smoothing: float = 0.1
    flip: bool = True
    alternating_flip: bool = True
    shift: int = 2
    cut_out: int = 0
    test_flip: bool = None  # pyright: ignore[reportAssignmentType]  made a boolean
    test_shift: int = 0
    val_fraction: float = 0.2
    class_weights: Literal["none", "balanced"] = "none"
    train_images: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.test_flip is None:
            object.__setattr__(self, "test_flip", self.flip)
        apply_rules(self, RULES)

    @classmethod
    def standard(cls, **changes: Any) -> Recipe:
        """Returns AdamW with one cycle, as many train; benchmarks/README.md has what each part of it brings."""
        return cls(**changes)

    @classmethod
    def fast(cls, **changes: Any) -> Recipe:
        """Returns the recipe for the most accuracy in few epochs: Muon, whitened first patches, identity at the start.

        The ingredients are those of airbench (Jordan 2024, arXiv:2404.00498; github.com/KellerJordan/cifar10-airbench),
        with rates that suit all widths; benchmarks/README.md has what each of them brings.
        """
        ingredients: dict[str, Any] = {"optimizer": "muon", "learning_rate": 1e-2, "batch_size": 64}
        ingredients |= {"whiten": True, "init": "dirac", "norm_bias_rate": 8.0, "schedule": "triangular"}
        ingredients["test_shift"] = int(changes.get("shift") != 0)  # what must not be moved is not
        return cls(**ingredients | changes)

    @classmethod
    def sophius(cls, **changes: Any) -> Recipe:
        """Returns the protocol of Sophius: AdamW 1e-3, times 0.95 an epoch, batch 256, 50 epochs, no augmentation.

        Without its two flaws: here images are shuffled, and batch norm and dropout act in every epoch.
        """
        rate = {"learning_rate": 1e-3, "schedule": "exponential", "lr_decay": 0.95}
        no_augmentation = {"flip": False, "alternating_flip": False, "shift": 0}
        protocol = {"epochs": 50, "batch_size": 256, "label_smoothing": 0.0} | rate | no_augmentation
        return cls(**protocol | changes)

    @classmethod
    def of(cls, recipe: Recipe | str | None) -> Recipe:
        """Returns a recipe: itself, the preset of that name (or a JnasError), or the fast one for None."""
        if isinstance(recipe, Recipe):
            return recipe
        name = "fast" if recipe is None else recipe
        return RECIPES[to_choice("recipe", name, RECIPES, "or give a Recipe")]()

    def describe_augmentation(self) -> str:
        """Returns in words what is done to images, in training and when classes are predicted."""
        mirrored = "mirrored in every other epoch" if self.alternating_flip else "mirrored at random"
        parts = [mirrored] if self.flip else []
        parts += [f"moved by up to {self.shift} pixel{'s' * (self.shift > 1)}"] if self.shift else []
        parts += [f"with a grey square of {self.cut_out} pixels a side"] if self.cut_out else []
        views = ["their mirror images"] * self.test_flip + ["moved ones"] * (self.test_shift > 0)
        tested = f"; classified with {' and '.join(views)}" if views else ""
        return f"{' and '.join(parts) or 'left as they are'}{tested}"

    @property
    def views(self) -> Views:
        """The views of an image over which its logits are averaged."""
        return Views(self.test_flip, self.test_shift)

    def learning_rates(self, steps_per_epoch: int) -> Float32[np.ndarray, "epochs steps"]:
        """Returns the learning rate of each step as a fraction of `learning_rate`."""
        total = self.epochs * steps_per_epoch
        warmup = max(1, total // 4)
        if self.schedule == "one_cycle":
            schedule = optax.warmup_cosine_decay_schedule(1 / (warmup + 1), 1.0, warmup, max(total, warmup + 1))
        elif self.schedule == "triangular":
            rise = optax.linear_schedule(1 / (warmup + 1), 1.0, warmup)
            schedule = optax.join_schedules([rise, optax.linear_schedule(1.0, 0.0, max(total - warmup, 1))], [warmup])
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
        """Returns the recipe of `to_json`, or a JnasError for other text."""
        try:
            return cls(**json.loads(to_text("text", text)))
        except (json.JSONDecodeError, TypeError):  # no JSON, no object, or other names
            refuse("text", "what Recipe.to_json returned", text)

    @property
    def id(self) -> str:
        """12 hex digits that tell this recipe from any other."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


RECIPES = {"fast": Recipe.fast, "standard": Recipe.standard, "sophius": Recipe.sophius}
"""The presets by name."""
