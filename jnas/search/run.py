"""The three steps, wired together.

A search is a sequence of rounds. Each chooses templates, writes down its choice, and trains what the store does not
have yet. So a search that was stopped, run again, looks up what it chose and trained, and goes on from there.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np

import jnas
from jnas.data import Dataset, load_data
from jnas.errors import JnasError
from jnas.predict import Predictor, score
from jnas.search import choose
from jnas.search.config import SearchConfig
from jnas.search.progress import Progress
from jnas.search.result import Candidate, SearchResult
from jnas.space import LimitedSpace, Template
from jnas.store import Evaluation, Store
from jnas.train import Recipe, Trial, weights
from jnas.train.evaluate import evaluate_each, evaluate_one, key_of
from jnas.train.trainer import check_batch

SPLIT_SEED = 0
"""One split into training and validation images for all searches, so that their accuracies can be compared."""


def run(config: SearchConfig, data: Dataset | None = None, progress: Progress | None = None) -> SearchResult:
    """Searches, or goes on with a search.

    Args:
      config: what is asked for.
      data: the images, where they are not what `config.data` names.
      progress: told what happens; silent by default.

    Raises:
      JnasError: something asked for cannot be had, or no template could be trained.
    """
    config.check()
    search = Search(config, data or load_data(config.data, config.classes), progress or Progress())
    for generation, step in enumerate(search.steps):
        search.round(step, generation)
    return search.finish()


class Search:
    """What the rounds share."""

    def __init__(self, config: SearchConfig, data: Dataset, progress: Progress):
        self.config, self.data, self.progress = config, data, progress
        self.store = Store(config.store)
        self.store.patience = 600  # once it runs, a search waits for whoever reads its rows
        self.recipe = config.training()
        self.split = data.split(self.recipe.validation, SPLIT_SEED)
        check_batch(self.recipe, self.split)
        self.space = LimitedSpace(config.space(data), config.max_params, config.max_macs)
        self.experiment = config.experiment(data)
        path = self.store.path.absolute()
        self.checkpoints = path.with_name(path.name.removesuffix(".duckdb") + ".checkpoints") / self.experiment
        self.trained: dict[str, tuple[str, Evaluation]] = {}  # by hash: the step that chose it, and its row
        settings = asdict(config)
        self.store.add_experiment(
            self.experiment,
            settings=settings,
            recipe=self.recipe.id,
            data=data.fingerprint,
            data_name=data.name,
            in_shape="x".join(map(str, data.in_shape)),
            classes=data.classes,
            split_seed=SPLIT_SEED,
            seed=config.seed,
            versions={"jnas": jnas.__version__, "jax": jax.__version__, "python": platform.python_version()},
        )
        # The predictor is fitted again whenever so many filtered candidates are trained.
        filtered = [min(config.refit, config.filtered - done) for done in range(0, config.filtered, config.refit)]
        self.steps = ["random", *["filtered"] * len(filtered), *["evolved"] * config.generations]
        self.counts = [config.random, *filtered, *[config.children] * config.generations]
        progress.begin(self)

    def good(self) -> list[Evaluation]:
        """The rows that ended well, in the order of training."""
        return [row for _, row in self.trained.values() if row.status == "ok"]

    def round(self, step: str, generation: int) -> None:
        """Chooses templates, trains them, and writes down how it went."""
        start = time.perf_counter()
        chosen = [choose.Choice(*row) for row in self.store.candidates(self.experiment, generation)]
        if not chosen:
            chosen = self._choose(step, generation)
            self.store.add_candidates(self.experiment, step, generation, chosen)
        self.counts[generation] = len(chosen)
        self.progress.planned(sum(self.counts))
        rows = []
        for choice, row in zip(chosen, self._train([c.hash for c in chosen]), strict=True):
            self.trained[choice.hash] = (step, row)
            rows.append((choice, row))
            self.progress.trained(step, row)
        good = [(choice, row) for choice, row in rows if row.status == "ok"]
        predicted = [
            (row.val_acc_final, choice.predicted_mean) for choice, row in good if choice.predicted_mean is not None
        ]
        tau = score(*map(np.array, zip(*predicted, strict=True))).kendall_tau if predicted else None
        accuracies = [row.val_acc_final for _, row in good]
        self.store.add_generation(
            experiment=self.experiment,
            step=step,
            generation=generation,
            trained=len(rows),
            val_acc_final_best=max(accuracies, default=None),
            val_acc_final_mean=float(np.mean(accuracies)) if accuracies else None,
            kendall_tau=tau,
            seconds=time.perf_counter() - start,
        )
        self.progress.round_done(step, generation, accuracies)

    def _choose(self, step: str, generation: int) -> list[choose.Choice]:
        count, taken = self.counts[generation], set(self.trained)
        key = jax.random.fold_in(jax.random.key(self.config.seed), generation)
        predictor = None if step == "random" else self._fit(generation)
        if predictor is None:
            return choose.random(self.space, key, count, taken)
        asked = (self.config.candidates, self.config.acquisition)
        if step == "filtered":
            return choose.filtered(self.space, key, count, taken, predictor, *asked)
        return choose.evolved(self.space, key, count, self.good(), taken, predictor, *asked)

    def _fit(self, generation: int) -> Predictor | None:
        """A predictor of all rows so far, stored; None where they are too few."""
        self.progress.note("fitting the predictor")
        predictor = choose.fitted(self.space.space, self.good(), self.config.seed)
        if predictor is not None:
            folder = self.checkpoints / f"predictor-{generation}"
            predictor.save(folder)
            scores = predictor.scores
            self.store.add_predictor(
                experiment=self.experiment,
                generation=generation,
                rows=scores.rows,
                r2=scores.r2,
                kendall_tau=scores.kendall_tau,
                spearman=scores.spearman,
                seconds=predictor.seconds,
                checkpoint=str(folder),
            )
        self.progress.predictor(predictor)
        return predictor

    def _train(self, hashes: list[str]) -> Iterator[Evaluation]:
        trials = [Trial(self._template(hash), self.config.seed) for hash in hashes]
        keys = [key_of(trial, self.recipe, self.data, SPLIT_SEED) for trial in trials]
        return evaluate_each(
            *(trials, keys, self.recipe, self.split, self.store),
            policy=self.config.policy,
            on_epoch=self.progress.epoch,
        )

    def _template(self, hash: str) -> Template:
        return Template.from_hash(hash, self.data.in_shape, self.data.classes)

    def finish(self) -> SearchResult:
        """Trains the winner for longer, tests it, and gathers what was found."""
        good = sorted(self.good(), key=lambda row: -row.val_acc_final)
        if not good:
            reasons = "; ".join(sorted({row.message for _, row in self.trained.values()}))
            raise JnasError(f"None of the {len(self.trained)} templates could be trained: {reasons}.")
        recipe = self.config.final_training()
        folder = self.checkpoints / f"winner-{recipe.id}-{good[0].key.hash[:16]}"
        final = self._final(self._template(good[0].key.hash), recipe, folder)
        candidates = tuple(
            Candidate(
                template=self._template(row.key.hash),
                evaluation=row,
                step=self.trained[row.key.hash][0],
                final=final if row is good[0] else None,
                _data=self.data,
                _recipe=self.recipe,
                _weights=folder if row is good[0] else None,
            )
            for row in good
        )
        result = SearchResult(candidates, self.store, self.experiment)
        self.progress.finish(result)
        return result

    def _final(self, template: Template, recipe: Recipe, folder: Path) -> Evaluation:
        """The winner's row under the longer recipe, its test accuracy in it, its weights in `folder`."""
        trial = Trial(template, self.config.seed)
        key = key_of(trial, recipe, self.data, SPLIT_SEED)
        row = self.store.find([key]).get(key)
        tested = row is not None and (row.test_acc_final is not None or not len(self.data.x_test))
        if row is not None and row.lasting and (row.status != "ok" or (tested and folder.exists())):
            return row
        self.progress.note("training the winner")
        row, left = evaluate_one(trial, key, recipe, self.split, self.progress.epoch)
        self.store.add([row], recipe.to_json())
        if left is not None:
            trainer, trained = left
            weights.save(folder, template, trainer.module(trained))
            if len(self.data.x_test):
                (accuracy,) = trainer.accuracy(trained.state, self.data.x_test, self.data.y_test)
                self.store.set_test_accuracy(key, float(accuracy))
        return self.store.find([key])[key]
