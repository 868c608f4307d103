"""Results from elsewhere as rows of a store: a CSV file, or the database of Sophius."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jnas._validation import first_line, kind_of_file, shown, to_path
from jnas.errors import JnasError
from jnas.space import Template
from jnas.store._records import Epoch, Evaluation, Key
from jnas.store._store import IMPORTED, Store

_ACCURACY = ("val_acc", "val_acc_final", "accuracy", "acc")
_OPTIONAL = {"train_acc": "train_acc_final", "test_acc": "test_acc_final", "seconds": "train_seconds"}
_HINT = "give a CSV file with columns hash and val_acc, or the database of Sophius"
_SQLITE = b"SQLite format 3\0"
_SCHEMAS = {
    # Sophius has had two: a model trained once, and runs of a model.
    "runs": (
        "SELECT e.*, r.id AS run, m.hash, r.val_acc, r.train_acc, r.time FROM runs r "
        "JOIN models m ON m.id = r.model_id JOIN experiments e ON e.id = r.exp_id ORDER BY r.id",
        "SELECT run_id AS run, loss, train_acc, val_acc FROM model_epochs ORDER BY run_id, rowid",
    ),
    "models": (
        "SELECT e.*, m.id AS run, m.hash, m.val_acc, m.train_acc, m.time FROM models m "
        "JOIN experiments e ON e.id = m.exp_id ORDER BY m.id",
        "SELECT model_id AS run, loss, train_acc, val_acc FROM model_epochs ORDER BY model_id, epoch",
    ),
}
"""The table that a run is a row of, with queries for runs and their epochs."""


class _Result(NamedTuple):
    """A training from elsewhere; `recipe` is all that is known of how it was."""

    where: str
    hash: str
    in_shape: tuple[int, ...]
    num_classes: int
    recipe: dict[str, Any]
    values: dict[str, float]
    epochs: tuple[Epoch, ...] = ()


def import_rows(store: Store | str | Path, path: str | Path) -> int:
    """Writes the trainings in a file to a store, which is made where it is missing, and returns how many are new.

    They get a recipe of their own for each file and each experiment of Sophius: a search does not take them for its own
    trainings, but its predictor learns from those of the same image shape and classes. Several trainings of a template
    get the seeds 0, 1, ... Costs are those of the template.

    Args:
      store: a store, its file, or the folder of a search.
      path: a CSV file with columns `hash` and `val_acc` (fractions), and if there are any `train_acc`, `test_acc`,
        `seconds`, `acc_1`, `acc_2`, ... (validation accuracy by epoch), `in_shape` ("3x32x32") and `num_classes` (10);
        or the SQLite file of Sophius.

    Raises:
      JnasError: the file is neither, or a row is wrong; then nothing is written.
    """
    path = to_path("path", path)
    try:
        with path.open("rb") as file:
            first = file.read(16)
    except OSError as error:
        raise JnasError(
            f"import must be a file that can be read, got {path} ({first_line(error)}); {_HINT}."
        ) from error
    if first == _SQLITE:
        results = _read_sophius(path)
    elif kind_of_file(first) == "a text file":
        results = _read_csv(path)
    else:
        raise JnasError(f"import must be a file of rows, got {path}, {kind_of_file(first)}; {_HINT}.")
    evaluations: dict[str, list[Evaluation]] = {}
    seeds: dict[tuple, int] = {}
    for result in results:
        evaluation, recipe_json = _to_evaluation(result, seeds)
        evaluations.setdefault(recipe_json, []).append(evaluation)
    if not evaluations:
        raise JnasError(f"import must have rows, got none in {path}; {_HINT}.")
    store = store if isinstance(store, Store) else Store(store)
    keys = [evaluation.key for group in evaluations.values() for evaluation in group]
    known = len(store.find(keys)) if store.is_made else 0
    for recipe_json, group in evaluations.items():
        store.add(group, recipe_json)
    return len(keys) - known


def _to_evaluation(result: _Result, seeds: dict[tuple, int]) -> tuple[Evaluation, str]:
    try:
        template = Template.from_hash(result.hash, result.in_shape, result.num_classes)
    except JnasError as error:
        raise JnasError(f"{result.where} must be a template, got this: {error}") from error
    for name, value in result.values.items():
        if name != "train_seconds" and not 0 <= value <= 1:
            hint = "divide percents by 100"
            raise JnasError(f"{result.where} must have fractions from 0 to 1 as {name}, got {value:g}; {hint}.")
    recipe_json = json.dumps({"imported": result.recipe}, sort_keys=True)
    recipe_id = hashlib.sha256(recipe_json.encode()).hexdigest()[:12]
    in_shape = "x".join(map(str, result.in_shape))
    same = (template.hash, in_shape, result.num_classes, recipe_id)
    seeds[same] = seeds.get(same, -1) + 1
    key = Key(*same, IMPORTED, 0, seeds[same])
    values = result.values
    evaluation = Evaluation(
        key,
        message="imported",
        val_acc_final=values["val_acc_final"],
        val_acc_max=max([values["val_acc_final"], *(epoch.val_acc for epoch in result.epochs)]),
        train_acc_final=values.get("train_acc_final"),
        test_acc_final=values.get("test_acc_final"),
        train_seconds=values.get("train_seconds", 0.0),
        params=template.cost.params,
        macs=template.cost.macs,
        flops=template.cost.flops,
        epochs=result.epochs,
    )
    return evaluation, recipe_json


def _read_csv(path: Path) -> Iterator[_Result]:
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype={"hash": str, "in_shape": str})
    except ValueError as error:  # pandas' own errors are such
        raise JnasError(f"import must be a table, got {path} ({first_line(error)}); {_HINT}.") from error
    accuracy = next((name for name in _ACCURACY if name in frame), None)
    if accuracy is None or "hash" not in frame:
        columns = ", ".join(map(str, frame.columns))
        raise JnasError(f"import must have columns hash and val_acc, got {columns} in {path}; {_HINT}.")
    names = {accuracy: "val_acc_final"} | {name: new for name, new in _OPTIONAL.items() if name in frame}
    epochs = sorted((name for name in frame if re.fullmatch(r"acc_\d+", str(name))), key=lambda name: int(name[4:]))
    for number, row in enumerate(frame.to_dict("records"), 2):  # the first line has the names
        where = f"line {number} of {path}"
        if row.get("status", "ok") == "ok":
            values = {new: _to_number(row[name], name, where) for name, new in names.items()}
            accuracies = [_to_number(row[name], name, where) for name in epochs]
            yield _Result(
                where,
                str(row["hash"]),
                _to_shape(row.get("in_shape", "3x32x32"), "in_shape", where),
                int(_to_number(row.get("num_classes", 10), "num_classes", where)),
                {"file": path.name},
                values,
                tuple(Epoch(math.nan, math.nan, value) for value in accuracies),
            )


def _to_number(value: Any, name: str, where: str) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not math.isfinite(number):
        raise JnasError(f"{where} must have a number as {name}, got {shown(value)}; leave rows without one out.")
    return number


def _to_shape(value: Any, name: str, where: str) -> tuple[int, ...]:
    """The numbers in a text such as "3x32x32" or "(3, 32, 32)"."""
    numbers = tuple(map(int, re.findall(r"\d+", str(value))))
    if not numbers:
        raise JnasError(f"{where} must have a shape as {name}, got {shown(value)}; leave rows without one out.")
    return numbers


def _read_sophius(path: Path) -> Iterator[_Result]:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            schema = next((name for name in _SCHEMAS if name in tables), None)
            if schema is None:
                got = ", ".join(sorted(tables)) or "none"
                raise JnasError(f"import must have the tables of Sophius, got {got} in {path}; {_HINT}.")
            runs, curves = (connection.execute(query).fetchall() for query in _SCHEMAS[schema])
    except sqlite3.Error as error:
        raise JnasError(f"import must be a database of Sophius, got {path} ({first_line(error)}); {_HINT}.") from error
    epochs: dict[int, list[Epoch]] = {}
    for row in curves:
        where = f"an epoch of run {row['run']} of {path}"
        values = (_to_number(row[name], name, where) for name in ("loss", "train_acc", "val_acc"))
        epochs.setdefault(row["run"], []).append(Epoch(*values))
    of_run = ("run", "hash", "val_acc", "train_acc", "time", "id")
    for row in runs:
        where = f"run {row['run']} of {path}"
        values = {"val_acc_final": row["val_acc"], "train_acc_final": row["train_acc"], "train_seconds": row["time"]}
        yield _Result(
            where,
            str(row["hash"]),
            _to_shape(row["in_shape"], "in_shape", where),
            _to_shape(row["out_shape"], "out_shape", where)[-1],
            {"sophius": {name: row[name] for name in row.keys() if name not in of_run}},  # noqa: SIM118  no dict
            {name: _to_number(value, name, where) for name, value in values.items()},
            tuple(epochs.get(row["run"], ())),
        )
