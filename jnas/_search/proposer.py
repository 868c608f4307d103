"""What a search trains next, and what of it to the end."""

import functools
import os
from collections.abc import Callable, Sequence, Set

import jax
import numpy as np

from jnas._runtime import checkpoint
from jnas._search.config import MAX_KNOWN, Round
from jnas._search.evolution import MAX_PARENTS, CandidatePool, breed, select_batch
from jnas._search.objectives import find_incumbents
from jnas._search.population import Population
from jnas._search.ranking import order_by_front
from jnas._search.result import EvaluatedCandidate
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
from jnas._search.setup import SearchSetup
from jnas.errors import JnasError
from jnas.predict import Predictor
from jnas.space import Candidate, Template, known_networks
from jnas.store import paths

_MAX_LATENCY_ATTEMPTS = 20

ProposeFn = Callable[[jax.Array, int, Set[str]], list[Proposal]]
"""From a key, a count and the hashes of functions that were proposed already: candidates worth training."""


class Proposer:
    """Chooses the candidates of each round by what was trained before, and writes its choice down."""

    def __init__(self, setup: SearchSetup, population: Population) -> None:
        self.setup, self.population = setup, population

    def stored(self, round: Round) -> list[Proposal]:
        """Returns what `choose` returned in an earlier run; nothing where there was none."""
        setup = self.setup
        rows = setup.store.candidates(setup.experiment, round.number)
        return [Proposal(Candidate.from_hash(row[0], setup.space), *row[1:]) for row in rows]

    def choose(self, round: Round) -> list[Proposal]:
        """Returns candidates to train, less those that are too slow."""
        setup, seen = self.setup, self.population.functions()
        chosen: list[Proposal] = []
        key = jax.random.fold_in(jax.random.key(setup.config.seed), round.number)
        propose, limit = self._propose_fn(round), setup.config.max_latency_ms
        for attempt in range(1 if limit is None else _MAX_LATENCY_ATTEMPTS):
            batch = propose(jax.random.fold_in(key, attempt), round.num_trials - len(chosen), seen)
            seen |= {proposal.candidate.function_hash for proposal in batch}
            chosen += [p for p in batch if limit is None or setup.latencies.measure(p.candidate) <= limit]
            if len(chosen) == round.num_trials or not batch:
                break
        if (
            not chosen
            and limit is not None
            and round.phase not in ("stored", "known")
            and not self.population.evaluated
        ):
            raise JnasError(
                f"None of {len(seen)} random templates satisfies max_latency_ms {limit:g}: raise the limit."
            )
        if "latency" in setup.config.objectives:
            for proposal in chosen:
                setup.latencies.measure(proposal.candidate)
        rows = [(proposal.candidate.hash, *proposal[1:]) for proposal in chosen]
        setup.store.add_candidates(setup.experiment, round.phase, round.number, rows)
        return chosen

    def keeps(self, candidates: Sequence[Candidate], curves: np.ndarray, round: Round) -> Sequence[bool]:
        """Returns which candidates in training go on after their first epochs."""
        setup, good = self.setup, self.population.good()
        folder = paths.predictor_dir(setup.checkpoints, round.number)
        if not os.path.exists(folder):  # there were too few rows for a predictor
            return [True] * len(candidates)
        objectives = setup.config.cost_objectives
        incumbents = find_incumbents(
            setup.latencies.costs(candidates, objectives),
            setup.latencies.costs([trained.candidate for trained in good], objectives),
            np.array([trained.score for trained in good]),
        )
        # From the disk, so that a search that goes on here decides alike.
        return may_improve(setup.space, candidates, curves, Predictor.load(folder), incumbents).tolist()

    def _propose_fn(self, round: Round) -> ProposeFn:
        """What proposes the candidates of a round."""
        space, parents = self.setup.space, [trained.candidate for trained in self._parents()]
        if round.phase == "stored":
            return lambda key, count, seen: select_new(map(Proposal, self._stored_candidates()), seen, count)
        if round.phase == "known":
            return lambda key, count, seen: select_new(map(Proposal, self._known_candidates()), seen, count)
        if round.phase == "random" or len(parents) < 2:
            return lambda key, count, seen: propose_random(space, key, count, seen)
        predictor = self._fit_predictor(round)
        self.setup.callback.on_message("breeding candidates")

        def propose(key: jax.Array, count: int, seen: Set[str]) -> list[Proposal]:
            children = breed(space, key, count, parents)
            new = [proposal.candidate for proposal in select_new(map(Proposal, children), seen, len(children))]
            if not new:
                return []
            if len(good := self.population.good()) < ENOUGH_ROWS:
                new = promising(space, new, [one.candidate for one in good], self._fit([]), count)
            seed = int(jax.random.bits(key))
            chosen = select_batch(self._pool(new, predictor), count, seed, space.distance, self.population.busy())
            return chosen if predictor.scores else [Proposal(one.candidate) for one in chosen]

        return propose

    def _parents(self) -> list[EvaluatedCandidate]:
        """What was trained well; first those that nothing is better than in every objective, by accuracy."""
        ranking, objectives = self.population.ranking(), self.setup.config.cost_objectives
        if not objectives:
            return ranking
        costs = self.setup.latencies.costs([trained.candidate for trained in ranking], objectives)
        objectives = np.column_stack([[one.score for one in ranking], -costs])
        return [ranking[index] for index in order_by_front(objectives, MAX_PARENTS)]

    def _pool(self, candidates: list[Candidate], predictor: Predictor) -> CandidatePool:
        """Candidates with what is predicted of them, and what was trained as those to be surpassed."""
        setup, good = self.setup, self.population.good()
        mean, std = predict(setup.space, stack_genomes(candidates, setup.space), predictor)
        if not predictor.scores:  # only the order of the means says something
            std = np.full_like(std, std.mean())
        objectives, trained = setup.config.cost_objectives, [one.candidate for one in good]
        costs, known = (setup.latencies.costs(those, objectives, trained) for those in (candidates, trained))
        incumbents = np.column_stack([[one.score for one in good], -np.log(known)])
        return CandidatePool(candidates, mean, std, -np.log(costs), incumbents)

    def _stored_candidates(self) -> list[Candidate]:
        """What earlier searches trained alike, but those that this one begins with anyway."""
        setup, space = self.setup, self.setup.space
        known = {candidate.hash for candidate in self._known_candidates()}
        costs_time = setup.config.max_latency_ms is not None or "latency" in setup.config.objectives
        candidates = []
        for hash in setup.store.earlier_hashes(setup.experiment):
            template = Template.from_hash(hash, space.in_shape, space.classes)
            is_measured = hash in setup.latencies.measured or not costs_time
            if hash not in known and is_measured and space.admits(template):
                candidates.append(Candidate.from_template(template, space))
        return candidates

    def _known_candidates(self) -> list[Candidate]:
        """The user's own templates, then those that people build by hand."""
        config, space = self.setup.config, self.setup.space
        own = [Candidate.from_hash(hash, space) for hash in config.start]
        known = known_networks(space)[:MAX_KNOWN] if config.known_networks else []
        return [*own, *(Candidate.from_template(template, space) for template in known)]

    def _fit(self, rows: Sequence[EvaluatedCandidate], early_epochs: int = 0) -> Predictor:
        """A predictor of rows of this search, which knows what trainings from elsewhere say."""
        return fit_predictor(self.setup.space, rows, self.setup.config.seed, early_epochs, self._learned_elsewhere)

    def _fit_predictor(self, round: Round) -> Predictor:
        """A predictor of all rows so far, stored; the prior alone where they are too few."""
        setup = self.setup
        setup.callback.on_message("fitting the predictor")
        predictor = self._fit(self.population.good(), setup.config.prune_after_epochs)
        if predictor.scores is not None:
            folder = paths.predictor_dir(setup.checkpoints, round.number)
            predictor.save(folder)
            # Nothing asks the one before any more.
            checkpoint.remove(paths.predictor_dir(setup.checkpoints, round.number - 1))
            columns = {"generation": round.number, "seconds": predictor.seconds, "checkpoint": str(folder)}
            setup.store.add_row("predictors", experiment_id=setup.experiment, **columns, **predictor.scores._asdict())
        setup.callback.on_predictor_fit(predictor if predictor.scores else None)
        return predictor

    @functools.cached_property
    def _learned_elsewhere(self) -> Predictor | None:
        """What the store's trainings from elsewhere say of networks for such images; None where it has none."""
        space = self.setup.space
        rows = self.setup.store.imported_rows("x".join(map(str, space.in_shape)), space.classes)
        return learn_from_elsewhere(space, rows, self.setup.config.seed) if rows else None
