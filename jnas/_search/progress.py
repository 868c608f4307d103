"""What a search prints while it runs, and at its end."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from jnas._runtime.console import is_live, make_console, say
from jnas._runtime.devices import describe_device
from jnas._search.callbacks import Callback
from jnas._search.config import Round
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.stopping import describe_minutes
from jnas._search.summary import describe_result
from jnas.report import format_count
from jnas.train import Recipe

if TYPE_CHECKING:
    from jnas._search.population import RoundResult
    from jnas._search.setup import SearchSetup

_MIN_FOR_REMARK = 3
"""Templates from which on it is no accident that none of them learns."""
TITLES = {"stored": "Earlier searches", "known": "Known networks", "random": "Random networks", "evolved": "Evolved"}


class ConsoleProgress(Callback):
    """A live bar where there is a terminal or a notebook, a line a template elsewhere; then the tables.

    Where logging is set up for it, lines are logged in place of being printed, also those of a quiet console.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or make_console()
        self.live = is_live(self.console) and not self.console.quiet
        self.best = 0.0
        self.num_done = self.num_generations = 0

    def _print(self, what: object) -> None:
        say(self.console, what)

    def on_search_start(self, setup: "SearchSetup") -> None:
        self.setup = setup
        for line in first_lines(setup):
            self._print(line)
        self.bar = RichProgress(
            *("{task.description}", BarColumn(10), TimeElapsedColumn(), "{task.fields[done]} trained"),
            *("best {task.fields[best]}", "{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        # The bar shows the time that has passed; without a limit of time it only moves.
        self.task = self.bar.add_task("Beginning", total=setup.config.time_limit, best="-", note="", done=0)
        self.bar.start()

    def _update(self, **changes: Any) -> None:
        self.bar.update(self.task, completed=self.setup.seconds, **changes)

    def on_round_start(self, round: Round, num_trials: int) -> None:
        self._update(description=TITLES[round.phase])

    def on_wait(self) -> None:
        self._print("Another process runs this search: this one waits for it, and then goes on from its rows.")

    def on_message(self, text: str) -> None:
        self._update(note=text)

    def on_epoch_end(self, epoch: int) -> None:
        self._update(note=f"epoch {epoch}")

    def on_trial_end(self, candidate: EvaluatedCandidate) -> None:
        row, phase = candidate.evaluation, candidate.phase
        self.num_done += 1
        self.best = max(self.best, row.val_acc_final or 0.0)
        self._update(done=self.num_done, best=f"{self.best:.4f}", note="compiling")
        if not self.live:
            outcome = f"val acc {row.val_acc_final:.4f}" if row.status == "ok" else f"{row.status}: {row.message}"
            if row.status == "ok" and candidate.metric != "accuracy":
                outcome += f", {candidate.metric.replace('_', ' ')} {abs(candidate.score):.4f}"
            costs = f"{format_count(row.params)} params, {format_count(row.macs)} MACs"
            self._print(f"{self.setup.seconds:4.0f} s  {phase:7}  {outcome}, best {self.best:.4f}, {costs}")

    def on_round_end(self, result: "RoundResult") -> None:
        text = "no template could be trained."
        if accuracies := result.accuracies:
            mean = sum(accuracies) / len(accuracies)
            verb = "found" if result.round.phase == "stored" else "trained"
            text = f"{len(accuracies)} {verb}, val acc mean {mean:.4f}, best {max(accuracies):.4f}"
            expected = [trained.predicted_mean for trained in result.evaluated if trained.predicted_mean is not None]
            text += f" (expected {np.mean(expected):.4f})." if expected else "."
        title = TITLES[result.round.phase]
        if result.round.phase == "evolved":
            self.num_generations += 1
            title += f", generation {self.num_generations}"
        self._print(f"{title}: {text}")
        if result.round.phase != "evolved" and (remark := remark_at_chance(accuracies, self.setup)):
            self._print(remark)

    def on_interrupt(self) -> None:
        self._print(
            "Stopping: what is in training is finished, then the best are trained for longer. Ctrl-C again to end now."
        )

    def on_second_interrupt(self) -> None:
        self.close()

    def on_stop(self, reason: str) -> None:
        self._print(f"The search ended {reason}. The same command goes on where it stopped.")

    def on_promotion(self, recipe: Recipe, candidates: Sequence[EvaluatedCandidate]) -> None:
        self._update(description="The best again", note="compiling")
        images = "all" if recipe.train_images is None else f"{recipe.train_images:,}"
        epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
        self._print(f"The best {len(candidates)} are trained again, for {epochs} of {images} images.")

    def on_final_training(self, num_epochs: int) -> None:
        self._update(description="The winner")

    def on_search_end(self, result: SearchResult) -> None:
        self.bar.stop()
        for part in describe_result(result):
            self._print(part)

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()


def first_lines(setup: "SearchSetup") -> list[str]:
    """Returns what a search has understood, in some lines, and what was done to its images."""
    num_trained = int((setup.store.experiment_df(setup.experiment).phase != "stored").sum())
    goes_on = [f"It goes on: what an earlier run has trained is shown again first ({num_trained})."] * (num_trained > 0)
    data, split, recipe, config = setup.data, setup.split, setup.recipe, setup.config
    channels, height, width = data.in_shape
    names = f" ({_shorten(data.class_names)})" if data.class_names else ""
    validation = "taken from the training images" if data.x_val is None else "your own"
    limit = config.time_limit
    minutes = "no limit of time" if limit is None else f"at most {describe_minutes(limit)}"
    images = "" if recipe.train_images is None else f" on {recipe.train_images:,} images"
    return [
        f"jnas searches on {data.name}: images of {height} x {width} x {channels} (height x width x channels), "
        f"{data.classes} classes{names}.",
        f"Images: {len(split.x_train):,} for training, {len(split.x_val):,} for validation ({validation}), "
        f"{len(data.x_test):,} for the test of the winner.",
        *setup.notes,
        f"Recipe {config.recipe}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)} a network{images}, of at most "
        f"{format_count(config.max_macs or 0)} multiply-accumulates (MACs).",
        f"Training images are {config.make_recipe(None).describe_augmentation()}.",
        f"Device: {describe_device()}; {minutes}.",
        f"Results: {setup.store.path} (experiment {setup.experiment}), weights: {setup.checkpoints}.",
        *goes_on,
    ]


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 5 else [*names[:4], "...", names[-1]])


def remark_at_chance(accuracies: Sequence[float], setup: "SearchSetup") -> str | None:
    """Returns what to try where none of some networks is better than always naming the most frequent class."""
    labels = np.asarray(setup.split.y_val)
    chance = np.bincount(labels).max() / len(labels)
    noise = math.sqrt(chance * (1 - chance) / len(labels))
    if len(accuracies) < _MIN_FOR_REMARK or max(accuracies) > chance + 2 * noise:
        return None
    unmirrored = "flip=False (--no-flip) if one class looks like the mirror image of another; "
    return (
        f"Remark: all {len(accuracies)} are at chance (best {max(accuracies):.4f}, chance {chance:.4f}). Try "
        f"{unmirrored if setup.recipe.flip else ''}another learning_rate, or more epochs; and see that each label "
        "belongs to its image."
    )
