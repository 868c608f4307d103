"""What an evaluation of many templates shows while it runs."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from jnas.store import Evaluation
from jnas.train._engine.jobs import Report
from jnas.train._engine.scheduler import Watch

_EVERY = 10.0
"""Seconds between two lines where there is no live bar."""
_ROWS = 30
"""Programs that a table lists one by one."""


class Bar:
    """Models done, models a second, time left, and the share of time in which the device waited for the compiler.

    A live bar in a terminal or a notebook; elsewhere a line every ten seconds.
    """

    def __init__(self, total: int, watch: Watch, title: str = "evaluating", console: Console | None = None):
        self.total, self.watch = total, watch
        self.count, self.best, self.failed = 0, 0.0, 0
        self.console = console or Console(highlight=False)
        self.live = self.console.is_terminal or self.console.is_jupyter
        self.bar = RichProgress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.task = self.bar.add_task("", total=total, text="")
        self.last = time.perf_counter()

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def done(self, row: Evaluation) -> None:
        """One more row is there."""
        self.count += 1
        self.failed += row.status != "ok"
        self.best = max(self.best, row.val_acc_final or 0.0)
        self.bar.update(self.task, completed=self.count, text=self.text())
        now = time.perf_counter()
        if not self.live and (now - self.last > _EVERY or (self.count == self.total and self.watch.models)):
            self.last = now
            self.console.print(f"{self.count}/{self.total} {self.text()}", soft_wrap=True)

    def note(self, text: str) -> None:
        """What happens now, in a few words."""
        text = f"{text}, {self.text()}"
        self.bar.update(self.task, completed=min(self.watch.models, self.total), text=text)
        now = time.perf_counter()
        if not self.live and now - self.last > _EVERY:
            self.last = now
            self.console.print(text, soft_wrap=True)

    def text(self) -> str:
        """How it stands."""
        seconds, models = max(self.watch.seconds, 1e-9), self.watch.models
        parts = [f"best val acc {self.best:.4f}"] if self.count else []
        if models:
            left = max(0, self.total - max(self.count, models)) * seconds / models
            parts += [f"{models / seconds:.2f} models/s", f"ETA {left:.0f} s"]
            parts.append(f"{self.watch.waiting / seconds:.0%} of the time waiting for the compiler")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


def _seconds(reports: list[Report]) -> list[str]:
    """Seconds of compiling and of training, with what was expected."""
    names = ("compile_seconds", "train_seconds")
    sums = [[sum(getattr(r, prefix + name) for r in reports) for prefix in ("", "expected_")] for name in names]
    return [f"{took:.2f} ({expected:.2f})" for took, expected in sums]


def print_reports(watch: Watch, console: Console | None = None) -> None:
    """A table of the programs of a population: what each took and was expected to take.

    `padding` is the arithmetic of the program over that of its templates alone.
    """
    table = Table(title="programs, the most time first", title_justify="left")
    for name in ("policy", "lanes", "side by side", "padding"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for name in ("compiling", "training"):
        table.add_column(f"{name}, s (expected)", justify="right")
    reports = sorted(watch.reports, key=lambda report: -report.train_seconds)
    for r in reports[:_ROWS]:
        table.add_row(r.policy, str(r.lanes), str(r.width), f"{r.padding:.2f}", *_seconds([r]))
    if len(reports) > _ROWS:
        table.add_row(f"and {len(reports) - _ROWS} more")
    table.add_section()
    table.add_row(f"all {len(reports)}", str(sum(r.lanes for r in reports)), "", "", *_seconds(reports))
    (console or Console(highlight=False)).print(table)
