"""What is to be trained: a template, its seed and hyper-parameters; and how to draw trials at random."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np

from jnas.errors import JnasError
from jnas.nn import program_signature
from jnas.space import Space, Template
from jnas.train._recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """A template to train, with what may differ from the other trials of a call.

    Attributes:
      template: the architecture.
      seed: of initial weights, image order, augmentation and dropout; None takes the call's.
      learning_rate: None takes the recipe's.
      weight_decay: None takes the recipe's.

    Raises:
      JnasError: a value is outside its range; the sentence names it.
    """

    template: Template
    seed: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
                raise JnasError(f"The trial's seed must be an integer, got {self.seed!r}.")
            object.__setattr__(self, "seed", int(self.seed))
        for name, is_valid, condition in (
            ("seed", self.seed is None or 0 <= self.seed < 2**32, "in [0, 2^32)"),
            ("learning_rate", _is_none_or_in(self.learning_rate, math.ulp(0.0)), "> 0 and finite"),
            ("weight_decay", _is_none_or_in(self.weight_decay, 0.0), ">= 0 and finite"),
        ):
            if not is_valid:
                raise JnasError(f"The trial's {name} must be {condition}, got {getattr(self, name)!r}.")

    def recipe(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with the trial's learning rate and weight decay."""
        values = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        values = {name: float(value) for name, value in values.items() if value is not None}
        return dataclasses.replace(recipe, **values) if values else recipe


def _is_none_or_in(value: object, low: float) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float | np.number) and bool(low <= value < math.inf)


def as_trials(items: Template | Trial | Iterable[Template | Trial], seed: int = 0) -> list[Trial]:
    """Returns trials of templates and trials, with `seed` where they have none.

    Raises:
      JnasError: an item is neither a template nor a trial.
    """
    if isinstance(items, Template | Trial):
        items = [items]
    trials = []
    for item in items:
        if not isinstance(item, Template | Trial):
            raise JnasError(f"templates must be Template or Trial objects, got {item!r}; use Template.from_hash.")
        trial = item if isinstance(item, Trial) else Trial(item)
        trials.append(trial if trial.seed is not None else dataclasses.replace(trial, seed=seed))
    return trials


def sample_trials(
    space: Space,
    seed: int,
    num_templates: int,
    trials_per_template: int,
    *,
    learning_rate: tuple[float, float] | None = None,
    weight_decay: tuple[float, float] | None = None,
) -> list[Trial]:
    """Returns random trials that share compiled programs: templates with several seeds, and with random rates.

    Args:
      space: where templates come from.
      seed: of everything drawn here.
      num_templates: number of templates, all with different programs.
      trials_per_template: trials of each; they differ in their seeds, 0 to `trials_per_template - 1`, and in the rates.
      learning_rate: lowest and highest, drawn log-uniformly; None takes the recipe's.
      weight_decay: lowest and highest, drawn log-uniformly; None takes the recipe's.

    Returns:
      `num_templates * trials_per_template` trials, those of one template side by side.

    Raises:
      JnasError: a number is below 1, a range is not one, or the space has too few templates.
    """
    for name, count in (("num_templates", num_templates), ("trials_per_template", trials_per_template)):
        if count < 1:
            raise JnasError(f"{name} must be >= 1, got {count}.")
    for name, ends in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if ends is not None and not 0 < ends[0] <= ends[1] < math.inf:
            raise JnasError(f"{name} must be (lowest, highest) with 0 < lowest <= highest, got {ends}.")
    generator = np.random.default_rng(seed)
    templates: dict[Template, Template] = {}
    for genome in space.sample(jax.random.key(seed), 8 * num_templates + 64):
        template = space.template(np.asarray(genome))
        templates.setdefault(program_signature(template), template)
    if len(templates) < num_templates:
        raise JnasError(f"num_templates must be <= {len(templates)} in this space, got {num_templates}.")
    trials = []
    for template in list(templates.values())[:num_templates]:
        for index in range(trials_per_template):
            rates = [ends and _log_uniform(generator, *ends) for ends in (learning_rate, weight_decay)]
            trials.append(Trial(template, index, *rates))
    return trials


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
