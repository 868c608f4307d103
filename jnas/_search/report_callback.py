"""The page of a search, which is live while it runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jnas._search.callbacks import Callback
from jnas._search.config import Round
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas.report import LiveReport
from jnas.store import paths
from jnas.train import Recipe

if TYPE_CHECKING:
    from jnas._search.population import RoundResult
    from jnas._search.setup import SearchSetup


class ReportCallback(Callback):
    """Keeps the page beside the store up to date."""

    _is_own = False
    """Whether this process runs the search that the page shows, so that it is to complete it."""

    def on_search_start(self, setup: "SearchSetup") -> None:
        self._setup = setup
        self._report = LiveReport(setup.store, setup.experiment, paths.report_dir(setup.store.path))
        self._is_own = True

    def on_wait(self) -> None:
        self._is_own = False

    def on_round_start(self, round: Round, num_trials: int) -> None:
        self._update(f"training {num_trials} networks ({round.phase})")

    def on_trial_end(self, candidate: EvaluatedCandidate) -> None:
        self._update("training networks")

    def on_round_end(self, result: "RoundResult") -> None:
        self._update("choosing the next networks")

    def on_promotion(self, recipe: Recipe, candidates: Sequence[EvaluatedCandidate]) -> None:
        self._update(f"training the best {len(candidates)} again", force=True)

    def on_final_training(self, num_epochs: int) -> None:
        self._update(f"training the winner for {num_epochs} epochs", force=True)

    def on_search_end(self, result: SearchResult) -> None:
        self._report.finish()
        self._is_own = False

    def close(self) -> None:
        if self._is_own:  # it ended with an error
            self._report.finish()

    def _update(self, note: str, force: bool = False) -> None:
        limit, elapsed = self._setup.config.time_limit, self._setup.seconds
        self._is_own = True
        self._report.update(note, None if limit is None else max(limit - elapsed, 0.0), force)
