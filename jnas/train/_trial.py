"""What is to be trained: a template, its seed and hyper-parameters; and how to draw trials that share programs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np

from jnas.errors import JnasError
from jnas.nn._signature import Policy, lower
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.train._recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """A template to train, with what may differ from the other trials of a call.

    Attributes:
      template: the architecture.
      seed: of initial weights, image order, augmentation and dropout; None takes the call's.
      learning_rate, weight_decay: None takes the recipe's.

    Raises:
      JnasError: a value that cannot be trained with, named.
    """

    template: Template
    seed: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for name, ok, wanted in (
            ("seed", self.seed is None or 0 <= self.seed < 2**32, "a whole number from 0, below 2^32"),
            ("learning_rate", self.learning_rate is None or 0 < self.learning_rate < math.inf, "a number above 0"),
            ("weight_decay", self.weight_decay is None or 0 <= self.weight_decay < math.inf, "0 or more"),
        ):
            if not ok:
                raise JnasError(f"The trial's {name}={getattr(self, name)!r} cannot be trained with: give {wanted}.")

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with the trial's own learning rate and weight decay."""
        own = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        own = {name: float(value) for name, value in own.items() if value is not None}
        return dataclasses.replace(recipe, **own) if own else recipe


def as_trials(items: Iterable[Template | Trial], seed: int = 0) -> list[Trial]:
    """Trials of templates and trials, with `seed` where they have none."""
    trials = [item if isinstance(item, Trial) else Trial(item) for item in items]
    return [trial if trial.seed is not None else dataclasses.replace(trial, seed=seed) for trial in trials]


def sample_trials(
    space: Space,
    seed: int,
    structures: int,
    lanes: int,
    *,
    policy: Policy = "folded",
    seeds: bool = False,
    learning_rate: tuple[float, float] | None = None,
    weight_decay: tuple[float, float] | None = None,
) -> list[Trial]:
    """Random trials that share compiled programs: `structures` of them, `lanes` trials each.

    The lanes of a structure differ in what the policy leaves to run time (for "folded": activations, slopes, dropout
    rates, batch norm, smaller kernels, fewer channels; for "exact": nothing), in their seeds, and in learning rate and
    weight decay where ranges are given. So architecture and training are searched jointly.

    Args:
      space: where templates come from.
      seed: of everything drawn here.
      structures, lanes: how many, and how many trials of each.
      policy: see `jnas.nn._signature`; give the same one to `evaluate`.
      seeds: whether each lane gets a training seed of its own, 0 to `lanes - 1`.
      learning_rate, weight_decay: ranges, lowest and highest, drawn log-uniformly.

    Returns:
      `structures * lanes` trials, those of one structure side by side.

    Raises:
      JnasError: a number is below 1, a range is none, nothing would differ, or the space has too few structures.
    """
    for name, count in (("structures", structures), ("lanes", lanes)):
        if count < 1:
            raise JnasError(f"{name}={count} are no trials: give at least 1.")
    for name, ends in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if ends is not None and not 0 < ends[0] <= ends[1] < math.inf:
            raise JnasError(f"{name}={ends} is no range: give its lowest and highest value, above 0.")
    if policy == "exact" and lanes > 1 and not (seeds or learning_rate or weight_decay):
        raise JnasError(f"{lanes} exact lanes would all be the same: give seeds=True or a range, or policy='folded'.")
    generator = np.random.default_rng(seed)
    trials: list[Trial] = []
    known = set()
    for genome in space.sample(jax.random.key(seed), 8 * structures + 64):
        base = space.template(np.asarray(genome))
        structure, _ = lower(base, policy)
        if structure in known:
            continue
        known.add(structure)
        variants = [base, *(_variant(base, policy, generator) for _ in range(lanes - 1))]
        for lane, template in enumerate(variants):
            drawn = [ends and _log_uniform(generator, *ends) for ends in (learning_rate, weight_decay)]
            trials.append(Trial(template, lane if seeds else None, *drawn))
        if len(known) == structures:
            return trials
    raise JnasError(f"Only {len(known)} structures of {structures} were found in the space: ask for fewer.")


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


_ACTIVATIONS = [lt.ReLU(), *(lt.LeakyReLU(slope) for slope in (0.1, 0.01, 0.001)), lt.PReLU(True), lt.PReLU(False)]


def _variant(template: Template, policy: Policy, generator: np.random.Generator) -> Template:
    """The template with layers redrawn, each change kept only if the structure stays."""
    if policy == "exact":
        return template
    structure, _ = lower(template, policy)
    layers = list(template.layers)
    for index in range(len(layers) - 1, -1, -1):  # from the end, so that a layer left out moves no later one
        choices = _alternatives(layers[index], last=index == len(layers) - 1)
        choice = choices[generator.integers(len(choices))] if choices else None
        if choice is None:
            continue
        changed = [*layers[:index], *choice, *layers[index + 1 :]]
        with contextlib.suppress(JnasError):  # a shape that collapses
            if lower(Template(changed, template.in_shape), policy)[0] == structure:
                layers = changed
    return Template(layers, template.in_shape)


def _alternatives(layer: lt.LayerTemplate, last: bool) -> list[list[lt.LayerTemplate]]:
    """What may stand in place of a layer; an empty list of layers leaves it out."""
    match layer:
        case lt.Activation():
            return [[other] for other in _ACTIVATIONS]
        case lt.BatchNorm2d():
            return [[layer], []]
        case lt.Dropout():
            return [[], *([dataclasses.replace(layer, p=p)] for p in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5))]
        case lt.Conv2d():
            ranges = dict(layer.ranges())
            return [
                [dataclasses.replace(layer, out_channels=channels, kernel_size=size)]
                for channels in ranges["out_channels"]
                for size in ranges["kernel_size"]
            ]
        case lt.Linear() if not last:
            widths = dict(layer.ranges())["out_features"]
            return [[dataclasses.replace(layer, out_features=width)] for width in widths]
    return []
