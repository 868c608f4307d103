"""The settings of a search, of the command and of `jnas.search(...)` alike."""

import dataclasses
import difflib
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, Self, TypedDict, get_args

from tyro.conf import DisallowNone

from jnas._validation import (
    Rule,
    apply_rules,
    optional,
    refuse,
    shown,
    to_choice,
    to_float,
    to_int,
    to_path,
    to_seed,
    to_tuple,
)
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.space import Space, Style
from jnas.train import AUGMENTATION, RECIPES, EngineOptions, Recipe

Phase = Literal["random", "screened", "evolved"]
RecipeName = Literal["fast", "standard", "sophius"]
Precision = Literal["float32", "bfloat16"]
Acquisition = Literal["mean", "ucb", "thompson"]
AlgorithmName = Literal["genetic", "regularized", "random"]
Objective = Literal["accuracy", "macs", "params", "latency"]
PresetName = Literal["record"]
Flag = DisallowNone[bool | None]
"""True, False, or None for what the recipe does; on the command line --NAME and --no-NAME."""

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
"""Marks settings, such as limits, of which other values continue the same search: it trains the same templates; and
those that only the recipe's identity needs to tell apart."""

_LARGEST = 1_000_000
"""Of all counts that decide how much memory is taken at once."""
_COUNT = partial(to_int, minimum=1, maximum=_LARGEST)
_TIME = optional(partial(to_float, interval="(0, inf)"))
_MAY_BE_NONE = ("classes", "generations", "max_trials", "target_accuracy")
_RULES: dict[str, Rule] = {
    "data": lambda name, value: os.fspath(to_path(name, value)),
    "classes": partial(to_int, minimum=2),
    "recipe": partial(to_choice, choices=get_args(RecipeName)),
    "space": partial(to_choice, choices=get_args(Style)),
    "compile_timeout": partial(to_float, interval="(0, inf)"),
    "seed": to_seed,
    "store": lambda name, value: os.fspath(to_path(name, value)),
    **dict.fromkeys(("num_random", "refit_every", "trials_per_generation"), _COUNT),
    **dict.fromkeys(("final_repeats", "num_finalists"), partial(to_int, minimum=1, maximum=1000)),
    "max_trials": partial(to_int, minimum=1),
    "generations": partial(to_int, minimum=0),
    "num_screened": partial(to_int, minimum=0, maximum=_LARGEST),
    **dict.fromkeys(("pool_size", "population_size"), partial(to_int, minimum=2, maximum=_LARGEST)),
    **dict.fromkeys(("minutes", "max_latency_ms"), _TIME),
    "target_accuracy": partial(to_float, interval="(0, 1]", hint="write 0.9 for 90 %"),
    "acquisition": partial(to_choice, choices=get_args(Acquisition)),
    "algorithm": partial(to_choice, choices=get_args(AlgorithmName)),
    "prune_after_epochs": partial(to_int, minimum=0),
}
_RULES |= {name: optional(_RULES[name]) for name in _MAY_BE_NONE}
_RECIPE_FIELDS = ("batch_size", "learning_rate", "val_fraction", "precision", *AUGMENTATION)
_SPACE_FIELDS = ("conv_num", "lin_num", "max_params", "max_macs")


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
    the path of an .npz file (x_train, y_train, x_val, y_val, x_test, y_test; uint8), or of a prepared TensorFlow
    Datasets folder."""
    classes: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Number of classes; by default that of the training labels."""
    recipe: RecipeName = "fast"
    """How to train: for the most in few epochs, by AdamW as many do, or by the protocol of Sophius (without its two
    flaws)."""
    batch_size: int | None = None
    """Images in a training step; by default the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate; by default the recipe's."""
    val_fraction: float | None = None
    """Fraction of the training images that is kept for validation, 0 to 1; by default the recipe's."""
    flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Mirror training images left to right; by default as the recipe does. Say --no-flip where mirror images are of
    another class or of none, as letters and hands are: test images are not mirrored then, either."""
    alternating_flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Mirror each image in every other epoch, and not at random; by default as the recipe does."""
    shift: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Pixels by which training images are moved at random in each direction, at most; by default the recipe's."""
    test_flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Classify by the mean of each image and its mirror image; by default where training images are mirrored."""
    test_shift: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Classify also by images moved by so many pixels, which is three times the work; by default the recipe's."""
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

    def make_recipe(self, epochs: int | None) -> Recipe:
        """Returns the recipe, of its own number of epochs for None."""
        settings = {"epochs": epochs} | {name: getattr(self, name) for name in _RECIPE_FIELDS}
        return RECIPES[to_choice("recipe", self.recipe, RECIPES)](
            **{name: value for name, value in settings.items() if value is not None}
        )

    def search_space(self, data: Dataset | None = None) -> Space:
        """Returns the space of templates for images; without images, for the shape and classes of CIFAR-10."""
        images, settings = Space() if data is None else data, {name: getattr(self, name) for name in _SPACE_FIELDS}
        style = to_choice("space", self.space, get_args(Style))
        return Space(images.in_shape, images.classes, style=style, **settings)


class SearchOptions(TypedDict, total=False):
    """The fields of `SearchConfig` but `data`, as keyword arguments that an editor completes."""

    classes: int | None
    recipe: RecipeName
    batch_size: int | None
    learning_rate: float | None
    val_fraction: float | None
    flip: bool | None
    alternating_flip: bool | None
    shift: int | None
    test_flip: bool | None
    test_shift: int | None
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
        apply_rules(self, _RULES)
        self._check_objectives()
        for name, least in (("pool_size", "num_screened"), ("population_size", "trials_per_generation")):
            if getattr(self, name) < (minimum := getattr(self, least)):
                refuse(name, f">= {least} ({minimum})", getattr(self, name))
        # These check the other settings, and make them numbers of Python's.
        recipe, space = self.make_recipe(self.epochs), self.search_space()
        final_epochs = self.make_recipe(to_int("final_epochs", self.final_epochs, 1)).epochs
        given = [name for name in _RECIPE_FIELDS if getattr(self, name) is not None]
        settings = {name: getattr(recipe, name) for name in ("epochs", *given)} | {"final_epochs": final_epochs}
        settings |= {name: getattr(space, name) for name in _SPACE_FIELDS}
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        if self.prune_after_epochs >= self.epochs:
            condition = f"less than epochs ({self.epochs})"
            refuse("prune_after_epochs", condition, self.prune_after_epochs, "use 0 to train all to the end")

    def _check_objectives(self) -> None:
        names = (self.objectives,) if isinstance(self.objectives, str) else self.objectives
        names = to_tuple("objectives", names, f"names among {', '.join(get_args(Objective))}")
        objectives = tuple(to_choice("objectives", name, get_args(Objective)) for name in names)
        object.__setattr__(self, "objectives", objectives)
        if "accuracy" not in objectives or len(set(objectives)) < len(objectives):
            raise JnasError(f"objectives must have accuracy and each name once, got {' '.join(objectives) or 'none'}.")
        if len(objectives) > 1 and self.algorithm != "genetic":
            refuse("algorithm", "genetic where there are several objectives", self.algorithm)

    @classmethod
    def from_preset(cls, preset: PresetName | None, **changes: Any) -> Self:
        """Returns the settings of a preset ("record"), with some of them changed; None is the defaults."""
        settings = {} if preset is None else PRESETS[to_choice("preset", preset, PRESETS, "leave it out for none")]
        check_names(changes)
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


def check_names(settings: Iterable[str]) -> None:
    """Raises a JnasError where a name is none of a setting."""
    names = [setting.name for setting in dataclasses.fields(SearchConfig)]
    for name in set(settings).difference(names):
        close = difflib.get_close_matches(name, names, 1)
        hint = f"perhaps you mean {close[0]}." if close else "see the fields of SearchConfig."
        raise JnasError(f"A search has no setting {shown(name)}: {hint}")
