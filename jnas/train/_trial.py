"""What is to be trained: a template, its seed and hyper-parameters; and how to draw trials at random."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from jnas._validation import Rule, apply_rules, optional, refuse, to_float, to_instance, to_int, to_seed, to_tuple
from jnas.errors import JnasError
from jnas.nn import program_signature
from jnas.space import Space, Template
from jnas.train._recipe import RULES, Recipe

_MOST_TEMPLATES = 10_000
_RULES: dict[str, Rule] = {
    "template": partial(to_instance, kind=Template, hint="use Template.from_hash"),
    "seed": optional(to_seed),
    **{name: optional(RULES[name]) for name in ("learning_rate", "weight_decay")},
}


@dataclass(frozen=True)
class Trial:
    """A template to train, with what may differ from the other trials of a call; a JnasError says what is out of range.

    `seed` decides on initial weights, image order, augmentation and dropout; None takes the call's. None for the
    learning rate or weight decay takes the recipe's.
    """

    template: Template
    seed: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        apply_rules(self, _RULES)

    def recipe(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with the trial's learning rate and weight decay."""
        rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        values = {name: rate for name, rate in rates.items() if rate is not None}
        return dataclasses.replace(recipe, **values) if values else recipe


Templates = Template | Trial | str | Iterable[Template | Trial | str]
"""Architectures to train, one or several; text is a hash."""


def as_trials(items: Templates, seed: int, in_shape: tuple[int, int, int], classes: int) -> list[Trial]:
    """Returns trials of templates, hashes and trials, with `seed` where they have none."""
    kinds, trials = "templates, their hashes, or Trial objects", []
    seed = to_seed("seed", seed)
    for item in to_tuple("templates", [items] if isinstance(items, Template | Trial | str) else items, kinds):
        if isinstance(item, str):
            item = Template.from_hash(item, in_shape, classes)
        if not isinstance(item, Template | Trial):
            refuse("templates", kinds, item)
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

    Trials of one template are side by side; their seeds are 0 to `trials_per_template - 1`. Learning rates and weight
    decays are drawn log-uniformly between the lowest and the highest; None takes the recipe's.

    Raises:
      JnasError: a number is below 1, a range is not one, or the space has too few templates.
    """
    to_instance("space", space, Space)
    seed = to_seed("seed", seed)
    num_templates = to_int("num_templates", num_templates, 1, _MOST_TEMPLATES)
    trials_per_template = to_int("trials_per_template", trials_per_template, 1, _MOST_TEMPLATES)
    ranges = [_to_range("learning_rate", learning_rate), _to_range("weight_decay", weight_decay)]
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
            rates = [ends and float(np.exp(generator.uniform(*np.log(ends)))) for ends in ranges]
            trials.append(Trial(template, index, *rates))
    return trials


def _to_range(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    condition = "(lowest, highest) with 0 < lowest <= highest"
    low, high = (to_float(name, end, "(0, inf)") for end in to_tuple(name, value, condition, length=2))
    return (low, high) if low <= high else refuse(name, condition, value)
