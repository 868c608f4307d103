"""The rounds of a search.

Each chooses templates, writes down its choice, and trains what the store does not have yet. So a search that was
stopped, run again, looks up what it chose and trained, and goes on from there.
"""

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from jnas._runtime import checkpoint
from jnas._search.config import Round
from jnas._search.finish import finish
from jnas._search.lock import hold_lock
from jnas._search.plan import reserved_share
from jnas._search.population import Population, RoundInTraining, RoundResult
from jnas._search.proposer import Proposer
from jnas._search.records import Records
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.setup import SearchSetup
from jnas._search.stopping import stop_reason
from jnas.space import Candidate
from jnas.store import Evaluation, Key
from jnas.train import TrainingRequest, run_pruned, run_stream, run_trials

PATIENCE = 6
"""Rounds without a better network after which the rest of the time goes into training the winner."""


class Search:
    """Rounds, one after the other or overlapping, until something ends them."""

    def __init__(self, setup: SearchSetup) -> None:
        self.setup = setup
        self.population = Population(final_is_timed=setup.config.final_epochs is None)
        self.proposer = Proposer(setup, self.population)
        self.records = Records(setup, self.population)
        self._reason: str | None = None  # why the search has to end, in a few words
        self._patience: str | None = None  # why it need not go on
        self._has_ended, self._num_idle = False, 0
        self._best: Candidate | None = None

    def run(self) -> SearchResult:
        """Returns what the search, or the rest of it, finds; waits while another process runs the same search."""
        setup = self.setup
        setup.callback.on_search_start(setup)
        with hold_lock(setup.checkpoints, setup.callback.on_wait, lambda: bool(setup.interrupt.by)) as waited:
            setup.start += waited
            with contextlib.closing(self._train_rounds()) as results:
                for result in results:
                    if not self._has_ended:  # else it had begun before
                        self._note(result)
            return finish(setup, self.population, self.records, self._reason or self._patience)

    def _note(self, result: RoundResult) -> None:
        """Notes whether the search is at its end after a round, and why."""
        is_evolved = result.round.phase == "evolved"
        before, self._best = self._best, next((one.candidate for one in self.population.ranking()), None)
        if is_evolved and result.evaluated:
            self._num_idle = self._num_idle + 1 if self._best == before else 0
        # Whether nothing is left to propose:
        is_exhausted = is_evolved and not result.evaluated and not self.population.in_training
        self._has_ended = self._reason is not None or is_exhausted
        if not self._has_ended and self._num_idle == PATIENCE and self._may_end_early():
            count = PATIENCE * self.setup.config.trials_per_generation
            self._patience = f"as the last {count} networks were no better: the time that is left is the winner's"
            self._has_ended = True

    def _may_end_early(self) -> bool:
        """Whether time alone ends the search, and all that is left of it goes into training the winner."""
        config = self.setup.config
        is_counted = config.generations is not None or config.max_trials is not None
        return config.final_epochs is None and not is_counted and not config.cost_objectives

    def _should_stop(self) -> bool:
        """Whether nothing more should begin; the first reason for that stays."""
        setup, population = self.setup, self.population
        setup.check_folder()
        if self._reason is None:
            good = population.good()
            best = max((trained.accuracy for trained in good), default=0.0)
            # Without a good network there is nothing to keep time for.
            reserve = self._reserve() if good else 0.0
            now = setup.seconds, reserve, setup.interrupt.by
            self._reason = stop_reason(setup.config, population.num_trained, best, *now)
        return self._reason is not None

    def _reserve(self) -> float:
        """Seconds that are kept for training the best for longer, and half of what one more template takes."""
        config, split = self.setup.config, self.setup.split
        rows = [trained.evaluation for trained in self.population.evaluated.values()]
        next_trial = float(np.median([row.compile_seconds + row.train_seconds for row in rows])) / 2 if rows else 0.0
        if config.final_epochs is None:
            limit = config.time_limit or 0.0
            return reserved_share(config.num_promoted or 0, limit) * limit + next_trial
        best = [trained.evaluation for trained in self.population.ranking()[: config.num_finalists]]
        more_images = len(split.x_train) / len(split.take(config.train_images).x_train)
        epochs = config.final_repeats * config.final_epochs * more_images
        return next_trial + sum(row.compile_seconds + row.train_seconds / len(row.epochs) * epochs for row in best)

    def _train_rounds(self) -> Generator[RoundResult, None, None]:
        """Yields the results of rounds, as they are done."""
        rounds = self.setup.config.rounds()
        if self.setup.config.overlaps:
            yield from self._train_stream(rounds)
            return
        for round in rounds:
            if self._has_ended or self._should_stop():
                return
            is_pruned = round.phase == "evolved"
            yield from self._train_round(self._begin(round), self.setup.config.prune_after_epochs if is_pruned else 0)

    def _train_round(self, begun: RoundInTraining, prune_after: int) -> Iterator[RoundResult]:
        """Trains one round, whose losers are stopped after some epochs."""
        request, options = self._request(begun), self.setup.engine_options(self._should_stop)

        def keeps(keys: Sequence[Key], curves: np.ndarray) -> Sequence[bool]:
            candidates = [begun.proposals[key.hash].candidate for key in keys]
            return self.proposer.keeps(candidates, curves, begun.round)

        rows = run_pruned(request, prune_after, keeps, options) if prune_after else run_trials(request, options)
        for row in rows:
            self._add(begun, row)
        yield self._end(begun)

    def _train_stream(self, rounds: Iterator[Round]) -> Iterator[RoundResult]:
        """Trains round after round; one of children begins when a worker has nothing to do in those before."""
        upcoming, in_training = next(rounds, None), self.population.in_training

        def begin() -> RoundInTraining:
            nonlocal upcoming
            assert upcoming is not None
            begun, upcoming = self._begin(upcoming), next(rounds, None)
            in_training.append(begun)
            return begun

        def refill() -> TrainingRequest | None:
            # A search that ends trains what an earlier run of it has begun.
            if upcoming is None or (self._has_ended and not self.proposer.stored(upcoming)):
                return None
            is_ready = upcoming.phase == "evolved" and len(self.population.good()) > 1
            if is_ready or not in_training:
                return self._request(begin())
            return self.setup.request((), self.setup.recipe)

        first, num_programs = self._request(begin()), 2 * self.setup.config.trials_per_generation
        rows = run_stream(first, refill, num_programs, self.setup.engine_options(self._should_stop))
        with contextlib.closing(rows):
            while True:
                for begun in [one for one in in_training if one.is_done]:
                    in_training.remove(begun)
                    yield self._end(begun)
                try:
                    row = next(rows)
                except StopIteration:
                    break
                if row is not None:
                    self._add(next(begun for begun in in_training if row.key.hash in begun.proposals), row)
        yield from [self._end(begun) for begun in in_training]

    def _request(self, begun: RoundInTraining) -> TrainingRequest:
        """The trainings of a round."""
        return self.setup.request(begun.proposals.values(), self.setup.recipe)

    def _begin(self, round: Round) -> RoundInTraining:
        """Chooses the templates of a round; as many as `max_trials` admits will be trained."""
        start, setup = time.perf_counter(), self.setup
        checkpoint.try_writing(setup.checkpoints)  # to choose may take long
        proposals = self.proposer.stored(round) or self.proposer.choose(round)
        if round.phase != "stored" or proposals:
            setup.callback.on_round_start(round, len(proposals))
        limit = None if round.phase == "stored" else setup.config.max_trials  # those are trained already
        count = None if limit is None else max(0, limit - self.population.num_trained)
        admitted = {proposal.candidate.hash: proposal for proposal in proposals[:count]}
        return RoundInTraining(round, admitted, len(admitted) < len(proposals), start)

    def _add(self, begun: RoundInTraining, row: Evaluation) -> None:
        """Takes a row of a round."""
        setup, phase = self.setup, begun.round.phase
        candidate, predicted_mean, _ = begun.proposals[row.key.hash]
        values = candidate, row, phase, predicted_mean, setup.data, setup.recipe, setup.config.metric
        trained = EvaluatedCandidate(*values, _store=setup.store, _experiment=setup.experiment)
        self.population.add(begun, trained)
        if phase != "stored":
            self.records.store_seconds(row.key.hash)
            setup.callback.on_trial_end(trained)

    def _end(self, begun: RoundInTraining) -> RoundResult:
        """Writes down how a round went, unless some of it was not trained: then that is done when it is."""
        result = self.population.end(begun)
        if begun.round.phase == "stored" and not result.evaluated:
            return result
        front_size = self.records.store_front(begun.round.number)
        if not begun.is_done or begun.is_cut:
            self._should_stop()
        else:
            self.records.store_round(result, front_size, time.perf_counter() - begun.start)
            self.setup.callback.on_round_end(result)
        return result
