"""The three steps, wired together.

A search is a sequence of rounds. Each chooses templates, writes down its choice, and trains what the store does not
have yet. So a search that was stopped, run again, looks up what it chose and trained, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np

from jnas._runtime import checkpoint
from jnas._runtime.versions import git_commit, versions
from jnas._search import evolution
from jnas._search import proposals as choose
from jnas._search.budget import Budget
from jnas._search.config import SearchConfig
from jnas._search.final_training import Final, find_winner
from jnas._search.latencies import Latencies
from jnas._search.progress import Progress
from jnas._search.pruning import hopeful, to_beat
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.signals import Interrupt
from jnas.data import Dataset, load_data
from jnas.errors import JnasError
from jnas.evolve import diversity, front
from jnas.predict import Predictor, score
from jnas.space import Template, to_genomes
from jnas.store import Evaluation, Store, paths
from jnas.train import EngineOptions, TrainingRequest, Trial, check_batch, make_key, run_pruned, run_trials

SPLIT_SEED = 0
"""One split into training and validation images for all searches, so that their accuracies can be compared."""

_LATENCY_ATTEMPTS = 20


def run(
    config: SearchConfig,
    data: Dataset | None = None,
    progress: Progress | None = None,
    on_second_interrupt: Callable[[], None] | None = None,
) -> SearchResult:
    """Searches, or goes on with a search.

    Ctrl-C ends it as a budget does: what is in training is finished, then the winner is trained. A second Ctrl-C ends
    it at once. Either way everything that was finished is kept.

    Args:
      config: what is asked for.
      data: the images, where they are not what `config.data` names.
      progress: told what happens; silent by default.
      on_second_interrupt: what a second Ctrl-C does; it raises KeyboardInterrupt where not given.

    Raises:
      JnasError: something asked for cannot be had, or no template could be trained.
    """
    progress = progress or Progress()
    with Interrupt(progress.interrupted, on_second_interrupt) as interrupt:
        budget = Budget(config, lambda: interrupt.asked)
        search = Search(config, data or load_data(config.data, config.classes), progress, budget)
        for generation, step, count in config.rounds():
            if search.spent() or not search.round(step, generation, count):
                break
        return search.finish()


class Search:
    """What the rounds share."""

    def __init__(self, config: SearchConfig, data: Dataset, progress: Progress, budget: Budget):
        self.config, self.data, self.progress, self.budget = config, data, progress, budget
        self.store = Store(config.store)
        self.store.lock_timeout = 600  # once it runs, a search waits for whoever reads its rows
        self.recipe = config.training()
        self.split = data.split(self.recipe.val_fraction, SPLIT_SEED)
        check_batch(self.recipe, self.split)
        self.space = config.search_space(data)
        self.searcher = evolution.algorithm(config.algorithm, self.space, config.objectives, config.population_size)
        self.latencies = Latencies(self.store, data.in_shape, data.classes)
        self.population_diversity: float | None = None
        self.over: str | None = None  # why it ended before all rounds were done
        self.experiment = config.experiment_id(data)
        self.checkpoints = paths.checkpoint_dir(self.store.path, self.experiment)
        self.trained: dict[str, tuple[str, Evaluation]] = {}  # by hash: the step that chose it, and its row
        settings = asdict(config)
        self.store.add_experiment(
            self.experiment,
            config_json=settings,
            recipe_id=self.recipe.id,
            dataset_fingerprint=data.fingerprint,
            dataset_name=data.name,
            in_shape="x".join(map(str, data.in_shape)),
            num_classes=data.classes,
            split_seed=SPLIT_SEED,
            seed=config.seed,
            versions=versions(),
            git_commit=git_commit(),
        )
        progress.begin(self)

    def good(self) -> list[Evaluation]:
        """The rows that ended well, in the order of training."""
        return [row for _, row in self.trained.values() if row.status == "ok"]

    def spent(self) -> str | None:
        """Why nothing more should be begun, in a few words, or None; once there is a reason it stays."""
        if self.over is None:
            best = sorted(self.good(), key=lambda row: -row.val_acc_final)[: self.config.num_finalists]
            epochs = self.config.final_repeats * self.config.final_epochs
            reserve = sum(row.compile_seconds + row.train_seconds / len(row.epochs) * epochs for row in best)
            accuracy = best[0].val_acc_final if best else 0.0
            self.over = self.budget.spent(len(self.trained), accuracy, reserve)
        return self.over

    def round(self, step: str, generation: int, count: int) -> bool:
        """Chooses templates, trains them, and writes down how it went.

        Returns:
          False where it ended before all were trained, or there is nothing left to choose.
        """
        start = time.perf_counter()
        chosen = [choose.Choice(*row) for row in self.store.candidates(self.experiment, generation)]
        if chosen:  # by an earlier run
            evolved = self._evolution(generation)
            self.population_diversity = checkpoint.load_metadata(evolved).get("diversity") if evolved.exists() else None
        else:
            chosen = self._choose(step, generation, count)
            self.store.add_candidates(self.experiment, step, generation, chosen)
        self.progress.planned(generation, len(chosen))
        choices = {choice.hash: choice for choice in chosen[: self.budget.left(len(self.trained))]}
        rows = []
        for row in self._train(list(choices), step, generation):
            self.trained[row.key.hash] = (step, row)
            rows.append((choices[row.key.hash], row))
            self.progress.trained(step, row)
        front = self._store_front(generation)
        if len(rows) < len(chosen):
            self.spent()  # notes down why
            return False  # its summary is written when the rest is trained
        good = [(choice, row) for choice, row in rows if row.status == "ok"]
        predicted = [
            (row.val_acc_final, choice.predicted_mean) for choice, row in good if choice.predicted_mean is not None
        ]
        tau = score(*map(np.array, zip(*predicted, strict=True))).kendall_tau if predicted else None
        accuracies = [row.val_acc_final for _, row in good]
        self.store.add_generation(
            experiment_id=self.experiment,
            phase=step,
            generation=generation,
            num_trained=len(rows),
            val_acc_final_best=max(accuracies, default=None),
            val_acc_final_mean=float(np.mean(accuracies)) if accuracies else None,
            kendall_tau=tau,
            diversity=self._diversity([row.key.hash for _, row in rows]),
            population_diversity=self.population_diversity,
            front_size=len(front),
            seconds=time.perf_counter() - start,
        )
        self.progress.round_done(step, generation, accuracies)
        return bool(chosen)

    def _choose(self, step: str, generation: int, count: int) -> list[choose.Choice]:
        """The templates of a round; those that are too slow are left out before they are trained."""
        taken, self.population_diversity = set(self.trained), None
        key = jax.random.fold_in(jax.random.key(self.config.seed), generation)
        propose = self._proposals(step, generation, key)
        chosen: list[choose.Choice] = []
        limit, tried = self.config.max_latency_ms, 0
        for attempt in range(_LATENCY_ATTEMPTS):
            more = propose(jax.random.fold_in(key, attempt), count - len(chosen), taken)
            taken |= {choice.hash for choice in more}
            tried += len(more)
            chosen += [c for c in more if limit is None or self.latencies.of(c.hash) <= limit]
            if limit is None or len(chosen) == count or not more:
                break
        if not chosen and limit is not None and step == "random":
            raise JnasError(f"None of {tried} random templates satisfies max_latency_ms {limit:g}: raise the limit.")
        if "latency" in self.config.objectives:
            for choice in chosen:
                self.latencies.of(choice.hash)
        return chosen

    def _proposals(self, step: str, generation: int, key: jax.Array) -> Callable[..., list[choose.Choice]]:
        """A function from a key, a count and the hashes that are taken to templates worth training."""
        config, space = self.config, self.space
        predictor = None if step == "random" else self._fit(generation)
        good = sorted(self.good(), key=lambda row: -row.val_acc_final)
        if predictor is None:
            if step == "evolved" and len(good) > 1:
                return lambda key, count, taken: evolution.bred(space, key, count, good, taken)
            return lambda key, count, taken: choose.random(space, key, count, taken)
        if step == "screened":
            return lambda key, count, taken: choose.filtered(
                *(space, key, count, taken, predictor, config.pool_size, config.acquisition)
            )
        self.progress.note("evolving candidates")
        latency = Latencies.no_model()
        if "latency" in config.objectives:
            latency = self.latencies.model(list(self.trained))
        before = self._evolution(generation - 1)
        state, found = evolution.evolved(
            *(space, self.searcher, config.objectives, key, good, set(self.trained), predictor, latency),
            size=config.population_size,
            before=before if before.exists() else None,
        )
        alive = state.fitness.reshape(len(state.fitness), -1)[:, 0] > -np.inf
        self.population_diversity = float(diversity(state.genomes, alive, space.distance))
        state.save(self._evolution(generation), diversity=self.population_diversity)
        checkpoint.remove(self._evolution(generation - 2))

        def propose(key, count, taken):
            left = evolution.without(found, taken)
            return evolution.batch(left, count, int(jax.random.bits(key)), space.distance)

        return propose

    def _evolution(self, generation: int) -> Path:
        """Where the state of the evolution after a round is."""
        return paths.evolution_dir(self.checkpoints, generation)

    def _diversity(self, names: list[str]) -> float | None:
        """The mean distance of templates from one another."""
        genomes = jax.device_put(to_genomes([self._template(name) for name in names], self.space.length))
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
        if not pairs:
            return None
        first, second = np.array(pairs).T
        return float(jax.vmap(self.space.distance)(genomes[first], genomes[second]).mean())

    def _store_front(self, generation: int) -> list[Evaluation]:
        """The templates so far that no other beats in every objective; MACs are one where there is no other."""
        rows = self.good()
        others = self._other_objectives or ("macs",)
        costs = self._costs([row.key.hash for row in rows], others)
        values = np.concatenate([np.array([[row.val_acc_final] for row in rows]).reshape(-1, 1), -costs], 1)
        best = [rows[i] for i in front(values)]
        columns = [
            {
                "hash": row.key.hash,
                "val_acc_final": row.val_acc_final,
                "params": row.params,
                "macs": row.macs,
                "latency_ms": self.latencies.known.get(row.key.hash),
            }
            for row in best
        ]
        self.store.add_front(self.experiment, generation, columns)
        return best

    @property
    def _other_objectives(self) -> tuple[str, ...]:
        return tuple(name for name in self.config.objectives if name != "accuracy")

    def _costs(self, names: Sequence[str], objectives: Sequence[str]) -> np.ndarray:
        """`[N, M]`: what templates cost, by hash, in each of M objectives; endless where a latency is not known."""
        costs = np.zeros((len(names), len(objectives)))
        for i, name in enumerate(names):
            cost = self._template(name).cost
            every = {"macs": cost.macs, "params": cost.params, "latency": self.latencies.known.get(name, np.inf)}
            costs[i] = [every[objective] for objective in objectives]
        return costs

    def _fit(self, generation: int) -> Predictor | None:
        """A predictor of all rows so far, stored; None where they are too few."""
        self.progress.note("fitting the predictor")
        predictor = choose.fitted(self.space, self.good(), self.config.seed, self.config.prune_after_epochs)
        if predictor is not None:
            folder = self._predictor(generation)
            predictor.save(folder)
            checkpoint.remove(self._predictor(generation - 1))  # nothing asks it any more
            scores = predictor.scores
            self.store.add_predictor(
                experiment_id=self.experiment,
                generation=generation,
                num_rows=scores.num_rows,
                r2=scores.r2,
                kendall_tau=scores.kendall_tau,
                spearman=scores.spearman,
                seconds=predictor.seconds,
                checkpoint=str(folder),
            )
        self.progress.predictor(predictor)
        return predictor

    def _predictor(self, generation: int) -> Path:
        """Where the predictor that was fitted before a round is."""
        return paths.predictor_dir(self.checkpoints, generation)

    def _train(self, hashes: list[str], step: str, generation: int) -> Iterator[Evaluation]:
        trials = [Trial(self._template(hash), self.config.seed) for hash in hashes]
        keys = [make_key(trial, self.recipe, self.data, SPLIT_SEED) for trial in trials]
        request = TrainingRequest(trials, keys, self.recipe, self.split, self.store)
        options = EngineOptions(
            compile_timeout=self.config.compile_timeout,
            on_epoch=self.progress.epoch,
            should_stop=lambda: self.spent() is not None,
        )
        first, folder = self.config.prune_after_epochs, self._predictor(generation)
        if not first or step == "random":
            return run_trials(request, options)

        def goes_on(keys, curves):
            if not folder.exists():  # there were too few rows for a predictor
                return [True] * len(keys)
            # From the disk, so that a search that goes on here decides alike.
            names = [key.hash for key in keys]
            rows, others = self.good(), self._other_objectives
            best = to_beat(
                self._costs(names, others),
                self._costs([row.key.hash for row in rows], others),
                np.array([row.val_acc_final for row in rows]),
            )
            return hopeful(self.space, names, curves, Predictor.load(folder), best)

        return run_pruned(request, first, goes_on, options)

    def _template(self, hash: str) -> Template:
        return Template.from_hash(hash, self.data.in_shape, self.data.classes)

    def finish(self) -> SearchResult:
        """Trains the winner for longer, tests it, and gathers what was found."""
        good = sorted(self.good(), key=lambda row: -row.val_acc_final)
        if not good and not self.trained:
            raise JnasError(f"The search ended {self.over}, before any template was trained: give it more.")
        if not good:
            reasons = "; ".join(sorted({row.message for _, row in self.trained.values()}))
            raise JnasError(f"None of the {len(self.trained)} templates could be trained: {reasons}.")
        if self.over:
            self.progress.ended(self.over)
        self.progress.note("training the best for longer")
        seeds = [(self.config.seed + i) % 2**32 for i in range(self.config.final_repeats)]  # as large as a seed may be
        images = (self.data, self.split, SPLIT_SEED)
        final = Final(self.config.final_training(), seeds, *images, self.store, self.checkpoints, self.progress.epoch)
        finalists = [self._template(row.key.hash) for row in good[: self.config.num_finalists]]
        best, finals = find_winner(finalists, final)
        self.store.set_winner(self.experiment, best.hash)
        candidates = tuple(
            EvaluatedCandidate(
                template=self._template(row.key.hash),
                evaluation=row,
                phase=self.trained[row.key.hash][0],
                finals=tuple(finals.get(row.key.hash, ())),
                _data=self.data,
                _recipe=self.recipe,
                _weights=final.folder(best) if row.key.hash == best.hash else None,
            )
            for row in good
        )
        winner = next(candidate for candidate in candidates if candidate.template.hash == best.hash)
        result = SearchResult(candidates, self.store, self.experiment, winner)
        self.progress.finish(result)
        return result
