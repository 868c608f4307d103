"""What a search is asked for. The command line and `jnas.search(...)` are made from this one class."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal, get_args

from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.nn.lowering import check_policy
from jnas.search import objectives as wanted
from jnas.search.acquire import Acquisition
from jnas.search.evolution import Searcher
from jnas.search.objectives import Objective
from jnas.space import Space
from jnas.train import PRESETS, Recipe


@dataclass(frozen=True)
class SearchConfig:
    """Find a small image classifier: random templates, then filtered ones, then evolved ones.

    Step 1 trains random templates. Step 2 fits LSTMs to their validation accuracies, and trains the candidates that
    they like best. Step 3 evolves candidates against the LSTMs and trains the best of each generation. The winner by
    validation accuracy is trained once more, for longer, and only then tested.

    Run the same command on the same store again, and the search goes on where it stopped.
    """

    data: str = "excerpt"
    """Images: 'excerpt' (the 5,000 of CIFAR-10 that come with jnas), 'cifar10' (all 60,000, by TensorFlow Datasets),
    the path of an .npz file (x_train, y_train, x_test, y_test; uint8), or of a prepared TensorFlow Datasets folder."""
    classes: int | None = None
    """Number of classes, where it is not the largest training label plus one."""
    store: str = "jnas.duckdb"
    """File of the results (DuckDB); weights are kept in a folder of the same name ending in .checkpoints."""
    random: int = 12
    """Step 1: number of random templates to train."""
    filtered: int = 4
    """Step 2: number of filtered candidates to train."""
    candidates: int = 2048
    """Step 2: number of random candidates that the predictor chooses from. Step 3: the size of the population."""
    refit: int = 20
    """Step 2: number of candidates to train between two fits of the predictor."""
    acquisition: Acquisition = "ucb"
    """Which candidates the predictor prefers: the best by its mean, by its mean plus one standard deviation (ucb), or
    the best of one member of the ensemble after the other, drawn at random (thompson)."""
    generations: int = 2
    """Step 3: number of generations in which templates are trained."""
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
    """Passes over the training images for the winner."""
    batch_size: int | None = None
    """Images a training step; the recipe's own where not given."""
    learning_rate: float | None = None
    """Peak learning rate; the recipe's own where not given."""
    validation: float | None = None
    """Share of the training images kept for validation, 0 to 1; the recipe's own where not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in while training; bfloat16 is for GPUs. Weights and optimiser stay float32."""
    policy: Literal["exact", "folded", "envelope", "auto"] = "exact"
    """Which templates share a compiled program; auto takes what is expected to be fastest. Rows differ by rounding."""
    conv_num: int = 6
    """Convolution layers a random template has, at most."""
    lin_num: int = 3
    """Linear layers a random template has, at most, the last one included."""
    max_params: int | None = None
    """Learnable parameters a template may have, at most."""
    max_macs: int | None = 2_000_000
    """Multiply-accumulates an image a template may take, at most; 'None' for no limit."""
    max_latency_ms: float | None = None
    """Milliseconds that one image may take, at most, measured on this device before a template is trained."""
    seed: int = 0
    """Of everything random: the same seed on the same CPU finds the same."""

    def check(self) -> None:
        """Raises a JnasError where no search can be made of this.

        Not on construction: the command line's parser would wrap the sentence in words of its own.
        """
        least = {"random": 1, "filtered": 0, "candidates": 2, "refit": 1, "generations": 0, "children": 1, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise JnasError(f"--{name} {getattr(self, name)} is too small: give {minimum} or more.")
        if self.seed >= 2**32:
            raise JnasError(f"--seed {self.seed} is too large: give less than 2^32.")
        most = max(self.filtered, self.children)
        if self.candidates < most:
            raise JnasError(f"--candidates {self.candidates} are too few to choose {most} from: give {most} or more.")
        for name in ("max_params", "max_macs"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < 2**64:
                raise JnasError(f"--{name.replace('_', '-')} {value} is no limit: give 1 or more, below 2^64.")
        if self.max_latency_ms is not None and not self.max_latency_ms > 0:
            raise JnasError(f"--max-latency-ms {self.max_latency_ms} is no limit: give a positive number.")
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
        check_policy(self.policy)
        if self.acquisition not in get_args(Acquisition):
            rules = ", ".join(get_args(Acquisition))
            raise JnasError(f"There is no acquisition rule {self.acquisition!r}: choose one of {rules}.")
        if self.recipe not in PRESETS:
            raise JnasError(f"There is no recipe {self.recipe!r}: choose one of {', '.join(PRESETS)}.")
        self.space(None), self.training(), self.final_training()  # they check the rest

    def space(self, data: Dataset | None) -> Space:
        """The space to search; with the image shape and class count of CIFAR-10 where there is no data yet."""
        shape = {} if data is None else {"in_shape": data.in_shape, "classes": data.classes}
        return Space(**shape, conv_num=self.conv_num, lin_num=self.lin_num)

    def training(self) -> Recipe:
        """How candidates are trained."""
        given = {name: getattr(self, name) for name in ("batch_size", "learning_rate", "validation", "precision")}
        return PRESETS[self.recipe](
            epochs=self.epochs, **{name: value for name, value in given.items() if value is not None}
        )

    def final_training(self) -> Recipe:
        """How the winner is trained."""
        return dataclasses.replace(self.training(), epochs=self.final_epochs)

    def experiment(self, data: Dataset) -> str:
        """12 hex digits that tell this search from others: all that decides which templates are trained, and how.

        How many generations there are, how long the winner is trained and which programs are shared do not: another
        choice of these continues a search.
        """
        settings = dataclasses.asdict(self)
        for name in ("data", "classes", "store", "generations", "final_epochs", "policy"):
            del settings[name]
        identity = json.dumps([settings, self.training().id, data.fingerprint], sort_keys=True)
        return hashlib.sha256(identity.encode()).hexdigest()[:12]
