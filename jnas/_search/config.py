"""What a search is asked for. The command line and `jnas.search(...)` are made from this one class."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from jnas._search import objectives as wanted
from jnas._search.acquisition import Acquisition
from jnas._search.evolution import Searcher
from jnas._search.objectives import Objective
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.space import Space, Style
from jnas.train import COMPILE_TIMEOUT, RECIPES, Recipe

PRESETS: dict[str, dict[str, Any]] = {
    "record": {
        "data": "cifar10",
        "style": "modern",
        "conv_num": 10,
        "lin_num": 2,
        "max_macs": 150_000_000,
        "objectives": ("accuracy", "params"),
        "random": 48,
        "filtered": 48,
        "refit": 24,
        "candidates": 8192,
        "children": 24,
        "epochs": 8,
        "early_epochs": 2,
        "final_epochs": 60,
        "final_seeds": 5,
        "final_templates": 3,
        "max_minutes": 45.0,
        "batch_size": 256,
        "precision": "bfloat16",
    },
}
"""Settings by name. "record" is for all of CIFAR-10 on one GPU, and goes for an accuracy of more than .9."""

_SINCE = {"style": "sophius"}
"""Settings that came later, with what they were before: searches that do not use them keep their names in a store."""
_ASIDE = (
    *(
        "preset",
        "data",
        "classes",
        "store",
        "generations",
        "max_minutes",
        "max_evaluations",
        "target_accuracy",
    ),
    *("final_epochs", "final_seeds", "final_templates", "max_compile_seconds"),
)
"""Settings by which no other templates are trained, or no other way."""


def _plain(value: Any) -> Any:
    """A setting as the command line gives it: hashable, and known to JSON."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return tuple(value)
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class SearchConfig:
    """Find a small image classifier: random templates, then filtered ones, then evolved ones.

    Step 1 trains random templates. Step 2 fits LSTMs to their validation accuracies, and trains the candidates that
    they like best. Step 3 evolves candidates against the LSTMs and trains the best of each generation. The winner by
    validation accuracy is trained again, for longer, and only then tested.

    Run the same command on the same store again, and the search goes on where it stopped.
    """

    preset: Literal["record"] | None = None
    """Settings to begin with, which other options change. 'record': all of CIFAR-10 on one GPU, for more than .9."""
    data: str = "excerpt"
    """Images: 'excerpt' (the 5,000 of CIFAR-10 that come with jnas), 'cifar10' (all 60,000, by TensorFlow Datasets),
    the path of an .npz file (x_train, y_train, x_test, y_test; uint8), or of a prepared TensorFlow Datasets folder."""
    classes: int | None = None
    """Number of classes, where it is not the largest training label plus one."""
    store: str = "jnas.duckdb"
    """File of the results (DuckDB); weights are kept in a folder of the same name ending in .checkpoints."""
    random: int = 12
    """Step 1: number of random templates to train; the predictor needs 10 rows that ended well, or there is none."""
    filtered: int = 4
    """Step 2: number of filtered candidates to train."""
    candidates: int = 2048
    """Step 2: number of random candidates that the predictor chooses from. Step 3: the size of the population."""
    refit: int = 20
    """Step 2: number of candidates to train between two fits of the predictor."""
    acquisition: Acquisition = "ucb"
    """Step 2: which candidates the predictor prefers: the best by its mean, by its mean plus one standard deviation
    (ucb), or the best of one member of the ensemble after the other, drawn at random (thompson)."""
    generations: int | None = None
    """Step 3: number of generations in which templates are trained; 2 where not given, or, with any of the three limits
    that follow, as many as they allow."""
    max_minutes: float | None = None
    """Wall clock of this run, the last and longer trainings included as far as they can be foreseen."""
    max_evaluations: int | None = None
    """Templates to train, at most, all steps and all runs of this search together."""
    target_accuracy: float | None = None
    """Validation accuracy, 0 to 1, that is enough."""
    children: int = 3
    """Step 3: number of templates to train in each generation."""
    algorithm: Searcher = "genetic"
    """Step 3: how candidates are found that the predictor likes. With several objectives, genetic is NSGA-II."""
    objectives: tuple[Objective, ...] = ("accuracy",)
    """Step 3: what is to be good: accuracy alone, or traded against any of macs, params and (measured) latency."""
    recipe: Literal["standard", "sophius"] = "standard"
    """How to train: what one would use today, or the protocol of Sophius (without its two flaws)."""
    epochs: int = 3
    """Passes over the training images for each template."""
    early_epochs: int = 0
    """Steps 2 and 3: epochs after which a template is stopped that, by the predictor, will hardly become the best; 0 to
    train all to the end."""
    final_epochs: int = 10
    """Passes over the training images when the best are trained for longer."""
    final_seeds: int = 3
    """How often each of the best is trained then, with another seed each time; the winner's first weights are kept."""
    final_templates: int = 1
    """How many of the best are trained for longer; the one with the best mean validation accuracy then wins."""
    batch_size: int | None = None
    """Images a training step; the recipe's own where not given."""
    learning_rate: float | None = None
    """Peak learning rate; the recipe's own where not given."""
    validation: float | None = None
    """Share of the training images kept for validation, 0 to 1; the recipe's own where not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in while training; bfloat16 is for GPUs. Weights and optimiser stay float32."""
    style: Style = "sophius"
    """Random templates: those of Sophius; or modern, padded 3x3 convolutions with batch norm, an activation and now and
    then a pooling (give them a higher --max-macs). Evolution goes beyond."""
    conv_num: int = 6
    """Convolution layers a random template has, at most."""
    lin_num: int = 3
    """Linear layers a random template has, at most, the last one included."""
    max_params: int | None = None
    """Learnable parameters a template may have, at most."""
    max_macs: int | None = 2_000_000
    """Multiply-accumulates an image a template may take, at most; 'None' for no limit."""
    max_compile_seconds: float = COMPILE_TIMEOUT
    """Seconds that a program may take to compile; then it is given up, and its template fails (timeout)."""
    max_latency_ms: float | None = None
    """Milliseconds that one image may take, at most, measured on this device before a template is trained."""
    seed: int = 0
    """Of everything random: the same seed on the same CPU finds the same."""

    @classmethod
    def of(cls, preset: str | None = None, **settings: Any) -> SearchConfig:
        """A preset's settings with others in their place; paths, lists and NumPy's numbers will do as well.

        Raises:
          JnasError: there is no such preset.
        """
        if preset is not None and preset not in PRESETS:
            raise JnasError(f"There is no preset {preset!r}: choose one of {', '.join(PRESETS)}, or none.")
        given = PRESETS.get(preset, {}) | settings
        return cls(preset=preset, **{name: _plain(value) for name, value in given.items()})

    def check(self) -> None:
        """Raises a JnasError where no search can be made of this.

        Not on construction: the command line's parser would wrap the sentence in words of its own.
        """
        least = {"random": 1, "filtered": 0, "candidates": 2, "refit": 1, "children": 1, "seed": 0}
        least |= {"generations": 0, "max_evaluations": 1, "final_seeds": 1, "final_templates": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise JnasError(f"--{name.replace('_', '-')} {value} is too small: give {minimum} or more.")
        for name in ("max_minutes", "max_compile_seconds", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise JnasError(f"--{name.replace('_', '-')} {value} is no limit: give a positive number.")
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise JnasError(
                f"--target-accuracy {self.target_accuracy} is no accuracy: give a share of 1, such as 0.9 for 90 %."
            )
        if self.seed >= 2**32:
            raise JnasError(f"--seed {self.seed} is too large: give less than 2^32.")
        most = max(self.filtered, self.children)
        if self.candidates < most:
            raise JnasError(f"--candidates {self.candidates} are too few to choose {most} from: give {most} or more.")
        for name in ("max_params", "max_macs"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < 2**64:
                raise JnasError(f"--{name.replace('_', '-')} {value} is no limit: give 1 or more, below 2^64.")
        wanted.check(self.objectives)
        searchers = get_args(Searcher)
        if self.algorithm not in searchers:
            raise JnasError(f"There is no algorithm {self.algorithm!r}: choose one of {', '.join(searchers)}.")
        if len(self.objectives) > 1 and self.algorithm != "genetic":
            raise JnasError(
                f"--algorithm {self.algorithm} knows one objective: take genetic, or --objectives accuracy."
            )
        if self.early_epochs and not 0 < self.early_epochs < self.epochs:
            raise JnasError(
                f"--early-epochs {self.early_epochs} of {self.epochs} stop nothing early: give fewer than --epochs, or "
                "0 to train all to the end."
            )
        if self.acquisition not in get_args(Acquisition):
            rules = ", ".join(get_args(Acquisition))
            raise JnasError(f"There is no acquisition rule {self.acquisition!r}: choose one of {rules}.")
        if self.recipe not in RECIPES:
            raise JnasError(f"There is no recipe {self.recipe!r}: choose one of {', '.join(RECIPES)}.")
        self.space(None), self.training(), self.final_training()  # they check the rest

    def space(self, data: Dataset | None) -> Space:
        """The space to search; with the image shape and class count of CIFAR-10 where there is no data yet."""
        shape = {} if data is None else {"in_shape": data.in_shape, "classes": data.classes}
        limits = {"max_params": self.max_params, "max_macs": self.max_macs}
        return Space(**shape, conv_num=self.conv_num, lin_num=self.lin_num, style=self.style, **limits)

    def training(self) -> Recipe:
        """How candidates are trained."""
        given = {name: getattr(self, name) for name in ("batch_size", "learning_rate", "precision")}
        given["val_fraction"] = self.validation
        return RECIPES[self.recipe](
            epochs=self.epochs, **{name: value for name, value in given.items() if value is not None}
        )

    def final_training(self) -> Recipe:
        """How the winner is trained."""
        return dataclasses.replace(self.training(), epochs=self.final_epochs)

    def rounds(self) -> Iterator[tuple[str, int]]:
        """The step of each round, and how many templates it trains; without end where only a limit ends them."""
        yield "random", self.random
        for done in range(0, self.filtered, self.refit):  # the predictor is fitted again before each
            yield "filtered", min(self.refit, self.filtered - done)
        generations = 2 if self.generations is None else self.generations
        for _ in itertools.count() if self.endless else range(generations):
            yield "evolved", self.children

    @property
    def endless(self) -> bool:
        """Whether only a limit ends the search."""
        limits = (self.max_minutes, self.max_evaluations, self.target_accuracy)
        return self.generations is None and limits != (None, None, None)

    def experiment(self, data: Dataset) -> str:
        """12 hex digits that tell this search from others: all that decides which templates are trained, and how.

        When it ends, how the winner is trained and which programs are shared do not: another choice of these continues
        a search.
        """
        settings = dataclasses.asdict(self)
        for name in (*_ASIDE, *(name for name, unused in _SINCE.items() if settings[name] == unused)):
            del settings[name]
        identity = json.dumps([settings, self.training().id, data.fingerprint], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]
