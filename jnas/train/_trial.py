"""What is to be trained: a template, its seed and hyper-parameters; and how to draw trials at random."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np

from jnas.errors import JnasError
from jnas.nn import program_signature
from jnas.space import Space, Template
from jnas.train._recipe import Recipe, validate


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
        for name in ("seed", "learning_rate", "weight_decay"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, validate(name, value))

    def recipe(self, recipe: Recipe) -> Recipe:
        """Returns the recipe with the trial's learning rate and weight decay."""
        rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        values = {name: rate for name, rate in rates.items() if rate is not None}
        return dataclasses.replace(recipe, **values) if values else recipe


def as_trials(items: Template | Trial | Iterable[Template | Trial], seed: int = 0) -> list[Trial]:
    """Returns trials of templates and trials, with `seed` where they have none."""
    trials = []
    for item in [items] if isinstance(items, Template | Trial) else items:
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

    Trials of one template are side by side; their seeds are 0 to `trials_per_template - 1`. Learning rates and weight
    decays are drawn log-uniformly between the lowest and the highest; None takes the recipe's.

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
            rates = [ends and float(np.exp(generator.uniform(*np.log(ends)))) for ends in (learning_rate, weight_decay)]
            trials.append(Trial(template, index, *rates))
    return trials
