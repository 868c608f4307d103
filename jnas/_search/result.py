"""What a search found."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from jnas._runtime.jax_config import with_own_settings
from jnas._search.config import Phase
from jnas._search.stored_images import StoredImages
from jnas.data import Dataset, check_images
from jnas.report import Point, candidate_html, result_html
from jnas.space import Candidate, Template
from jnas.store import Evaluation, Metric, Store
from jnas.train import Recipe, Trainer, Trial, Views, load_weights, predict, probabilities, trained_module

if TYPE_CHECKING:
    import pandas as pd

    from jnas.export import Export


@dataclass(frozen=True, repr=False)
class EvaluatedCandidate:
    """A template that was trained."""

    candidate: Candidate
    evaluation: Evaluation
    """The row of its training in the search."""
    phase: Phase
    predicted_mean: float | None
    """The accuracy that the predictor expected; None if there was no predictor."""
    _data: Dataset | StoredImages = field(compare=False)
    _recipe: Recipe
    metric: Metric = "accuracy"
    """What the search chooses by."""
    promotion: Evaluation | None = None
    """The row of its training among the best, before one of them was the winner; None where it had none."""
    finals: tuple[Evaluation, ...] = ()
    """The rows of its longer training, one a seed: of the winner, and of those trained for longer beside it."""
    _weights: Path | None = None
    _store: Store | None = None
    _experiment: str | None = None

    @property
    def template(self) -> Template:
        """The architecture; `print(candidate.template)` shows it."""
        return self.candidate.template

    @property
    def is_ok(self) -> bool:
        """Whether it was trained well."""
        return self.evaluation.status == "ok"

    @property
    def accuracy(self) -> float:
        """The validation accuracy after the last epoch of its training in the search, which must be `is_ok`."""
        assert self.evaluation.val_acc_final is not None, self.evaluation.status
        return self.evaluation.val_acc_final

    @property
    def score(self) -> float:
        """What the search chooses by, after the same epoch; minus the loss, so that more is better."""
        return self.evaluation.score(self.metric)

    @property
    def _longest(self) -> Evaluation:
        """The longest training that more candidates than the finalists had."""
        return self.promotion or self.evaluation

    @property
    def final(self) -> Evaluation | None:
        """The first of `finals`, of which the winner's weights are kept; None where there is none."""
        return self.finals[0] if self.finals else None

    @with_own_settings
    def build(self) -> nnx.Module:
        """Returns the trained Flax module, in evaluation mode: `[N, H, W, C]` floats in, `[N, classes]` logits out.

        `jnas.data.normalise` scales uint8 images to the pixels from -1 to 1 that it takes. The winner's weights are on
        disk; other candidates are trained again, as their row says. Accuracies are measured as by `predict`.
        """
        key = self.evaluation.key
        if self._weights is not None and self._weights.exists():
            return load_weights(self._weights, self.template)
        data = self._data.load() if isinstance(self._data, StoredImages) else self._data
        trainer = Trainer(self.template, self._recipe, data.split(self._recipe.val_fraction, key.split_seed))
        return trained_module(trainer.train([Trial(self.template, key.seed)]))

    @with_own_settings
    def predict(self, images: ArrayLike) -> np.ndarray:
        """Returns the class of each of `images` `[N, H, W, C]` uint8; loads or trains the module, as `build` does.

        Images of one channel may be `[N, H, W]`; of no images the answer is empty. The class of the winner
        is by the mean logits of its recipe's `views`: `fast` has mirror images and moved ones.

        Raises:
          JnasError: if the images are of another type or shape than those of training.
        """
        channels, *size = in_shape = self.template.in_shape
        images = check_images(images, (size[0], size[1], channels))  # before a module is trained for them
        return predict(self.build(), images, self._views, in_shape)

    @with_own_settings
    def predict_proba(self, images: ArrayLike) -> np.ndarray:
        """Returns the probabilities `[N, classes]` of the classes of each image; of `images` as `predict` takes them.

        They are the softmax of the mean logits of the views by which `predict` answers.

        Raises:
          JnasError: if the images are of another type or shape than those of training.
        """
        channels, *size = in_shape = self.template.in_shape
        images = check_images(images, (size[0], size[1], channels))  # before a module is trained for them
        return probabilities(self.build(), images, self._views, in_shape)

    @property
    def _views(self) -> Views:
        """Those by which its accuracies are measured, after the longer training where there was one."""
        if self.final is None or self._store is None:
            return self._recipe.views
        return Recipe.from_json(self._store.recipe_json(self.final.key.recipe_id)).views

    def export(self, out: str | Path | None = None, **options: Any) -> "Export":
        """Returns what was written: a folder with the trained network in forms that need no jnas.

        Args:
          out: the folder; None for one beside the store.
          **options: those of `jnas.export_model`, such as `format`.

        Raises:
          JnasError: as `jnas.export_model` does.
        """
        from jnas.export import export_model

        assert self._store is not None, "a search made this"
        data = None if isinstance(self._data, StoredImages) else self._data
        chosen = {"experiment": self._experiment, "data": data} | options
        return export_model(self._store, self.candidate.hash, out, **chosen)

    def _repr_html_(self) -> str:
        notes = []
        if self.final is not None and self.final.val_acc_final is not None:
            tested = self.final.test_acc_final
            test = "" if tested is None else f", test accuracy {tested:.4f}"
            epochs = len(self.final.epochs)
            notes.append(f"trained for {epochs} epochs: validation accuracy {self.final.val_acc_final:.4f}{test}")
        return candidate_html(self._point, notes)

    @property
    def _point(self) -> Point:
        return Point(self.phase, self.evaluation.val_acc_final or 0.0, self.template)

    def __repr__(self) -> str:
        accuracy = self.evaluation.val_acc_final
        return f"EvaluatedCandidate({self.candidate.hash!r}, {self.phase}, val_acc_final {accuracy})"


@dataclass(frozen=True, repr=False)
class SearchResult:
    """What a search found, or has found so far."""

    candidates: tuple[EvaluatedCandidate, ...]
    """The templates that were trained well, the best by the search's metric after the last epoch first."""
    store: Store
    """All rows; `store.sql(...)` asks anything."""
    experiment: str
    """The search's id in the store."""
    best: EvaluatedCandidate
    """The winner by validation accuracy, of the longer trainings where there were several; the best so far of a search
    that has none yet."""

    @property
    def known(self) -> EvaluatedCandidate | None:
        """The best of the networks that the search began with: those that people build by hand, and those of `start`.

        None where it began with none, or none could be trained. Those that were promoted come before others.
        """
        known = [candidate for candidate in self.candidates if candidate.phase == "known"]
        return max(known, key=lambda one: (one.promotion is not None, one._longest.score(one.metric)), default=None)

    def top(self, k: int = 10) -> list[EvaluatedCandidate]:
        """Returns the best k."""
        return list(self.candidates[:k])

    @property
    def front(self) -> "pd.DataFrame":
        """The Pareto front of the search's objectives, the most accurate first; of accuracy and MACs where it had one.

        Columns: `rank` (0 is the most accurate), `hash`, `val_acc_final`, `params`, `macs`, `memory_bytes` and
        `flash_bytes` (see `jnas.space.board_needs`), and `latency_ms` where that was measured.
        """
        return self.store.front_df(self.experiment)

    def to_df(self) -> "pd.DataFrame":
        """Returns one row a template that this search trained, in the order of training, failed ones too."""
        return self.store.experiment_df(self.experiment)

    def _repr_html_(self) -> str:
        return result_html(self.best._repr_html_(), [candidate._point for candidate in self.candidates])

    def __repr__(self) -> str:
        return (
            f"SearchResult({len(self.candidates)} candidates, the winner's validation accuracy after the last epoch "
            f"{self.best.accuracy:.4f}, store {str(self.store.path)!r})"
        )
