"""What a search tells while it runs, and at its end."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from jnas._runtime.console import is_live, make_console
from jnas._runtime.devices import describe_device
from jnas._search.config import Round
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas.predict import Predictor
from jnas.report import finalist_table, format_count, front_table, layer_summary, leaderboard, mean_std
from jnas.space import describe_chain
from jnas.store import Evaluation

if TYPE_CHECKING:
    from jnas._search.loop import RoundResult, Search

_MIN_FOR_REMARK = 3
"""Templates from which on it is no accident that none of them learns."""
TITLES = {"known": "Known networks", "random": "Random templates", "evolved": "Evolved"}


class Progress:
    """The events of a search. This one is silent; a subclass shows them."""

    def on_search_start(self, search: "Search") -> None: ...  # everything is set up
    def on_wait(self) -> None: ...  # another process runs the same search, and is waited for
    def on_message(self, text: str) -> None: ...  # what happens now, in a few words
    def on_round_start(self, round: Round, num_trials: int) -> None: ...  # what it is going to train
    def on_predictor_fit(self, predictor: Predictor | None) -> None: ...  # None: there are too few rows
    def on_trial_end(self, candidate: EvaluatedCandidate) -> None: ...  # trained now, or by an earlier run
    def on_round_end(self, result: "RoundResult") -> None: ...  # all templates of the round are trained
    def on_interrupt(self) -> None: ...  # Ctrl-C was pressed once; called within a signal handler
    def on_stop(self, reason: str) -> None: ...  # a limit is reached, or the user wants an end
    def on_search_end(self, result: SearchResult) -> None: ...  # the winner is trained and tested
    def close(self) -> None: ...  # the search is over, however it ended

    def on_second_interrupt(self) -> None:
        """Ctrl-C was pressed again; called within a signal handler."""
        raise KeyboardInterrupt


class ConsoleProgress(Progress):
    """A live bar where there is a terminal or a notebook, a line a template elsewhere; then the tables."""

    def __init__(self, console: Console | None = None):
        self.console = console or make_console()
        self.live = is_live(self.console)
        self.start = time.perf_counter()
        self.best = 0.0
        self.num_done = self.num_generations = 0

    def _print(self, what: object, style: str | None = None) -> None:
        """Prints a line or a table, as it is; lines are wrapped by the terminal, so that they can be copied whole."""
        self.console.print(what, style=style, markup=False, soft_wrap=isinstance(what, str))

    def on_search_start(self, search: "Search") -> None:
        self.search = search
        for line in first_lines(search):
            self._print(line)
        self.bar = RichProgress(
            *("{task.description}", BarColumn(20), TimeElapsedColumn(), "{task.fields[done]} trained"),
            *("best {task.fields[best]}", "{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        # The bar shows the time that has passed; without a limit of time it only moves.
        self.task = self.bar.add_task("Beginning", total=search.config.time_limit, best="-", note="", done=0)
        self.bar.start()

    def _update(self, **changes: Any) -> None:
        self.bar.update(self.task, completed=time.monotonic() - self.search.start, **changes)

    def on_round_start(self, round: Round, num_trials: int) -> None:
        self._update(description=TITLES[round.phase])

    def on_wait(self) -> None:
        self._print("Another process runs this search: this one waits for it, and then goes on from its rows.")

    def on_message(self, text: str) -> None:
        self._update(note=text)

    def on_trial_end(self, candidate: EvaluatedCandidate) -> None:
        row, phase = candidate.evaluation, candidate.phase
        self.num_done += 1
        self.best = max(self.best, row.val_acc_final or 0.0)
        self._update(done=self.num_done, best=f"{self.best:.4f}", note="compiling")
        if not self.live:
            outcome = f"val acc {row.val_acc_final:.4f}" if row.status == "ok" else f"{row.status}: {row.message}"
            costs = f"{format_count(row.params)} params, {format_count(row.macs)} MACs"
            seconds = time.monotonic() - self.search.start
            self._print(f"{seconds:4.0f} s  {phase:7}  {outcome}, best {self.best:.4f}, {costs}")

    def on_predictor_fit(self, predictor: Predictor | None) -> None:
        if predictor is None or predictor.scores is None:
            return
        s = predictor.scores
        self._print(
            f"Predictor on held-out rows ({s.num_rows}, each unseen by the member that predicts it): "
            f"R² {s.r2:.2f}, Kendall tau {s.kendall_tau:.2f}, Spearman {s.spearman:.2f}; "
            f"fitted in {predictor.seconds:.1f} s."
        )

    def on_round_end(self, result: "RoundResult") -> None:
        text = "no template could be trained."
        if accuracies := result.accuracies:
            mean = sum(accuracies) / len(accuracies)
            text = f"{len(accuracies)} trained, val acc mean {mean:.4f}, best {max(accuracies):.4f}."
        title = TITLES[result.round.phase]
        if result.round.phase == "evolved":
            self.num_generations += 1
            title += f", generation {self.num_generations}"
        self._print(f"{title}: {text}")
        if result.round.phase != "evolved" and (remark := remark_at_chance(accuracies, self.search)):
            self._print(remark)

    def on_interrupt(self) -> None:
        self._print(
            "Stopping: what is in training is finished, then the best are trained for longer. Ctrl-C again to end now."
        )

    def on_stop(self, reason: str) -> None:
        self._print(
            f"The search ended {reason}. The same command goes on where it stopped, with a higher limit if need be."
        )

    def on_search_end(self, result: SearchResult) -> None:
        self.bar.stop()
        search, best = self.search, result.best
        num_val = len(search.split.x_val)
        self._print(leaderboard([(candidate.phase, candidate.evaluation) for candidate in result.top(10)], num_val))
        if len(search.config.objectives) > 1:
            self._print(front_table(result.front))
        if stopped := sum(candidate.evaluation.status == "stopped" for candidate in search.evaluated.values()):
            self._print(f"{stopped} templates were stopped early.")
        if failed := len(search.evaluated) - len(result.candidates) - stopped:
            self._print(f"{failed} templates failed; their rows say why.")
        finalists = [(candidate.evaluation, candidate.finals) for candidate in result.candidates if candidate.finals]
        if len(finalists) > 1:
            self._print(finalist_table(finalists, num_val))
        cost = best.template.cost
        self._print(f"\nThe winner ({format_count(cost.params)} params, {format_count(cost.macs)} MACs):", "bold")
        self._print(layer_summary(best.template))
        self._print(f"hash {best.template.hash}\n")
        self._print(_describe_finals(best.finals, len(search.data.x_test)))
        if (known := result.known) is not None:
            self._print(compare_with_known(best, known, num_val))
        self._print(
            f"Results: {result.store.path} (experiment {result.experiment}), weights: {search.checkpoints}. "
            f"{time.perf_counter() - self.start:.0f} s.",
        )

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()


def first_lines(search: "Search") -> list[str]:
    """Returns what a search has understood, in six lines, and what was done to its images."""
    data, split, recipe, config = search.data, search.split, search.recipe, search.config
    channels, height, width = data.in_shape
    names = f" ({_shorten(data.class_names)})" if data.class_names else ""
    validation = "taken from the training images" if data.x_val is None else "your own"
    minutes = "no limit of time" if config.time_limit is None else f"at most {config.time_limit / 60:g} minutes"
    images = "" if recipe.train_images is None else f" on {recipe.train_images:,} images"
    return [
        f"jnas searches on {data.name}: images of {height} x {width} x {channels} (height x width x channels), "
        f"{data.classes} classes{names}.",
        f"Images: {len(split.x_train):,} for training, {len(split.x_val):,} for validation ({validation}), "
        f"{len(data.x_test):,} for the test of the winner.",
        *data.notes,
        f"Recipe {config.recipe}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)} a network{images}, of at most "
        f"{format_count(config.max_macs or 0)} multiply-accumulates (MACs).",
        f"Training images are {recipe.describe_augmentation()}.",
        f"Device: {describe_device()}; {minutes}.",
        f"Results: {search.store.path} (experiment {search.experiment}), weights: {search.checkpoints}.",
    ]


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 5 else [*names[:4], "...", names[-1]])


def remark_at_chance(accuracies: Sequence[float], search: "Search") -> str | None:
    """Returns what to try where none of some networks is better than always naming the most frequent class."""
    labels = np.asarray(search.split.y_val)
    chance = np.bincount(labels).max() / len(labels)
    noise = math.sqrt(chance * (1 - chance) / len(labels))
    if len(accuracies) < _MIN_FOR_REMARK or max(accuracies) > chance + 2 * noise:
        return None
    unmirrored = "flip=False (--no-flip) if one class looks like the mirror image of another; "
    return (
        f"Remark: all {len(accuracies)} are at chance (best {max(accuracies):.4f}, chance {chance:.4f}). Try "
        f"{unmirrored if search.recipe.flip else ''}another learning_rate, or more epochs; and see that each label "
        "belongs to its image."
    )


def compare_with_known(best: EvaluatedCandidate, known: EvaluatedCandidate, num_val: int) -> str:
    """Returns in a sentence what a search brought over the best network that it began with.

    Both accuracies are those of the same training, before the winner's longer one.
    """
    name = f"the best network that it began with ({describe_chain(known.template)}, {known.accuracy:.4f})"
    if best.candidate == known.candidate:
        return f"The search found nothing better than {name}: give it more time."
    noise = math.sqrt(sum(c.accuracy * (1 - c.accuracy) for c in (best, known)) / num_val)
    gain, cost, known_cost = best.accuracy - known.accuracy, best.template.cost, known.template.cost
    place = f"{abs(gain):.4f} {'ahead of' if gain > 0 else 'behind'} {name}"
    params, macs = cost.params / known_cost.params, cost.macs / known_cost.macs
    return (
        f"After the same training in the search it is {place}, with {params:.2g} times its parameters and {macs:.2g} "
        f"times its MACs; the noise of such a difference is {noise:.4f} ({num_val:,} images)."
    )


def _describe_finals(finals: Sequence[Evaluation], num_test: int) -> str:
    """A sentence on the winner's longer training."""
    good = [row for row in finals if row.status == "ok"]
    if not good:
        return f"Its longer training failed ({finals[0].status}: {finals[0].message})."
    accuracies = mean_std([row.val_acc_final for row in good if row.val_acc_final is not None])
    tested = [row.test_acc_final for row in good if row.test_acc_final is not None]
    test = f"test accuracy {mean_std(tested)} ({num_test:,} images)" if tested else "no test images"
    epochs = f"{len(good[0].epochs)} epoch{'s' * (len(good[0].epochs) > 1)}"
    seeds = "one seed" if len(good) == 1 else f"mean ± standard deviation of {len(good)} seeds"
    failed = f"; {len(finals) - len(good)} more failed" if len(good) < len(finals) else ""
    return f"Trained for {epochs}: validation accuracy {accuracies}, {test}, after the last epoch, {seeds}{failed}."
