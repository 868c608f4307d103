"""What all trackers have in common: the events of a search as settings, numbers at a step, and an outcome."""

import abc
import dataclasses
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jnas._search.callbacks import Callback
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas.errors import JnasError

if TYPE_CHECKING:
    from jnas._search.setup import SearchSetup


class Tracker(Callback, abc.ABC):
    """A callback that logs each network of a search; a subclass says how.

    A step is a network that was trained: its validation accuracy (`val_acc`, after the last epoch), the best so far
    (`best_val_acc`), `params`, `macs` and `train_seconds`. The outcome has the winner's hash, costs and accuracies.
    """

    def __init__(self) -> None:
        self._num_trials, self._best = 0, 0.0

    @abc.abstractmethod
    def start(self, settings: dict[str, Any]) -> None:
        """Begins a run with the settings of a search; those that are not set are None."""

    @abc.abstractmethod
    def log(self, values: dict[str, float], step: int) -> None:
        """Logs numbers at a step, from 1."""

    @abc.abstractmethod
    def finish(self, outcome: dict[str, Any]) -> None:
        """Logs the outcome: numbers, and the winner's hash as text."""

    def on_search_start(self, setup: "SearchSetup") -> None:
        settings = dataclasses.asdict(setup.config)
        self.start(settings | {"data": setup.data.name, "experiment": setup.experiment})

    def on_trial_end(self, candidate: EvaluatedCandidate) -> None:
        self._num_trials += 1
        if not candidate.is_ok:
            return
        row = candidate.evaluation
        self._best = max(self._best, candidate.accuracy)
        values = {"val_acc": candidate.accuracy, "best_val_acc": self._best, "train_seconds": row.train_seconds}
        self.log(values | {"params": row.params or 0, "macs": row.macs or 0}, self._num_trials)

    def on_search_end(self, result: SearchResult) -> None:
        best, final = result.best, result.best.final
        outcome: dict[str, Any] = {"winner_hash": best.template.hash, "winner_params": best.template.cost.params}
        outcome["winner_macs"] = best.template.cost.macs
        if final is not None and final.val_acc_final is not None:
            outcome["winner_val_acc"] = final.val_acc_final
        if final is not None and final.test_acc_final is not None:
            outcome["winner_test_acc"] = final.test_acc_final
        self.finish(outcome)


def load_tracker(name: str, package: str) -> ModuleType:
    """Returns an optional module; raises a JnasError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise JnasError(f"This tracker needs {package}: pip install {package}.") from error
