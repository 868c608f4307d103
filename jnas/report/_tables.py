"""Tables for the terminal and the notebook."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from jnas.space import Template
from jnas.store import Evaluation


def ranking(rows: Sequence[tuple[str, Evaluation]], validation_images: int) -> Table:
    """The best architectures, as a rich table.

    Args:
      rows: the step that chose a template and its evaluation, best first.
      validation_images: how many the accuracy was measured on.
    """
    title = f"Best by val acc: validation accuracy after the last epoch ({validation_images:,} images, one seed)"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for name in ("#", "val acc", "params", "MACs", "seconds", "layers"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("step", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    for rank, (step, row) in enumerate(rows, start=1):
        table.add_row(
            str(rank),
            f"{row.val_acc_final:.4f}",
            count(row.params),
            count(row.macs),
            f"{row.compile_seconds + row.train_seconds:.1f}",
            str(len(row.key.hash) // 8 + 1),
            step,
            f"{row.key.hash[:16]}…" if len(row.key.hash) > 16 else row.key.hash,
        )
    return table


def finalist_table(trainings: Sequence[tuple[Evaluation, Sequence[Evaluation]]], validation_images: int) -> Table:
    """Templates that were trained for longer, of which the best mean wins.

    Args:
      trainings: the shorter training of each, and its longer ones, one a seed.
      validation_images: how many accuracies were measured on.
    """
    title = f"Trained for longer: validation accuracy after the last epoch ({validation_images:,} images)"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for name in ("before", "longer", "seeds", "params", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    for row, longer in trainings:
        good = [one.val_acc_final for one in longer if one.status == "ok"]
        table.add_row(
            f"{row.val_acc_final:.4f}",
            spread(good) if good else "failed",
            str(len(good)),
            *(count(row.params), count(row.macs)),
            f"{row.key.hash[:16]}…" if len(row.key.hash) > 16 else row.key.hash,
        )
    return table


def architecture(template: Template) -> Table:
    """A template, one layer a row: its type, output shape, and parameters."""
    table = Table.grid(padding=(0, 2))
    for line in str(template).splitlines():
        name, _, rest = line.partition(" ")
        shape, bracket, details = rest.partition(")") if rest.startswith("(") else (rest, "", "")
        table.add_row(name, shape + bracket, details.strip())
    return table


def spread(values: Sequence[float]) -> str:
    """A value, or the mean and the standard deviation (of the sample) of several."""
    mean = f"{statistics.fmean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.4f}"


def count(number: int) -> str:
    """A count of parameters or operations with three digits, such as "12.3k" or "1.65M"."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            value = number / factor
            return (
                f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}{unit}" if value >= 10 else f"{value:.2f}{unit}"
            )
    return str(number)
