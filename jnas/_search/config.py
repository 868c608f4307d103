"""The settings of a search, of the command and of `jnas.search(...)` alike."""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self, TypedDict, get_args, get_origin, get_type_hints

import numpy as np

from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.space import Space, Style
from jnas.train import RECIPES, EngineOptions, Recipe

Phase = Literal["random", "screened", "evolved"]
RecipeName = Literal["standard", "sophius"]
Precision = Literal["float32", "bfloat16"]
Acquisition = Literal["mean", "ucb", "thompson"]
AlgorithmName = Literal["genetic", "regularized", "random"]
Objective = Literal["accuracy", "macs", "params", "latency"]
PresetName = Literal["record"]

PRESETS: dict[PresetName, dict[str, Any]] = {
    "record": {
        "data": "cifar10",
        "space": "modern",
        "conv_num": 10,
        "lin_num": 2,
        "max_macs": 150_000_000,
        "objectives": ("accuracy", "params"),
        "num_random": 48,
        "num_screened": 48,
        "refit_every": 24,
        "pool_size": 8192,
        "population_size": 8192,
        "trials_per_generation": 24,
        "epochs": 8,
        "prune_after_epochs": 2,
        "final_epochs": 60,
        "final_repeats": 5,
        "num_finalists": 3,
        "minutes": 45.0,
        "batch_size": 256,
        "precision": "bfloat16",
    },
}
"""Settings by name. "record" is for all of CIFAR-10 on one GPU, and aims at an accuracy of more than 0.9."""

SPLIT_SEED = 0
"""One split into training and validation images for all searches, so that their accuracies can be compared."""

_NO_IDENTITY = {"identity": False}
"""Marks settings, such as limits, of which other values continue the same search: it trains the same templates."""

_MINIMUM = {
    **dict.fromkeys(("num_screened", "generations", "prune_after_epochs", "seed"), 0),
    **dict.fromkeys(("num_random", "refit_every", "trials_per_generation", "max_trials"), 1),
    **dict.fromkeys(("final_repeats", "num_finalists"), 1),
    **dict.fromkeys(("pool_size", "population_size"), 2),
}
_TYPE_NAMES = {int: "an integer", float: "a number", str: "text"}


class Round(NamedTuple):
    """One round of a search: its number from 0, its phase, and how many templates it trains."""

    number: int
    phase: Phase
    num_trials: int


@dataclass(frozen=True)
class TrainingConfig:
    """What `jnas search` and `jnas evaluate` have in common: images, recipe, and the space of random templates."""

    data: str = field(default="excerpt", metadata=_NO_IDENTITY)
    """Images: 'excerpt' (the 5,000 of CIFAR-10 that come with jnas), 'cifar10' (all 60,000, by TensorFlow Datasets),
    the path of an .npz file (x_train, y_train, x_test, y_test; uint8), or of a prepared TensorFlow Datasets folder."""
    classes: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Number of classes; by default the largest training label plus one."""
    recipe: RecipeName = "standard"
    """How to train: present practice, or the protocol of Sophius (without its two flaws)."""
    batch_size: int | None = None
    """Images in a training step; by default the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate; by default the recipe's."""
    val_fraction: float | None = None
    """Fraction of the training images that is kept for validation, 0 to 1; by default the recipe's."""
    precision: Precision = "float32"
    """What networks compute in while training; bfloat16 is for GPUs. Weights and optimiser stay float32."""
    space: Style = "sophius"
    """Random templates: as those of Sophius, or modern: padded 3x3 convolutions with batch norm, an activation and now
    and then a pooling (they need a higher --max-macs). Evolution goes beyond either."""
    conv_num: int = 6
    """Convolution layers of a random template, at most."""
    lin_num: int = 3
    """Linear layers of a random template, at most, the last one included."""
    max_params: int | None = None
    """Learnable parameters of a template, at most."""
    max_macs: int | None = 2_000_000
    """Multiply-accumulates of a template for one image, at most; 'None' for no limit."""
    compile_timeout: float = field(default=EngineOptions.compile_timeout, metadata=_NO_IDENTITY)
    """Seconds that a program may take to compile; a template that takes longer fails (timeout)."""
    seed: int = 0
    """Of everything random (templates, initial weights, image order, augmentation, dropout): the same seed
    on the same CPU gives the same results."""

    def _require(self, name: str, is_valid: Callable[[Any], bool], condition: str, hint: str = "") -> None:
        value = getattr(self, name)
        if value is not None and not is_valid(value):
            got = f"{value:g}" if isinstance(value, float) else str(value)
            raise JnasError(f"{name} must be {condition}, got {got}{hint}.")

    def make_recipe(self, epochs: int | None) -> Recipe:
        """Returns the recipe, of its own number of epochs for None."""
        names = ("batch_size", "learning_rate", "val_fraction", "precision")
        settings = {"epochs": epochs} | {name: getattr(self, name) for name in names}
        return RECIPES[self.recipe](**{name: value for name, value in settings.items() if value is not None})

    def search_space(self, data: Dataset | None = None) -> Space:
        """Returns the space of templates for images; without images, for the shape and classes of CIFAR-10."""
        for name in ("max_params", "max_macs"):
            self._require(name, lambda value: 1 <= value < 2**64, "in [1, 2^64)", "; use None for no limit")
        images, limits = Space() if data is None else data, (self.max_params, self.max_macs)
        return Space(images.in_shape, images.classes, self.conv_num, self.lin_num, self.space, *limits)


class SearchOptions(TypedDict, total=False):
    """The fields of `SearchConfig` but `data`, as keyword arguments that an editor completes."""

    classes: int | None
    recipe: RecipeName
    batch_size: int | None
    learning_rate: float | None
    val_fraction: float | None
    precision: Precision
    space: Style
    conv_num: int
    lin_num: int
    max_params: int | None
    max_macs: int | None
    compile_timeout: float
    seed: int
    store: str | os.PathLike[str]
    num_random: int
    num_screened: int
    pool_size: int
    refit_every: int
    acquisition: Acquisition
    generations: int | None
    minutes: float | None
    max_trials: int | None
    target_accuracy: float | None
    population_size: int
    trials_per_generation: int
    algorithm: AlgorithmName
    objectives: Sequence[Objective]
    epochs: int
    prune_after_epochs: int
    final_epochs: int
    final_repeats: int
    num_finalists: int
    max_latency_ms: float | None


@dataclass(frozen=True)
class SearchConfig(TrainingConfig):
    """Find a small image classifier: random templates, then screened ones, then evolved ones.

    Phase 1 trains random templates. Phase 2 fits LSTMs to their validation accuracies, and trains the best of many
    random candidates by their predictions. Phase 3 evolves candidates against the LSTMs, and trains the best of each
    generation. The winner by validation accuracy is trained again, for longer, and only then tested.

    Run the same command on the same store again, and the search goes on where it stopped.
    """

    store: str = field(default="jnas.duckdb", metadata=_NO_IDENTITY)
    """File of the results (DuckDB). Weights are kept in a folder of the same name ending in .checkpoints."""
    num_random: int = 12
    """Phase 1: random templates to train. The predictor needs 10 that were trained without a failure."""
    num_screened: int = 4
    """Phase 2: screened templates to train."""
    pool_size: int = 2048
    """Phase 2: random candidates that the predictor chooses from."""
    refit_every: int = 20
    """Phase 2: templates to train between two fits of the predictor."""
    acquisition: Acquisition = "ucb"
    """Phase 2: how candidates are ranked: by the predicted mean, by the mean plus one standard deviation (ucb), or by
    one member of the ensemble after the other, drawn at random (thompson)."""
    generations: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Phase 3: generations. By default 2, or, with any of the three limits that follow, as many as they allow."""
    minutes: float | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: minutes that this run may take, final training included as far as it can be foreseen."""
    max_trials: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: templates to train, in all phases and all runs of this search together."""
    target_accuracy: float | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: validation accuracy, 0 to 1, at which the search ends."""
    population_size: int = 2048
    """Phase 3: size of the population that evolves against the predictor."""
    trials_per_generation: int = 3
    """Phase 3: templates to train in each generation."""
    algorithm: AlgorithmName = "genetic"
    """Phase 3: the evolutionary algorithm. With several objectives, genetic is NSGA-II."""
    objectives: tuple[Objective, ...] = ("accuracy",)
    """Phase 3: what to optimise: accuracy alone, or accuracy against any of macs, params and (measured) latency."""
    epochs: int = 3
    """Passes over the training images for each template."""
    prune_after_epochs: int = 0
    """Phases 2 and 3: epochs after which a template is stopped if, by the predictor, it will hardly become the best; 0
    trains all to the end."""
    final_epochs: int = field(default=10, metadata=_NO_IDENTITY)
    """Passes over the training images in the final training."""
    final_repeats: int = field(default=3, metadata=_NO_IDENTITY)
    """Final trainings of each finalist, each with another seed. The winner's first weights are kept."""
    num_finalists: int = field(default=1, metadata=_NO_IDENTITY)
    """Templates that get a final training; the one with the best mean validation accuracy wins."""
    max_latency_ms: float | None = None
    """Milliseconds for one image, at most, measured on this device before a template is trained."""

    def __post_init__(self) -> None:
        types = get_type_hints(type(self))
        for setting in dataclasses.fields(self):
            value = _to_builtin(getattr(self, setting.name))
            _check_type(setting.name, value, types[setting.name])
            object.__setattr__(self, setting.name, value)
        self._check_ranges()
        if "accuracy" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            got = " ".join(self.objectives) or "none"
            raise JnasError(f"objectives must include accuracy, and each name once, got {got}.")
        if len(self.objectives) > 1 and self.algorithm != "genetic":
            raise JnasError(f"algorithm must be genetic where there are several objectives, got {self.algorithm}.")
        # These check the other settings.
        self.search_space()
        self.make_recipe(self.epochs)
        self.make_recipe(self.final_epochs)

    def _check_ranges(self) -> None:
        for name, minimum in _MINIMUM.items():
            self._require(name, lambda value, minimum=minimum: value >= minimum, f">= {minimum}")
        for name in ("minutes", "compile_timeout", "max_latency_ms"):
            self._require(name, lambda value: value > 0, "> 0")
        for name, least in (("pool_size", "num_screened"), ("population_size", "trials_per_generation")):
            minimum = getattr(self, least)
            self._require(name, lambda value, minimum=minimum: value >= minimum, f">= {least} ({minimum})")
        self._require("seed", lambda value: value < 2**32, "< 2^32")
        percent = self.target_accuracy or 0.0
        hint = f" (use {percent / 100:g} for {percent:g} %)" if 1 < percent <= 100 else ""
        self._require("target_accuracy", lambda value: 0 < value <= 1, "in (0, 1]", hint)
        condition, hint = f"less than epochs ({self.epochs})", "; use 0 to train all to the end"
        self._require("prune_after_epochs", lambda value: value < max(self.epochs, 1), condition, hint)

    @classmethod
    def from_preset(cls, preset: PresetName | None, **changes: Any) -> Self:
        """Returns the settings of a preset ("record"), with some of them changed; None is the defaults."""
        if preset is not None and preset not in PRESETS:
            raise JnasError(f"preset must be one of {', '.join(PRESETS)}, or none, got {preset!r}.")
        settings = {} if preset is None else PRESETS[preset]
        return cls(**(settings | changes))

    @property
    def cost_objectives(self) -> tuple[Objective, ...]:
        """The objectives besides the accuracy."""
        return tuple(name for name in self.objectives if name != "accuracy")

    def rounds(self) -> Iterator[Round]:
        """Yields the rounds of the search; without end where only a limit ends it."""
        numbers = itertools.count()
        yield Round(next(numbers), "random", self.num_random)
        for start in range(0, self.num_screened, self.refit_every):  # the predictor is fitted anew before each
            yield Round(next(numbers), "screened", min(self.refit_every, self.num_screened - start))
        generations = 2 if self.generations is None else self.generations
        for _ in itertools.count() if self.endless else range(generations):
            yield Round(next(numbers), "evolved", self.trials_per_generation)

    @property
    def endless(self) -> bool:
        """Whether only a limit ends the search."""
        limits = (self.minutes, self.max_trials, self.target_accuracy)
        return self.generations is None and limits != (None, None, None)

    def experiment_id(self, data: Dataset) -> str:
        """Returns 12 hex digits that identify the search: all that decides which templates are trained, and how."""
        names = [setting.name for setting in dataclasses.fields(self) if setting.metadata.get("identity", True)]
        settings = {name: getattr(self, name) for name in names}
        identity = json.dumps([settings, self.make_recipe(self.epochs).id, data.fingerprint], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _to_builtin(value: Any) -> Any:
    """Returns paths, lists and NumPy's numbers as what the command line gives: hashable and known to JSON."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return tuple(value)
    return value.item() if isinstance(value, np.generic) else value


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Raises a JnasError where a value is not of the annotated type of its field."""
    types = get_args(kind) or (kind,)
    if get_origin(kind) is Literal:
        if value not in types:
            raise JnasError(f"{name} must be one of {', '.join(types)}, got {value!r}.")
    elif get_origin(kind) is tuple:
        names = get_args(types[0])
        if not isinstance(value, tuple) or any(item not in names for item in value):
            raise JnasError(f"{name} must be among {', '.join(names)}, got {value!r}.")
    elif isinstance(value, bool) or not isinstance(value, (*types, int) if float in types else types):
        raise JnasError(f"{name} must be {_TYPE_NAMES[types[0]]}, got {value!r}.")
