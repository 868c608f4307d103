"""The rounds of a search, and the training of its winner.

A search is a sequence of rounds. Each chooses templates, writes down its choice, and trains what the store does not
have yet. So a search that was stopped, run again, looks up what it chose and trained, and goes on from there.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

import jax
import numpy as np

from jnas._runtime import checkpoint
from jnas._runtime.versions import git_commit, versions
from jnas._search.callbacks import Callback
from jnas._search.config import MAX_KNOWN, PLANNED, SPLIT_SEED, Round, SearchConfig, with_plan
from jnas._search.evolution import CandidatePool, breed, select_batch
from jnas._search.final_training import FinalTraining, affordable_epochs, measure_flops, measure_speed
from jnas._search.lock import hold_lock
from jnas._search.mirroring import warn_of_mirroring
from jnas._search.objectives import Latencies, find_incumbents, read_latencies
from jnas._search.plan import FINAL_SHARE, LEAST_SECONDS_TO_MEASURE, PROMOTED_SHARE, reserved_share
from jnas._search.promotion import LEAST_FACTOR, MOST_FACTOR, affordable_factor, longer_recipe
from jnas._search.ranking import choose_after_promotion, choose_promoted, prefer_known, rank
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.screening import (
    ENOUGH_ROWS,
    Proposal,
    fit_predictor,
    learn_from_elsewhere,
    may_improve,
    predict,
    promising,
    propose_random,
    select_new,
    stack_genomes,
)
from jnas._search.stopping import Interrupt, stop_reason
from jnas._validation import refuse
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.evolve import nondominated_rank, pareto_front
from jnas.predict import Predictor, score
from jnas.space import Candidate, Template, board_needs, known_networks
from jnas.store import Evaluation, Key, Store, paths
from jnas.train import (
    EngineOptions,
    Recipe,
    TrainingRequest,
    Trial,
    check_batch,
    make_key,
    run_pruned,
    run_stream,
    run_trials,
    wait_for_workers,
)

_MAY_BE_MIRRORED = ("excerpt", "cifar10", "cifar100")
_MAX_LATENCY_ATTEMPTS = 20
_CHECK_SECONDS = 1.0
"""Seconds between two looks at the folder of checkpoints, which may be lost long before something is written there."""

PATIENCE = 6
"""Rounds without a better network after which the rest of the time goes into training the winner."""

Proposer = Callable[[jax.Array, int, Set[str]], list[Proposal]]
"""From a key, a count and the hashes that were proposed already: templates worth training."""


@dataclass(frozen=True)
class RoundResult:
    """What a round gave."""

    round: Round
    evaluated: tuple[EvaluatedCandidate, ...]
    """In the order in which they were proposed."""

    @property
    def accuracies(self) -> list[float]:
        """Of the candidates that were trained well."""
        return [trained.accuracy for trained in self.evaluated if trained.is_ok]


@dataclass(eq=False)
class RoundInTraining:
    """A round that has begun: its proposals by hash, less those that `max_trials` does not admit (`is_cut`)."""

    round: Round
    proposals: dict[str, Proposal]
    is_cut: bool
    start: float
    evaluated: dict[str, EvaluatedCandidate] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all are trained."""
        return len(self.evaluated) == len(self.proposals)

    def in_order(self) -> list[EvaluatedCandidate]:
        """Returns what is trained, in the order of the proposals."""
        return [self.evaluated[hash] for hash in self.proposals if hash in self.evaluated]


class Search:
    """A search that runs since `start`, a time of `time.monotonic`."""

    def __init__(
        self, config: SearchConfig, data: Dataset, callback: Callback, start: float, interrupt: Interrupt
    ) -> None:
        self.split = data.split(config.make_recipe(None).val_fraction, SPLIT_SEED)
        self.notes = data.notes
        is_told = config.flip is not None or config.data.split(":")[0] in _MAY_BE_MIRRORED
        if not is_told and config.make_recipe(None).flip and (warning := warn_of_mirroring(data, self.split)):
            config, self.notes = dataclasses.replace(config, flip=False), (*data.notes, warning)
        # Its minutes begin when it may train.
        self.start = start + wait_for_workers(config.workers, lambda: bool(interrupt.by))
        self.data, self.callback, self.interrupt = data, callback, interrupt
        check_batch(config.make_recipe(config.epochs, config.train_images), self.split.take(config.train_images))
        space = config.search_space(data)
        latencies = None if config.latencies is None else read_latencies(config.latencies, space)
        if config.store is None:
            _make_folder(config.out)
        self.store, self.experiment = Store(config.store_path), config.experiment_id(data)
        self.config = config = self._with_plan(config)
        self.space = config.search_space(data)
        self.recipe = config.candidate_recipe()
        check_batch(self.recipe, self.split.take(config.train_images))
        self.checkpoints = paths.checkpoint_dir(self.store.path, self.experiment)
        self.evaluated: dict[str, EvaluatedCandidate] = {}  # by hash, in the order in which rounds end
        self.in_training: list[RoundInTraining] = []
        self.reason: str | None = None  # why the search has to end, in a few words
        self.patience: str | None = None  # why it need not go on
        self.ended, self.best, self.num_idle = False, None, 0
        checkpoint.try_writing(self.checkpoints)
        self.checked = self.start
        self.store.add_experiment(
            self.experiment,
            config_json=dataclasses.asdict(config),
            recipe_id=self.recipe.id,
            dataset_fingerprint=data.fingerprint,
            dataset_name=data.name,
            in_shape="x".join(map(str, data.in_shape)),
            num_classes=data.classes,
            num_train=len(self.split.x_train),
            num_val=len(self.split.x_val),
            num_test=len(data.x_test),
            class_names=None if data.class_names is None else json.dumps(data.class_names),
            split_seed=SPLIT_SEED,
            seed=config.seed,
            versions=versions(),
            git_commit=git_commit(),
        )
        self.seconds_before = self.store.seconds(self.experiment)
        self.latencies = Latencies(self.store, self.space, latencies)
        self.store.lock_timeout = 600  # once it runs, a search waits for whoever reads its rows
        callback.on_search_start(self)

    def _with_plan(self, config: SearchConfig) -> SearchConfig:
        """The settings with what a plan says, that of an earlier run where there was one."""
        if self.store.is_made and (earlier := self.store.config_json(self.experiment)):
            settings = json.loads(earlier)
            planned = {name: settings[name] for name in PLANNED if getattr(config, name) is None}
            return with_plan(dataclasses.replace(config, **planned), len(self.split.x_train))
        seconds, speed = config.time_limit or 0.0, None
        if config.planned_seconds is not None and seconds >= LEAST_SECONDS_TO_MEASURE:
            first = with_plan(config, len(self.split.x_train)).search_space(self.data)
            speed = measure_flops(known_networks(first), config.make_recipe(None), self.split, config.workers)
        return with_plan(config, len(self.split.x_train), speed)

    def run(self) -> SearchResult:
        """Returns what the search, or the rest of it, finds; waits while another process runs the same search."""
        with hold_lock(self.checkpoints, self.callback.on_wait, lambda: bool(self.interrupt.by)) as waited:
            self.start += waited  # its minutes begin when it may train
            return self._run()

    def _run(self) -> SearchResult:
        with contextlib.closing(self._train_rounds()) as results:
            for result in results:
                if not self.ended:  # else it had begun before
                    self._note(result)
        return self.finish(self.reason or self.patience)

    def _note(self, result: RoundResult) -> None:
        """Notes whether the search is at its end after a round, and why."""
        is_evolved = result.round.phase == "evolved"
        before, self.best = self.best, next((trained.candidate for trained in self.ranking()), None)
        if is_evolved and result.evaluated:
            self.num_idle = self.num_idle + 1 if self.best == before else 0
        is_exhausted = is_evolved and not result.evaluated and not self.in_training  # nothing is left to propose
        self.ended = self.reason is not None or is_exhausted
        if not self.ended and self.num_idle == PATIENCE and self._may_end_early():
            count = PATIENCE * self.config.trials_per_generation
            self.patience = f"as the last {count} networks were no better: the time that is left is the winner's"
            self.ended = True

    def _may_end_early(self) -> bool:
        """Whether time alone ends the search, and all that is left of it goes into training the winner."""
        config = self.config
        is_counted = config.generations is not None or config.max_trials is not None
        return config.final_epochs is None and not is_counted and not config.cost_objectives

    @property
    def num_trained(self) -> int:
        """Templates that all runs of the search have trained, those that failed too."""
        return sum(trained.phase != "stored" for trained in self.evaluated.values())

    def good(self) -> list[EvaluatedCandidate]:
        """Returns what was trained well, in the order of training."""
        return [trained for trained in self.evaluated.values() if trained.is_ok]

    def ranking(self) -> list[EvaluatedCandidate]:
        """Returns what was trained well, the best first."""
        return rank(self.good(), self.config.final_epochs is None)

    def stop_reason(self) -> str | None:
        """Returns why nothing more should begin, in a few words, or None."""
        best, seconds = max((trained.accuracy for trained in self.good()), default=0.0), time.monotonic() - self.start
        return stop_reason(self.config, self.num_trained, best, seconds, self._reserve(), self.interrupt.by)

    def _reserve(self) -> float:
        """Seconds that are kept for training the best for longer, and half of what one more template takes."""
        config = self.config
        durations = [t.evaluation.compile_seconds + t.evaluation.train_seconds for t in self.evaluated.values()]
        next_trial = float(np.median(durations)) / 2 if durations else 0.0
        if config.final_epochs is None:
            return reserved_share(config.num_promoted or 0) * (config.time_limit or 0.0) + next_trial
        rows = [trained.evaluation for trained in self.ranking()[: config.num_finalists]]
        more_images = len(self.split.x_train) / len(self.split.take(config.train_images).x_train)
        epochs = config.final_repeats * config.final_epochs * more_images
        return next_trial + sum(row.compile_seconds + row.train_seconds / len(row.epochs) * epochs for row in rows)

    def _store_seconds(self, hash: str | None = None) -> None:
        """Stores how long all runs of the search have taken, and that a template was trained then."""
        self.store.set_seconds(self.experiment, self.seconds_before + time.monotonic() - self.start, hash)

    def check_folder(self) -> bool:
        """Returns False; a `JnasError` soon after nothing can be written beside the store any more."""
        now = time.monotonic()
        if now > self.checked + _CHECK_SECONDS:
            checkpoint.try_writing(self.checkpoints)
            self.checked = now
        return False

    def _train_rounds(self) -> Generator[RoundResult, None, None]:
        """Yields the results of rounds, as they are done."""
        rounds = self.config.rounds()
        if self.config.overlaps:
            yield from self._train_stream(rounds)
            return
        for round in rounds:
            if self.ended or self._should_stop():
                return
            is_pruned = round.phase == "evolved"
            yield from self._train_round(self._begin(round), self.config.prune_after_epochs if is_pruned else 0)

    def _train_round(self, begun: RoundInTraining, prune_after: int) -> Iterator[RoundResult]:
        """Trains one round, whose losers are stopped after some epochs."""
        request, options = self._request(begun.proposals.values(), self.recipe), self._engine_options(self._should_stop)

        def keeps(keys: Sequence[Key], curves: np.ndarray) -> Sequence[bool]:
            return self._keeps([begun.proposals[key.hash].candidate for key in keys], curves, begun.round)

        rows = run_pruned(request, prune_after, keeps, options) if prune_after else run_trials(request, options)
        for row in rows:
            self._add(begun, row)
        yield self._end(begun)

    def _train_stream(self, rounds: Iterator[Round]) -> Iterator[RoundResult]:
        """Trains round after round; one of children begins when a worker has nothing to do in those before."""
        upcoming, in_training = next(rounds, None), self.in_training

        def begin() -> RoundInTraining:
            nonlocal upcoming
            assert upcoming is not None
            begun, upcoming = self._begin(upcoming), next(rounds, None)
            in_training.append(begun)
            return begun

        def refill() -> TrainingRequest | None:
            if upcoming is None or (self.ended and not self._stored_proposals(upcoming)):  # an earlier run began those
                return None
            is_ready = upcoming.phase == "evolved" and len(self.good()) > 1
            return self._request(begin().proposals.values() if is_ready or not in_training else (), self.recipe)

        first = self._request(begin().proposals.values(), self.recipe)
        num_programs = 2 * self.config.trials_per_generation
        rows = run_stream(first, refill, num_programs, self._engine_options(self._should_stop))
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

    def _should_stop(self) -> bool:
        """Whether nothing more should begin; the first reason for that stays."""
        self.check_folder()
        self.reason = self.reason or self.stop_reason()
        return self.reason is not None

    def _begin(self, round: Round) -> RoundInTraining:
        """Chooses the templates of a round; as many as `max_trials` admits will be trained."""
        start = time.perf_counter()
        checkpoint.try_writing(self.checkpoints)  # to choose may take long
        proposals = self._stored_proposals(round) or self._choose(round)
        if round.phase != "stored" or proposals:
            self.callback.on_round_start(round, len(proposals))
        limit = None if round.phase == "stored" else self.config.max_trials  # those are trained already
        count = None if limit is None else max(0, limit - self.num_trained)
        admitted = {proposal.candidate.hash: proposal for proposal in proposals[:count]}
        return RoundInTraining(round, admitted, len(admitted) < len(proposals), start)

    def _request(self, candidates: Iterable[Proposal | EvaluatedCandidate], recipe: Recipe) -> TrainingRequest:
        trials = [Trial(one.candidate.template, self.config.seed) for one in candidates]
        keys = [make_key(trial, recipe, self.data, SPLIT_SEED) for trial in trials]
        return TrainingRequest(trials, keys, recipe, self.split, self.store)

    def _add(self, begun: RoundInTraining, row: Evaluation) -> None:
        """Takes a row of a round."""
        (candidate, predicted_mean, _), phase = begun.proposals[row.key.hash], begun.round.phase
        values = candidate, row, phase, predicted_mean, self.data, self.recipe, self.config.metric
        trained = EvaluatedCandidate(*values, _store=self.store, _experiment=self.experiment)
        self.evaluated[row.key.hash] = begun.evaluated[row.key.hash] = trained
        if phase != "stored":
            self._store_seconds(row.key.hash)
            self.callback.on_trial_end(trained)

    def _end(self, begun: RoundInTraining) -> RoundResult:
        """Writes down how a round went, unless some of it was not trained: then that is done when it is."""
        evaluated = begun.in_order()
        for trained in evaluated:  # so that what follows does not depend on which was done first
            self.evaluated[trained.candidate.hash] = self.evaluated.pop(trained.candidate.hash)
        result = RoundResult(begun.round, tuple(evaluated))
        if begun.round.phase == "stored" and not evaluated:
            return result
        front_size = self._store_front(begun.round)
        if not begun.is_done or begun.is_cut:
            self._should_stop()
        else:
            self._store_summary(result, front_size, time.perf_counter() - begun.start)
            self.callback.on_round_end(result)
        return result

    def _stored_proposals(self, round: Round) -> list[Proposal]:
        """What `_choose` returned in an earlier run; nothing where there was none."""
        rows = self.store.candidates(self.experiment, round.number)
        return [Proposal(Candidate.from_hash(row[0], self.space), *row[1:]) for row in rows]

    def _choose(self, round: Round) -> list[Proposal]:
        """Templates to train, less those that are too slow."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), round.number)
        propose = self._make_proposer(round)
        limit, seen = self.config.max_latency_ms, self._seen()
        chosen: list[Proposal] = []
        for attempt in range(1 if limit is None else _MAX_LATENCY_ATTEMPTS):
            batch = propose(jax.random.fold_in(key, attempt), round.num_trials - len(chosen), seen)
            seen |= {proposal.candidate.function_hash for proposal in batch}
            chosen += [p for p in batch if limit is None or self.latencies.measure(p.candidate) <= limit]
            if len(chosen) == round.num_trials or not batch:
                break
        if not chosen and limit is not None and round.phase not in ("stored", "known") and not self.evaluated:
            raise JnasError(
                f"None of {len(seen)} random templates satisfies max_latency_ms {limit:g}: raise the limit."
            )
        if "latency" in self.config.objectives:
            for proposal in chosen:
                self.latencies.measure(proposal.candidate)
        rows = [(proposal.candidate.hash, *proposal[1:]) for proposal in chosen]
        self.store.add_candidates(self.experiment, round.phase, round.number, rows)
        return chosen

    def _make_proposer(self, round: Round) -> Proposer:
        """What proposes the templates of a round."""
        space, parents = self.space, [trained.candidate for trained in self._parents()]
        if round.phase == "stored":
            return lambda key, count, seen: select_new(map(Proposal, self._stored_candidates()), seen, count)
        if round.phase == "known":
            return lambda key, count, seen: select_new(map(Proposal, self._known_candidates()), seen, count)
        if round.phase == "random" or len(parents) < 2:
            return lambda key, count, seen: propose_random(space, key, count, seen)
        predictor = self._fit_predictor(round)
        self.callback.on_message("breeding candidates")

        def propose(key: jax.Array, count: int, seen: Set[str]) -> list[Proposal]:
            children = breed(space, key, count, parents)
            new = [proposal.candidate for proposal in select_new(map(Proposal, children), seen, len(children))]
            if not new:
                return []
            if len(self.good()) < ENOUGH_ROWS:
                new = promising(
                    space, new, fit_predictor(space, [], self.config.seed, elsewhere=self._learned_elsewhere)
                )
            seed = int(jax.random.bits(key))
            chosen = select_batch(self._pool(new, predictor), count, seed, space.distance, self._busy())
            return chosen if predictor.scores else [Proposal(one.candidate) for one in chosen]

        return propose

    def _parents(self) -> list[EvaluatedCandidate]:
        """What was trained well; first those that nothing is better than in every objective, by accuracy."""
        ranking, objectives = self.ranking(), self.config.cost_objectives
        if not objectives:
            return ranking
        costs = self.latencies.costs([trained.candidate for trained in ranking], objectives)
        fitness = np.column_stack([[trained.score for trained in ranking], -costs]).astype(np.float32)
        fronts = np.asarray(nondominated_rank(jax.device_put(fitness))) if ranking else np.zeros(0)
        return [ranking[index] for index in np.argsort(fronts, kind="stable")]

    def _pool(self, candidates: list[Candidate], predictor: Predictor) -> CandidatePool:
        """Candidates with what is predicted of them, and what was trained as those to be surpassed."""
        mean, std = predict(self.space, stack_genomes(candidates, self.space), predictor)
        if not predictor.scores:  # only the order of the means says something
            std = np.full_like(std, std.mean())
        good, objectives = self.good(), self.config.cost_objectives
        trained = [one.candidate for one in good]
        costs, known = (self.latencies.costs(those, objectives, trained) for those in (candidates, trained))
        incumbents = np.column_stack([[one.score for one in good], -np.log(known)])
        return CandidatePool(candidates, mean, std, -np.log(costs), incumbents)

    def _stored_candidates(self) -> list[Candidate]:
        """What earlier searches trained alike, but those that this one begins with anyway."""
        known = {candidate.hash for candidate in self._known_candidates()}
        costs_time = self.config.max_latency_ms is not None or "latency" in self.config.objectives
        candidates = []
        for hash in self.store.earlier_hashes(self.experiment):
            template = Template.from_hash(hash, self.space.in_shape, self.space.classes)
            is_measured = hash in self.latencies.measured or not costs_time
            if hash not in known and is_measured and self.space.admits(template):
                candidates.append(Candidate.from_template(template, self.space))
        return candidates

    def _seen(self) -> set[str]:
        """The functions that were trained, or are in training."""
        trained = [one.candidate for one in self.evaluated.values()]
        return {candidate.function_hash for candidate in (*trained, *self._busy())}

    def _busy(self) -> list[Candidate]:
        """What is in training."""
        return [
            proposal.candidate
            for begun in self.in_training
            for hash, proposal in begun.proposals.items()
            if hash not in begun.evaluated
        ]

    def _known_candidates(self) -> list[Candidate]:
        """The user's own templates, then those that people build by hand."""
        own = [Candidate.from_hash(hash, self.space) for hash in self.config.start]
        known = known_networks(self.space)[:MAX_KNOWN] if self.config.known_networks else []
        return [*own, *(Candidate.from_template(template, self.space) for template in known)]

    def _fit_predictor(self, round: Round) -> Predictor:
        """A predictor of all rows so far, stored; the prior alone where they are too few."""
        self.callback.on_message("fitting the predictor")
        config = self.config
        predictor = fit_predictor(
            self.space, self.good(), config.seed, config.prune_after_epochs, self._learned_elsewhere
        )
        if predictor.scores is not None:
            folder = paths.predictor_dir(self.checkpoints, round.number)
            predictor.save(folder)
            # Nothing asks the one before any more.
            checkpoint.remove(paths.predictor_dir(self.checkpoints, round.number - 1))
            columns = {"generation": round.number, "seconds": predictor.seconds, "checkpoint": str(folder)}
            self.store.add_row("predictors", experiment_id=self.experiment, **columns, **predictor.scores._asdict())
        self.callback.on_predictor_fit(predictor if predictor.scores else None)
        return predictor

    @functools.cached_property
    def _learned_elsewhere(self) -> Predictor | None:
        """What the store's trainings from elsewhere say of networks for such images; None where it has none."""
        rows = self.store.imported_rows("x".join(map(str, self.data.in_shape)), self.data.classes)
        return learn_from_elsewhere(self.space, rows, self.config.seed) if rows else None

    def _engine_options(self, should_stop: Callable[[], bool]) -> EngineOptions:
        return EngineOptions(
            compile_timeout=self.config.compile_timeout,
            workers=self.config.workers,
            on_epoch=self.callback.on_epoch_end,
            should_stop=should_stop,
        )

    def _keeps(self, candidates: Sequence[Candidate], curves: np.ndarray, round: Round) -> Sequence[bool]:
        """Which candidates in training go on after their first epochs."""
        folder = paths.predictor_dir(self.checkpoints, round.number)
        if not os.path.exists(folder):  # there were too few rows for a predictor
            return [True] * len(candidates)
        good = self.good()
        incumbents = find_incumbents(
            self.latencies.costs(candidates, self.config.cost_objectives),
            self.latencies.costs([trained.candidate for trained in good], self.config.cost_objectives),
            np.array([trained.score for trained in good]),
        )
        # From the disk, so that a search that goes on here decides alike.
        return may_improve(self.space, candidates, curves, Predictor.load(folder), incumbents).tolist()

    def _store_front(self, round: Round) -> int:
        """Stores the templates that no other beats in every objective, and returns how many there are."""
        good = self.good()
        objectives = self.config.cost_objectives or ("macs",)  # a front needs one besides the accuracy
        costs = self.latencies.costs([trained.candidate for trained in good], objectives)
        scores = np.array([trained.score for trained in good])
        rows = [
            {
                "hash": trained.candidate.hash,
                "val_acc_final": trained.accuracy,
                "params": trained.evaluation.params,
                "macs": trained.evaluation.macs,
                "latency_ms": self.latencies.measured.get(trained.candidate.hash),
                **board_needs(trained.template),
            }
            for trained in (good[i] for i in pareto_front(np.column_stack([scores, -costs])))
        ]
        self.store.add_front(self.experiment, round.number, rows)
        return len(rows)

    def _store_summary(self, result: RoundResult, front_size: int, seconds: float) -> None:
        good = [trained for trained in result.evaluated if trained.is_ok]
        predicted = [(trained.score, mean) for trained in good if (mean := trained.predicted_mean) is not None]
        accuracies = result.accuracies
        self.store.add_row(
            "generations",
            experiment_id=self.experiment,
            phase=result.round.phase,
            generation=result.round.number,
            num_trained=len(result.evaluated),
            val_acc_final_best=max(accuracies, default=None),
            val_acc_final_mean=float(np.mean(accuracies)) if accuracies else None,
            kendall_tau=score(*np.array(predicted).T).kendall_tau if predicted else None,
            diversity=self._diversity([trained.candidate for trained in result.evaluated]),
            front_size=front_size,
            seconds=seconds,
        )

    def _diversity(self, candidates: Sequence[Candidate]) -> float | None:
        if len(candidates) < 2:
            return None
        genomes = jax.device_put(stack_genomes(candidates, self.space))
        first, second = np.tril_indices(len(candidates), -1)
        return float(jax.vmap(self.space.distance)(genomes[first], genomes[second]).mean())

    def finish(self, reason: str | None) -> SearchResult:
        """Trains the winner for longer, tests it, and returns what was found."""
        ranking, config = self.ranking(), self.config
        if not self.evaluated and reason is None:
            raise JnasError(
                f"{self.space.describe_limits()} must admit a network that people build by hand, got none; raise the "
                "limits, or give num_random or generations."
            )
        if not self.evaluated:
            raise JnasError(
                f"The search ended {reason}, before any template was trained: run it again, with "
                "a higher limit if need be."
            )
        if not ranking:
            reasons = "; ".join(sorted({trained.evaluation.message for trained in self.evaluated.values()}))
            raise JnasError(f"None of the {len(self.evaluated)} templates could be trained: {reasons}.")
        if reason:
            self.callback.on_stop(reason)
        promotions = self._promote(ranking)
        self.callback.on_message("final training")
        finalists = [one.template for one in self._finalists(ranking, promotions)[: config.num_finalists]]
        seeds = [(config.seed + i) % 2**32 for i in range(config.final_repeats)]  # as large as a seed may be
        recipe = config.make_recipe(config.final_epochs or self._affordable_epochs(finalists))
        self.callback.on_final_training(recipe.epochs)
        images = (self.data, self.split, self.store, self.checkpoints)
        options = self._engine_options(self.check_folder)
        training = FinalTraining(recipe, seeds, config.metric, *images, options)
        winner, finals = training.find_winner(finalists)
        self.store.set_winner(self.experiment, winner.hash, recipe.id)
        self._store_seconds()
        by_score = sorted(ranking, key=lambda trained: -trained.score)
        candidates = {trained.candidate.hash: trained for trained in by_score}
        for hash, row in promotions.items():
            candidates[hash] = dataclasses.replace(candidates[hash], promotion=row)
        for hash, rows in finals.items():
            weights = training.winner_dir(winner) if hash == winner.hash else None
            candidates[hash] = dataclasses.replace(candidates[hash], finals=rows, _weights=weights)
        result = SearchResult(tuple(candidates.values()), self.store, self.experiment, candidates[winner.hash])
        self.callback.on_search_end(result)
        return result

    def _finalists(
        self, ranking: list[EvaluatedCandidate], promotions: dict[str, Evaluation]
    ) -> list[EvaluatedCandidate]:
        """What may win, the most promising first."""
        num_val, is_timed = len(self.split.x_val), self.config.final_epochs is None
        if len(promotions) > 1:  # else there is nothing to compare
            return choose_after_promotion(ranking, promotions, num_val, is_timed)
        return ranking if self.config.cost_objectives else prefer_known(ranking, self._known(), num_val)

    def _known(self) -> list[EvaluatedCandidate]:
        """Networks that people build, and those of `start`, in the order of training: the most promising first."""
        return [one for one in self.good() if one.phase == "known"]

    def _promote(self, ranking: list[EvaluatedCandidate]) -> dict[str, Evaluation]:
        """Trains the best again, for longer; returns the rows of all that had that and ended well, by hash."""
        count = self.config.num_promoted or 0
        promoted = choose_promoted(ranking, self._known(), len(self.split.x_val), count)
        if len(promoted) > 1 and not self.interrupt.by and (recipe := self._promoted_recipe(promoted)):
            self._train_promoted(promoted, recipe)
        return self.store.promotions(self.experiment)

    def _train_promoted(self, promoted: Sequence[EvaluatedCandidate], recipe: Recipe) -> None:
        self.callback.on_promotion(recipe, promoted)
        self.store.set_promoted_recipe(self.experiment, recipe.id, recipe.to_json())
        options = self._engine_options(lambda: self.check_folder() or bool(self.interrupt.by) or self._is_late())
        for _ in run_trials(self._request(promoted, recipe), options):
            pass  # rows are in the store

    def _is_late(self) -> bool:
        """Whether the rest of the time is the winner's."""
        limit, elapsed = self.config.time_limit, time.monotonic() - self.start
        return limit is not None and elapsed > (1 - FINAL_SHARE) * limit

    def _promoted_recipe(self, promoted: Sequence[EvaluatedCandidate]) -> Recipe | None:
        """How promoted candidates are trained: as in an earlier run, or as long as the time allows; None for not."""
        if earlier := self.store.promoted_recipe_json(self.experiment):
            return Recipe.from_json(earlier)
        config, num_images = self.config, len(self.split.x_train)
        if config.final_epochs is None:
            left = (config.time_limit or 0.0) - (time.monotonic() - self.start)
            seconds = left * PROMOTED_SHARE / reserved_share(len(promoted))
            factor = affordable_factor([one.evaluation for one in promoted], seconds)
        else:  # halfway, by factors, to the winner's training
            images = self.recipe.epochs * (self.recipe.train_images or num_images)
            factor = min(math.sqrt(config.final_epochs * num_images / images), MOST_FACTOR)
        return longer_recipe(self.recipe, factor, num_images) if factor >= LEAST_FACTOR else None

    def _affordable_epochs(self, finalists: Sequence[Template]) -> int:
        """How many epochs the time that is left allows for the longer trainings."""
        limit, config = self.config.time_limit, self.config
        assert limit is not None, "without a limit the plan says how many"
        speeds = [
            measure_speed(template, config.make_recipe(None), self.split, config.workers) for template in finalists
        ]
        elapsed = time.monotonic() - self.start
        left = limit - elapsed
        if self.interrupt.by:  # who wants an end does not wait for all the time that was allowed
            left = min(left, FINAL_SHARE / (1 - FINAL_SHARE) * elapsed)
        return affordable_epochs(left, speeds, config.final_repeats, config.make_recipe(None), self.split, self.data)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        hint = f"name another one with --out ({error.strerror})"
        refuse("out", "a folder, or one that can be made", path, hint)
