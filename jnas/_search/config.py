"""The settings of a search, of the command and of `jnas.search(...)` alike."""

import dataclasses
import difflib
import hashlib
import inspect
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, Self, TypedDict, get_args, get_type_hints

import jax
from tyro.conf import DisallowNone

from jnas._runtime.devices import num_cores
from jnas._search.plan import make_plan
from jnas._validation import (
    Rule,
    apply_rules,
    optional,
    refuse,
    shown,
    to_bool,
    to_choice,
    to_float,
    to_int,
    to_path,
    to_seed,
    to_tuple,
)
from jnas.data import Dataset, Fit, size_text, to_fit, to_size
from jnas.errors import JnasError
from jnas.space import Space, Style
from jnas.store import Metric, paths
from jnas.train import AUGMENTATION, RECIPES, EngineOptions, Recipe, to_workers

Phase = Literal["stored", "known", "random", "evolved"]
RecipeName = Literal["fast", "standard", "sophius"]
Precision = Literal["float32", "bfloat16"]
ClassWeights = Literal["none", "balanced"]
Objective = Literal["accuracy", "macs", "params", "memory", "flash", "latency"]
PresetName = Literal["gpu"]
Flag = DisallowNone[bool | None]
"""True, False, or None for what the recipe does; on the command line --NAME and --no-NAME."""

PRESETS: dict[PresetName, dict[str, Any]] = {
    "gpu": {
        "data": "cifar10",
        "minutes": 45.0,
        "conv_num": 10,
        "num_random": 24,
        "trials_per_generation": 16,
        "batch_size": 256,
        "precision": "bfloat16",
    },
}
"""Settings by name. "gpu" is for all of CIFAR-10 on one GPU."""

DEFAULT_MINUTES = 3.0
MAX_KNOWN = 4
"""Networks that people build by hand, at most, that a search begins with."""
MAX_STORED = 256
"""Networks, at most, that earlier searches trained alike on the same images."""

PLANNED = ("max_macs", "epochs", "train_images", "num_promoted", "final_epochs")
"""Settings that a plan makes."""

SPLIT_SEED = 0
"""One split into training and validation images for all searches, so that their accuracies can be compared."""

_NO_IDENTITY = {"identity": False}
"""Marks settings, such as limits, of which other values continue the same search: it trains the same templates; and
those that only the recipe's identity needs to tell apart."""


def _to_file_name(name: str, value: Any) -> str:
    return os.fspath(to_path(name, value))


_LARGEST = 1_000_000
"""Of all counts that decide how much memory is taken at once."""
_COUNT = partial(to_int, minimum=1, maximum=_LARGEST)
_TIME = optional(partial(to_float, interval="(0, inf)"))
_MAY_BE_NONE = (
    *("classes", "size", "workers", "generations", "max_trials", "target_accuracy"),
    *("epochs", "train_images", "num_promoted", "final_epochs"),
)
_RULES: dict[str, Rule] = {
    "data": _to_file_name,
    "classes": partial(to_int, minimum=2),
    "size": lambda name, value: size_text(to_size(name, value)),
    "fit": to_fit,
    "recipe": partial(to_choice, choices=get_args(RecipeName)),
    "space": partial(to_choice, choices=get_args(Style)),
    "compile_timeout": partial(to_float, interval="(0, inf)"),
    "workers": to_workers,
    "seed": to_seed,
    "out": _to_file_name,
    **dict.fromkeys(("store", "latencies"), optional(_to_file_name)),
    "trials_per_generation": _COUNT,
    "metric": partial(to_choice, choices=get_args(Metric)),
    **dict.fromkeys(("known_networks", "report"), to_bool),
    "start": lambda name, value: tuple(map(str, to_tuple(name, value, "hashes of templates"))),
    **dict.fromkeys(("epochs", "final_epochs"), _COUNT),
    "train_images": partial(to_int, minimum=1),
    **dict.fromkeys(("final_repeats", "num_finalists"), partial(to_int, minimum=1, maximum=1000)),
    "max_trials": partial(to_int, minimum=1),
    "generations": partial(to_int, minimum=0),
    "num_random": partial(to_int, minimum=0, maximum=_LARGEST),
    "num_promoted": partial(to_int, minimum=0, maximum=1000),
    **dict.fromkeys(("minutes", "max_latency_ms"), _TIME),
    "target_accuracy": partial(to_float, interval="(0, 1]", hint="write 0.9 for 90 %"),
    "prune_after_epochs": partial(to_int, minimum=0),
}
_RULES |= {name: optional(_RULES[name]) for name in _MAY_BE_NONE}
_RECIPE_FIELDS = ("batch_size", "learning_rate", "val_fraction", "class_weights", "precision", *AUGMENTATION)
SPACE_FIELDS = ("conv_num", "lin_num", "max_params", "max_macs", "max_memory_kb", "max_flash_kb")


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
    a folder of pictures (a sub-folder a class, or that in train, val and test), a CSV file (path, label, split),
    Parquet files as Hugging Face writes them, an .npz file (x_train, y_train, x_val, y_val, x_test, y_test), or a
    prepared TensorFlow Datasets folder."""
    classes: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Number of classes; by default that of the training labels."""
    size: str | None = field(default=None, metadata=_NO_IDENTITY)
    """Height and width of images in pixels, such as 32 or 48x64; by default pictures come to the median of theirs, at
    most 64, and arrays stay as they are."""
    fit: Fit = field(default="crop", metadata=_NO_IDENTITY)
    """How pictures of another shape come to the size: the middle is taken, black borders are added, or they are
    stretched."""
    recipe: RecipeName = "fast"
    """How to train: for the most in few epochs, by AdamW as many do, or by the protocol of Sophius (without its two
    flaws)."""
    batch_size: int | None = None
    """Images in a training step; by default the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate; by default the recipe's."""
    val_fraction: float | None = None
    """Fraction of the training images that is kept for validation, 0 to 1; by default the recipe's."""
    class_weights: ClassWeights | None = field(default=None, metadata=_NO_IDENTITY)
    """How much an image counts in training: as all others, or "balanced", in inverse proportion to the images of its
    class; by default as the recipe does."""
    flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Mirror training images left to right; by default as the recipe does, but not where a small network takes mirror
    images for other classes, as those of letters and hands are. Test images are mirrored where training images are."""
    alternating_flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Mirror each image in every other epoch, and not at random; by default as the recipe does."""
    shift: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Pixels by which training images are moved at random in each direction, at most; by default the recipe's."""
    cut_out: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Side in pixels of a square that is made grey at a random place of each training image, 0 for none; by default the
    recipe's."""
    test_flip: Flag = field(default=None, metadata=_NO_IDENTITY)
    """Classify by the mean of each image and its mirror image; by default where training images are mirrored."""
    test_shift: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Classify also by images moved by so many pixels, which is three times the work; by default the recipe's."""
    precision: Precision = "float32"
    """What networks compute in while training; bfloat16 is for GPUs. Weights and optimiser stay float32."""
    space: Style = "modern"
    """Random templates: modern ones, of padded 3x3 convolutions with batch norm, an activation and now and then a
    pooling, or as those of Sophius. Evolution goes beyond either."""
    conv_num: int = 6
    """Convolution layers of a random template, at most."""
    lin_num: int = 3
    """Linear layers of a random template, at most, the last one included."""
    max_params: int | None = None
    """Learnable parameters of a template, at most."""
    max_macs: int | None = None
    """Multiply-accumulates of a template for one image, at most. By default a search allows what it can train well in
    its time."""
    max_memory_kb: int | None = None
    """Working memory of a board that one image takes, at most, in units of 1,024 bytes: a layer's input and output with
    int8 values."""
    max_flash_kb: int | None = None
    """Flash of a board that the weights take, at most, in units of 1,024 bytes: with int8 values."""
    workers: str | None = field(default=None, metadata=_NO_IDENTITY)
    """Where to train: a number of processes on this machine, 'ray' (the Ray cluster that runs here),
    'ray://HOST:PORT', or 'slurm:COUNT' for so many jobs; by default a process a core, or a GPU."""
    compile_timeout: float = field(default=EngineOptions.compile_timeout, metadata=_NO_IDENTITY)
    """Seconds that a program may take to compile; a template that takes longer fails (timeout)."""
    seed: int = 0
    """Of everything random (templates, initial weights, image order, augmentation, dropout): the same seed
    on the same CPU gives the same results."""

    def make_recipe(self, epochs: int | None, train_images: int | None = None) -> Recipe:
        """Returns the recipe, of its own number of epochs for None, for so many training images or all."""
        settings = {name: getattr(self, name) for name in _RECIPE_FIELDS}
        settings |= {"epochs": epochs, "train_images": train_images}
        return RECIPES[to_choice("recipe", self.recipe, RECIPES)](
            **{name: value for name, value in settings.items() if value is not None}
        )

    def search_space(self, data: Dataset | None = None) -> Space:
        """Returns the space of templates for images; without images, for the shape and classes of CIFAR-10."""
        images, settings = Space() if data is None else data, {name: getattr(self, name) for name in SPACE_FIELDS}
        style = to_choice("space", self.space, get_args(Style))
        return Space(images.in_shape, images.classes, style=style, **settings)


class SearchOptions(TypedDict, total=False):
    """The fields of `SearchConfig` but `data`, as keyword arguments that an editor completes."""

    classes: int | None
    size: int | str | tuple[int, int] | None
    fit: Fit
    recipe: RecipeName
    batch_size: int | None
    learning_rate: float | None
    val_fraction: float | None
    class_weights: ClassWeights | None
    flip: bool | None
    alternating_flip: bool | None
    shift: int | None
    cut_out: int | None
    test_flip: bool | None
    test_shift: int | None
    precision: Precision
    space: Style
    conv_num: int
    lin_num: int
    max_params: int | None
    max_macs: int | None
    max_memory_kb: int | None
    max_flash_kb: int | None
    workers: str | int | None
    compile_timeout: float
    seed: int
    minutes: float | None
    out: str | os.PathLike[str]
    store: str | os.PathLike[str] | None
    metric: Metric
    objectives: Sequence[Objective]
    max_latency_ms: float | None
    latencies: str | os.PathLike[str] | None
    report: bool
    start: Sequence[str]
    known_networks: bool
    num_random: int
    max_trials: int | None
    target_accuracy: float | None
    generations: int | None
    trials_per_generation: int
    epochs: int | None
    train_images: int | None
    prune_after_epochs: int
    num_promoted: int | None
    final_epochs: int | None
    final_repeats: int
    num_finalists: int


@dataclass(frozen=True)
class SearchConfig(TrainingConfig):
    """Find a small image classifier in a given time.

    Networks that people build by hand are trained first, for a few epochs. Then evolution changes and combines the best
    of all, round after round; a predictor, which knows random networks from the start and learns from those that were
    trained, chooses which children are trained. In longer searches the best are trained again, for longer, before one
    of them wins. The winner by validation accuracy is trained in the time that is kept for it, and only then tested.

    Run the same command on the same store again, and the search goes on where it stopped.
    """

    minutes: float | None = field(default=None, metadata=_NO_IDENTITY)
    """Minutes that this run may take, the winner's training included. By default 3, or no limit where --generations,
    --max-trials or --target-accuracy ends the search."""
    out: str = field(default=paths.DEFAULT_FOLDER, metadata=_NO_IDENTITY)
    """Folder of all that is written; it is made where it is missing."""
    store: str | None = field(default=None, metadata=_NO_IDENTITY)
    """File of the results (DuckDB), if it is not to be jnas.duckdb in that folder. Weights are kept beside it, in a
    folder of the same name ending in .checkpoints."""
    metric: Metric = "accuracy"
    """What counts as accuracy where one network is preferred to another: where classes are not equally frequent,
    balanced_accuracy or macro_f1 (means over classes), or the loss. Shown are accuracies, too."""
    objectives: tuple[Objective, ...] = ("accuracy",)
    """What to optimise: accuracy alone, or accuracy against any of macs, params, the memory and the flash that a board
    needs, and (measured) latency."""
    max_latency_ms: float | None = None
    """Milliseconds for one image, at most, measured on this device before a template is trained."""
    latencies: str | None = None
    """Latencies of another machine, in place of those of this device: a file that `jnas latency` printed there of five
    exported networks or more. Those of other templates are estimated from them."""
    report: bool = field(default=True, metadata=_NO_IDENTITY)
    """Write a page that shows the search while it runs and afterwards, in a folder beside the store ending in
    -report."""
    start: tuple[str, ...] = ()
    """Templates of your own to begin with, by their hashes."""
    known_networks: bool = True
    """Begin with networks that people build by hand, those within the limits."""
    num_random: int = 0
    """Random templates to train after these."""
    max_trials: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: templates to train, in all runs of this search together."""
    target_accuracy: float | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: validation accuracy, 0 to 1, at which the search ends."""
    generations: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Limit: rounds of evolution."""
    trials_per_generation: int = 4
    """Templates to train in each round of evolution."""
    epochs: int | None = None
    """Passes over the training images for each template; by default as the time allows."""
    train_images: int | None = None
    """Training images for each template; the winner is trained on all. By default as the time allows."""
    prune_after_epochs: int = 0
    """Epochs after which a template is stopped if, by the predictor, it will hardly become the best; 0 trains all to
    the end."""
    num_promoted: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Best templates that are trained again, for several times as long, before one of them is the winner; by default 4
    where time alone decides and allows it, else none."""
    final_epochs: int | None = field(default=None, metadata=_NO_IDENTITY)
    """Passes over the training images in the winner's training; by default as the time allows."""
    final_repeats: int = field(default=1, metadata=_NO_IDENTITY)
    """Trainings of each finalist for longer, each with another seed. The winner's first weights are kept."""
    num_finalists: int = field(default=1, metadata=_NO_IDENTITY)
    """Templates that are trained for longer; the one with the best mean validation accuracy wins."""

    def __post_init__(self) -> None:
        apply_rules(self, _RULES)
        self._check_objectives()
        # These check the other settings, and make them numbers of Python's.
        recipe, space = self.make_recipe(self.epochs), self.search_space()
        given = [name for name in _RECIPE_FIELDS if getattr(self, name) is not None]
        settings = {name: getattr(recipe, name) for name in given}
        settings |= {name: getattr(space, name) for name in SPACE_FIELDS}
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        if self.epochs is not None and self.prune_after_epochs >= self.epochs:
            condition = f"less than epochs ({self.epochs})"
            refuse("prune_after_epochs", condition, self.prune_after_epochs, "use 0 to train all to the end")

    def _check_objectives(self) -> None:
        names = (self.objectives,) if isinstance(self.objectives, str) else self.objectives
        names = to_tuple("objectives", names, f"names among {', '.join(get_args(Objective))}")
        objectives = tuple(to_choice("objectives", name, get_args(Objective)) for name in names)
        object.__setattr__(self, "objectives", objectives)
        if "accuracy" not in objectives or len(set(objectives)) < len(objectives):
            raise JnasError(f"objectives must have accuracy and each name once, got {' '.join(objectives) or 'none'}.")

    @classmethod
    def from_preset(cls, preset: PresetName | None, **changes: Any) -> Self:
        """Returns the settings of a preset ("gpu"), with some of them changed; None is the defaults."""
        settings = {} if preset is None else PRESETS[to_choice("preset", preset, PRESETS, "leave it out for none")]
        check_names(changes)
        return cls(**(settings | changes))

    @property
    def store_path(self) -> str:
        """The file of the results."""
        return self.store or os.path.join(self.out, paths.STORE_NAME)

    @property
    def cost_objectives(self) -> tuple[Objective, ...]:
        """The objectives besides the accuracy."""
        return tuple(name for name in self.objectives if name != "accuracy")

    @property
    def time_limit(self) -> float | None:
        """Seconds that a run may take; None where something else ends it."""
        minutes = self.minutes or (DEFAULT_MINUTES if self.is_timed else None)
        return minutes and 60 * minutes

    @property
    def overlaps(self) -> bool:
        """Whether a round may begin before the one before has ended.

        That is where the clock has its say anyway, and neither a latency is measured, which other work would disturb,
        nor the networks of a round are compared with each other.
        """
        is_counted = self.max_trials is not None or self.generations is not None or self.prune_after_epochs > 0
        costs_time = self.max_latency_ms is not None or "latency" in self.objectives
        return self.time_limit is not None and not is_counted and not (costs_time and self.latencies is None)

    @property
    def is_timed(self) -> bool:
        """Whether the time alone ends the search."""
        others = (self.generations, self.max_trials, self.target_accuracy)
        return all(limit is None for limit in others)

    def rounds(self) -> Iterator[Round]:
        """Yields the rounds of the search; without end where only a limit ends it."""
        numbers = itertools.count()
        yield Round(next(numbers), "stored", MAX_STORED)
        if self.known_networks or self.start:
            yield Round(next(numbers), "known", MAX_KNOWN + len(self.start))
        if self.num_random:
            yield Round(next(numbers), "random", self.num_random)
        for _ in itertools.count() if self.generations is None else range(self.generations):
            yield Round(next(numbers), "evolved", self.trials_per_generation)

    @property
    def planned_seconds(self) -> float | None:
        """The time by which a plan says what is not given: how large templates may be, how long each is trained."""
        is_given = self.max_macs is not None and self.epochs is not None
        return None if is_given else self.time_limit or 60 * DEFAULT_MINUTES

    def candidate_recipe(self) -> Recipe:
        """Returns how candidates are trained; images are classified as they are: other views take much longer."""
        recipe = self.make_recipe(self.epochs, self.train_images)
        return dataclasses.replace(recipe, test_flip=False, test_shift=0)

    def experiment_id(self, data: Dataset) -> str:
        """Returns 12 hex digits that identify the search: all that decides which templates are trained, and how."""
        names = [setting.name for setting in dataclasses.fields(self) if setting.metadata.get("identity", True)]
        settings = {name: getattr(self, name) for name in names}
        recipe = self.make_recipe(self.epochs, self.train_images)
        identity = json.dumps([settings, self.planned_seconds, recipe.id, data.fingerprint], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


def with_plan(config: SearchConfig, num_images: int, speed: float | None = None) -> SearchConfig:
    """Returns the settings with numbers in place of what follows from the time and the number of training images.

    `final_epochs` stays None where there is a limit of time: the winner has what is left of it. `speed` is that of
    `make_plan`.
    """
    on_gpu = jax.default_backend() != "cpu"
    seconds = config.planned_seconds or config.time_limit or 60 * DEFAULT_MINUTES
    given = (config.epochs, config.train_images, config.final_epochs)
    is_planned = config.is_timed and not config.cost_objectives and all(setting is None for setting in given)
    num_promoted = config.num_promoted if is_planned else config.num_promoted or 0
    plan = make_plan(seconds, num_images, num_cores(), on_gpu, speed, num_promoted)
    changes: dict[str, Any] = {"max_macs": config.max_macs or plan.max_macs, "epochs": config.epochs or plan.epochs}
    changes["num_promoted"] = plan.num_promoted
    if config.train_images is None and config.epochs is None and plan.train_images < num_images:
        changes["train_images"] = plan.train_images
    if config.final_epochs is None and config.time_limit is None:
        changes["final_epochs"] = plan.final_epochs
    return dataclasses.replace(config, **changes)


def setting_parameters() -> list[inspect.Parameter]:
    """Returns the settings but `data`, as parameters of a function that takes `**options: Unpack[SearchOptions]`."""
    hints = get_type_hints(SearchOptions)
    fields = [field for field in dataclasses.fields(SearchConfig) if field.name != "data"]
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name]) for field in fields
    ]


def check_names(settings: Iterable[str]) -> None:
    """Raises a JnasError where a name is none of a setting."""
    names = [setting.name for setting in dataclasses.fields(SearchConfig)]
    for name in set(settings).difference(names):
        close = difflib.get_close_matches(name, names, 1)
        hint = f"perhaps you mean {close[0]}." if close else "see the fields of SearchConfig."
        raise JnasError(f"A search has no setting {shown(name)}: {hint}")
