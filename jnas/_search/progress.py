"""What a search tells while it runs, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from jnas._runtime.devices import device_name
from jnas.predict import Predictor
from jnas.report import finalist_table, format_count, front_table, layer_summary, leaderboard, mean_std
from jnas.store import Evaluation

if TYPE_CHECKING:
    from jnas._search.loop import Search
    from jnas._search.result import SearchResult

TITLES = {
    "random": "Phase 1: random templates",
    "screened": "Phase 2: screened by the predictor",
    "evolved": "Phase 3: evolved",
}


class Progress:
    """The events of a search. This one is silent; a subclass shows them."""

    def begin(self, search: Search) -> None:
        """Everything is set up."""

    def planned(self, generation: int, templates: int) -> None:
        """How many templates a round is going to train."""

    def note(self, text: str) -> None:
        """What happens now, in a few words."""

    def epoch(self, number: int) -> None:
        """The template in training has finished an epoch."""

    def trained(self, step: str, row: Evaluation) -> None:
        """A template was trained, or its row was there already."""

    def predictor(self, predictor: Predictor | None) -> None:
        """A predictor was fitted, or there were too few rows for one."""

    def round_done(self, step: str, generation: int, accuracies: list[float]) -> None:
        """All templates of a round are trained; the accuracies are those of the ones that ended well."""

    def interrupted(self) -> None:
        """The user pressed Ctrl-C once; called within a signal handler."""

    def ended(self, why: str) -> None:
        """A budget is spent, or the user wants an end; the best are trained for longer now."""

    def finish(self, result: SearchResult) -> None:
        """The winner is trained and tested."""

    def close(self) -> None:
        """The search is over, however it ended."""


class ConsoleProgress(Progress):
    """A live bar where there is a terminal or a notebook, a line a template elsewhere; then the tables."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False)
        self.live = self.console.is_terminal or self.console.is_jupyter
        self.start = time.perf_counter()
        self.best = 0.0
        self.evolved = 0

    def _say(self, what: object, style: str | None = None) -> None:
        """Prints a line or a table, as it is; lines are wrapped by the terminal, so that they can be copied whole."""
        self.console.print(what, style=style, markup=False, soft_wrap=isinstance(what, str))

    def begin(self, search: Search) -> None:
        self.search = search
        # Where only a limit ends the search, the rounds to come are not counted.
        coming = () if search.config.endless else search.config.rounds()
        self.counts = {round.number: round.num_trials for round in coming}
        self.done = 0
        data, split, recipe = search.data, search.split, search.recipe
        self._say(
            f"jnas searches on {data.name}: {len(split.x_train):,} training, {len(split.x_val):,} "
            f"validation, {len(data.x_test):,} test images, {data.classes} classes; "
            f"epochs a template: {recipe.epochs}; on {device_name()}.",
        )
        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("best val acc {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.task = self.bar.add_task(TITLES["random"], total=self.total, best="-", note="")
        self.bar.start()

    @property
    def total(self) -> int:
        """Trainings, as it is known by now."""
        templates, most = sum(self.counts.values()), self.search.config.max_trials
        longer = self.search.config.num_finalists  # which are trained again
        return (templates if most is None else min(templates, most)) + longer

    def planned(self, generation: int, templates: int) -> None:
        self.counts[generation] = templates
        self.bar.update(self.task, total=self.total)

    def note(self, text: str) -> None:
        self.bar.update(self.task, note=text)

    def epoch(self, number: int) -> None:
        self.note(f"epoch {number}")

    def trained(self, step: str, row: Evaluation) -> None:
        self.done += 1
        self.best = max(self.best, row.val_acc_final or 0.0)
        self.bar.update(self.task, advance=1, description=TITLES[step], best=f"{self.best:.4f}", note="compiling")
        if not self.live:
            outcome = f"val acc {row.val_acc_final:.4f}" if row.status == "ok" else f"{row.status}: {row.message}"
            elapsed = time.perf_counter() - self.start
            eta = elapsed / self.done * (self.total - self.done)
            self._say(
                f"{self.done}/{self.total} {step}: {outcome}, best {self.best:.4f}, {format_count(row.params)} params, "
                f"{format_count(row.macs)} MACs, {row.compile_seconds + row.train_seconds:.1f} s, ETA {eta:.0f} s",
            )

    def predictor(self, predictor: Predictor | None) -> None:
        if predictor is None:
            text = "Predictor: too few templates trained well to fit one; choosing at random."
        else:
            s = predictor.scores
            text = (
                f"Predictor on held-out rows ({s.num_rows}, each unseen by the member that predicts it): "
                f"R² {s.r2:.2f}, Kendall tau {s.kendall_tau:.2f}, Spearman {s.spearman:.2f}; "
                f"fitted in {predictor.seconds:.1f} s."
            )
        self._say(text)

    def round_done(self, step: str, generation: int, accuracies: list[float]) -> None:
        if accuracies:
            mean = sum(accuracies) / len(accuracies)
            text = f"{len(accuracies)} trained, val acc mean {mean:.4f}, best {max(accuracies):.4f}."
        else:
            text = "no template could be trained."
        title = TITLES[step]
        if step == "evolved":
            self.evolved += 1
            title += f", generation {self.evolved}"
        self._say(f"{title}: {text}")

    def finish(self, result: SearchResult) -> None:
        self.bar.stop()
        best = result.best
        rows = [(candidate.phase, candidate.evaluation) for candidate in result.top(10)]
        stopped = sum(row.status == "stopped" for _, row in self.search.trained.values())
        failed = len(self.search.trained) - len(result.candidates) - stopped
        self._say(leaderboard(rows, len(self.search.split.x_val)))
        if len(self.search.config.objectives) > 1:
            self._say(front_table(result.front))
        if stopped:
            self._say(f"{stopped} templates were stopped early.")
        if failed:
            self._say(f"{failed} templates failed; their rows say why.")
        finalists = [(candidate.evaluation, candidate.finals) for candidate in result.candidates if candidate.finals]
        if len(finalists) > 1:
            self._say(finalist_table(finalists, len(self.search.split.x_val)))
        cost = best.template.cost
        self._say(f"\nThe winner ({format_count(cost.params)} params, {format_count(cost.macs)} MACs):", "bold")
        self._say(layer_summary(best.template))
        self._say(f"hash {best.template.hash}\n")
        self._say(self._final(best.finals))
        self._say(
            f"Results: {result.store.path} (experiment {result.experiment}), weights: {self.search.checkpoints}. "
            f"{time.perf_counter() - self.start:.0f} s.",
        )

    def interrupted(self) -> None:
        self._say(
            "Stopping: what is in training is finished, then the best are trained for longer. Ctrl-C again to end now."
        )

    def ended(self, why: str) -> None:
        self._say(f"The search ended {why}. The same command goes on where it stopped, with a higher limit if need be.")

    def _final(self, finals: Sequence[Evaluation]) -> str:
        """A sentence on the winner's training."""
        good = [row for row in finals if row.status == "ok"]
        if not good:
            return f"Its longer training failed ({finals[0].status}: {finals[0].message})."
        accuracies = f"validation accuracy {mean_std([row.val_acc_final for row in good])}"
        tested = [row.test_acc_final for row in good if row.test_acc_final is not None]
        images = f"{len(self.search.data.x_test):,} images"
        accuracies += f", test accuracy {mean_std(tested)} ({images})" if tested else ", no test images"
        epochs = f"{len(good[0].epochs)} epoch{'s' * (len(good[0].epochs) > 1)}"
        seeds = "one seed" if len(good) == 1 else f"mean ± standard deviation of {len(good)} seeds"
        failed = f"; {len(finals) - len(good)} more failed" if len(good) < len(finals) else ""
        return f"Trained for {epochs}: {accuracies}, after the last epoch, {seeds}{failed}."

    def close(self) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()
