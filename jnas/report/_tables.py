"""Tables for the terminal and the notebook."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from jnas.space import Template
from jnas.store import Evaluation


def leaderboard(rows: Sequence[tuple[str, Evaluation]], validation_images: int) -> Table:
    """Returns a table of the best architectures.

    Args:
      rows: for each, the phase that proposed it and its evaluation; the best first.
      validation_images: the number of images that the accuracies are measured on.
    """
    title = f"Best by val acc: validation accuracy after the last epoch ({validation_images:,} images, one seed)"
    numbers = ("#", "val acc", "params", "MACs", "seconds", "layers")
    table = new_table(title, numbers, texts=("phase", "hash"))
    for rank, (phase, row) in enumerate(rows, start=1):
        table.add_row(
            str(rank),
            f"{row.val_acc_final:.4f}",
            format_count(row.params),
            format_count(row.macs),
            f"{row.compile_seconds + row.train_seconds:.1f}",
            str(len(row.key.hash) // 8 + 1),
            phase,
            short_hash(row.key.hash),
        )
    return table


def finalist_table(trainings: Sequence[tuple[Evaluation, Sequence[Evaluation]]], validation_images: int) -> Table:
    """Returns a table of the templates that were trained for longer, of which the best mean wins.

    Args:
      trainings: for each, its evaluation in the search and those of its final trainings, one per seed.
      validation_images: the number of images that the accuracies are measured on.
    """
    title = f"Trained for longer: validation accuracy after the last epoch ({validation_images:,} images)"
    table = new_table(title, numbers=("before", "longer", "seeds", "params", "MACs"), texts=("hash",))
    for row, finals in trainings:
        accuracies = [
            final.val_acc_final for final in finals if final.status == "ok" and final.val_acc_final is not None
        ]
        table.add_row(
            f"{row.val_acc_final:.4f}",
            mean_std(accuracies) if accuracies else "failed",
            str(len(accuracies)),
            format_count(row.params),
            format_count(row.macs),
            short_hash(row.key.hash),
        )
    return table


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


def new_table(title: str, numbers: Sequence[str], texts: Sequence[str]) -> Table:
    """Returns an empty table whose first columns are numbers, aligned to the right, and the others texts."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    for name in texts:
        table.add_column(name, no_wrap=True)
    return table


def short_hash(hash: str) -> str:
    """Returns a hash, of which only the beginning if it is long."""
    return f"{hash[:16]}…" if len(hash) > 16 else hash
