"""What an evaluation of many templates shows while it runs."""

from __future__ import annotations

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jnas._runtime.console import is_live, make_console, say
from jnas.store import Evaluation
from jnas.train._engine.timing import TimingStats

_SECONDS_BETWEEN_LINES = 10.0
"""Where there is no live bar."""


class ProgressBar:
    """Shows the trials that are done, trials a second, the time left, and the time spent waiting for the compiler.

    A live bar in a terminal or a notebook; elsewhere a line every ten seconds; nothing if it is `quiet`.
    """

    def __init__(self, total: int, timing: TimingStats, title: str = "evaluating", quiet: bool = False):
        self._total, self._timing = total, timing
        self._count, self._best, self._failed = 0, 0.0, 0
        self._console = make_console(quiet)
        self._is_live = not quiet and is_live(self._console)
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
        self._bar = Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True, disable=not self._is_live
        )
        self._task = self._bar.add_task("", total=total, text="")
        self._last_line = time.perf_counter()

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, row: Evaluation) -> None:
        """Counts one more row."""
        self._count += 1
        self._failed += row.status != "ok"
        self._best = max(self._best, row.val_acc_final or 0.0)
        is_last = self._count == self._total and self._timing.num_trials > 0
        self._show(self._count, f"{self._count}/{self._total} {self._summary()}", now=is_last)

    def note(self, text: str) -> None:
        """Shows what happens now, in a few words."""
        self._show(min(self._timing.num_trials, self._total), f"{text}, {self._summary()}")

    def _show(self, completed: int, line: str, now: bool = False) -> None:
        self._bar.update(self._task, completed=completed, text=self._summary())
        seconds = time.perf_counter() - self._last_line
        if not self._is_live and (now or seconds > _SECONDS_BETWEEN_LINES):
            self._last_line = time.perf_counter()
            say(self._console, line)

    def _summary(self) -> str:
        seconds, trials = max(self._timing.seconds, 1e-9), self._timing.num_trials
        parts = [f"best val acc {self._best:.4f}"] if self._count else []
        if trials:
            remaining = max(0, self._total - max(self._count, trials)) * seconds / trials
            parts += [f"{trials / seconds:.2f} trials/s", f"ETA {remaining:.0f} s"]
            parts.append(f"{self._timing.compile_wait_seconds / seconds:.0%} of the time waiting for the compiler")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts)
