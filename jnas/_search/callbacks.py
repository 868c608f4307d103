"""The events of a search, for whoever wants to hear of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jnas._search.config import Round
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas.predict import Predictor
from jnas.train import Recipe

if TYPE_CHECKING:
    from jnas._search.population import RoundResult
    from jnas._search.setup import SearchSetup


class Callback:
    """Hears of the events of a search. This one does nothing; a subclass has methods of those that it wants.

    They are called in the thread of `jnas.search`, which waits for them; an exception ends the search, and everything
    that was finished is kept.

    Example:
      >>> class Print(Callback):
      ...     def on_trial_end(self, candidate):
      ...         print(candidate.accuracy if candidate.is_ok else candidate.evaluation.message)
      >>> jnas.search(minutes=3, callbacks=[Print()])  # doctest: +SKIP
    """

    def on_search_start(self, setup: "SearchSetup") -> None:
        """Everything is set up. `setup` has `config`, `data`, `recipe`, `store` and the id there, `experiment`."""

    def on_wait(self) -> None:
        """Another process runs the same search, and is waited for."""

    def on_message(self, text: str) -> None:
        """What happens now, in a few words."""

    def on_round_start(self, round: Round, num_trials: int) -> None:
        """A round has chosen so many networks, which are trained now; those of the one before may still train."""

    def on_predictor_fit(self, predictor: Predictor | None) -> None:
        """A predictor was fitted to all rows so far; None where they are too few."""

    def on_epoch_end(self, epoch: int) -> None:
        """An epoch of this number, from 1, is done; several networks may be in training."""

    def on_trial_end(self, candidate: EvaluatedCandidate) -> None:
        """A network was trained, now or by an earlier run; its `is_ok` says whether that went well."""

    def on_round_end(self, result: "RoundResult") -> None:
        """All networks of a round are trained."""

    def on_interrupt(self) -> None:
        """Ctrl-C was pressed; called within a signal handler."""

    def on_second_interrupt(self) -> None:
        """Ctrl-C was pressed again; called within a signal handler. The search ends at once."""

    def on_stop(self, reason: str) -> None:
        """A limit is reached, or the user wants an end: the best, or the winner, are trained now."""

    def on_promotion(self, recipe: Recipe, candidates: Sequence[EvaluatedCandidate]) -> None:
        """The best candidates are trained again by this recipe now, for longer, before one of them is the winner."""

    def on_final_training(self, num_epochs: int) -> None:
        """The winner, and what might win, is trained for so many epochs now."""

    def on_search_end(self, result: SearchResult) -> None:
        """The winner is trained and tested."""

    def close(self) -> None:
        """The search is over, however it ended."""


class Callbacks(Callback):
    """Tells several callbacks, in order."""

    def __init__(self, callbacks: Sequence[Callback]):
        self._callbacks = callbacks

    def __getattribute__(self, name: str):
        if name[0] == "_":
            return object.__getattribute__(self, name)
        methods = [getattr(callback, name) for callback in self._callbacks]

        def call(*arguments: object) -> None:
            for method in methods:
                method(*arguments)

        return call
