"""Tables for the terminal and the notebook."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from jnas.space import Template
from jnas.store import Evaluation

if TYPE_CHECKING:
    import pandas as pd


_OTHER_COSTS = {"memory": "memory, KB", "flash": "flash, KB", "latency": "latency, ms"}


def leaderboard(rows: Sequence[tuple[str, Evaluation]], validation_images: int) -> Table:
    """Returns a table of the best architectures: for each the phase that proposed it and its evaluation, best first."""
    return _table(
        f"Best by val acc: validation accuracy after the last epoch ({validation_images:,} images, one seed)",
        ("#", "val acc", "params", "MACs", "seconds", "layers"),
        ("phase", "hash"),
        (
            (
                str(rank),
                f"{row.val_acc_final:.4f}",
                *_costs(row),
                f"{row.compile_seconds + row.train_seconds:.1f}",
                str(len(row.key.hash) // 8 + 1),
                phase,
                _short_hash(row.key.hash),
            )
            for rank, (phase, row) in enumerate(rows, start=1)
        ),
    )


def finalist_table(
    trainings: Sequence[tuple[Evaluation, Sequence[Evaluation]]],
    validation_images: int,
    title: str = "Trained for longer",
) -> Table:
    """Returns a table of the templates that were trained for longer, of which the best mean wins.

    For each: its evaluation in the search and those of its longer trainings, one per seed.
    """
    lines = []
    for row, finals in trainings:
        accuracies = [final.val_acc_final for final in finals if final.status == "ok"]
        accuracies = [accuracy for accuracy in accuracies if accuracy is not None]
        longer = mean_std(accuracies) if accuracies else "failed"
        before = f"{row.val_acc_final:.4f}"
        lines.append((before, longer, str(len(accuracies)), *_costs(row), _short_hash(row.key.hash)))
    title = f"{title}: validation accuracy after the last epoch ({validation_images:,} images)"
    return _table(title, ("before", "longer", "seeds", "params", "MACs"), ("hash",), lines)


def front_table(front: pd.DataFrame, objectives: Sequence[str] = tuple(_OTHER_COSTS)) -> Table:
    """Returns the Pareto front, the result of `Store.front_df`, as a table.

    It has parameters and MACs, and of the needs of a board and the latency those among the objectives.
    """
    others = {name: title for name, title in _OTHER_COSTS.items() if name in objectives}
    lines = []
    for row in front.to_dict("records"):
        latency = row["latency_ms"]
        costs = {
            "memory": f"{row['memory_bytes'] / 1024:.0f}",
            "flash": f"{row['flash_bytes'] / 1024:.0f}",
            "latency": "-" if latency is None or latency != latency else f"{latency:.2f}",
        }
        numbers = f"{row['val_acc_final']:.4f}", format_count(row["params"]), format_count(row["macs"])
        lines.append((*numbers, *(costs[name] for name in others), _short_hash(row["hash"])))
    title = "Pareto front: validation accuracy after the last epoch, against cost"
    return _table(title, ("val acc", "params", "MACs", *others.values()), ("hash",), lines)


def layer_summary(template: Template) -> Table:
    """Returns a table of a template's layers: type, output shape and parameters."""
    table = Table.grid(padding=(0, 2))
    for line in str(template).splitlines():
        name, _, rest = line.partition(" ")
        shape, bracket, details = rest.partition(")") if rest.startswith("(") else (rest, "", "")
        table.add_row(name, shape + bracket, details.strip())
    return table


def mean_std(values: Sequence[float]) -> str:
    """Returns the mean of values and, of two or more, their sample standard deviation, such as "0.5100 ± 0.0120"."""
    mean = f"{statistics.fmean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.4f}"


def wilson_interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Returns the 95 % interval of an accuracy by the sample of images alone (Wilson 1927, JASA 22:209)."""
    from scipy.stats import binomtest  # takes a second

    interval = binomtest(round(accuracy * num_images), num_images).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def format_count(number: int | None) -> str:
    """Returns a number of parameters or operations with three digits, such as "12.3k" or "1.65M"; "-" for None."""
    if number is None:
        return "-"
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            value = number / factor
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f}{unit}"
    return str(number)


def _table(title: str, numbers: Sequence[str], texts: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Returns a table whose first columns are numbers, aligned to the right, and the others texts."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for name in (*numbers, *texts):
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _costs(row: Evaluation) -> tuple[str, str]:
    return format_count(row.params), format_count(row.macs)


def _short_hash(hash: str) -> str:
    return f"{hash[:16]}…" if len(hash) > 16 else hash
