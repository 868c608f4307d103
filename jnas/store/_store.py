"""Results in one DuckDB file.

While a process has a DuckDB file open for writing, no other process can even read it. A `Store` therefore holds no
connection: each method opens the file, commits and closes it, so that a notebook can look while a search runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import duckdb
import numpy as np

from jnas._runtime.versions import versions
from jnas.errors import JnasError
from jnas.store._connection import read_connection, write_connection
from jnas.store._records import (
    RETRYABLE_STATUSES,
    Epoch,
    Evaluation,
    ExperimentRow,
    FrontRow,
    GenerationRow,
    Key,
    PredictorRow,
    ProposalRow,
)
from jnas.store._schema import EVALUATIONS_WITH_COST, create_tables, has_tables, validate_file

if TYPE_CHECKING:
    import pandas as pd

_KEY = Key._fields
_WHERE_KEY = " AND ".join(f"{name} = ?" for name in _KEY)
_ARCHITECTURE = ("hash", "in_shape", "num_classes")
_COST = ("params", "macs", "flops")
_RESULTS = (
    *("status", "message", "val_acc_final", "val_acc_max", "train_acc_final", "test_acc_final"),
    *("compile_seconds", "train_seconds", "device"),
)


class Store:
    """The results of evaluations and searches, in a DuckDB file.

    Threads and processes may share it.

    Args:
      path: the file; created if it does not exist.
      lock_timeout: seconds that each method waits for another process that has the file open.

    Raises:
      JnasError: if the file is not a DuckDB file, not one of jnas, of another schema version, damaged, or locked by
        another process. Every method raises it if the file cannot be read or written; earlier writes are kept.
    """

    def __init__(self, path: str | Path = "jnas.duckdb", lock_timeout: float = 5.0):
        self.path = Path(path).expanduser()
        self.lock_timeout = lock_timeout
        if os.path.isdir(self.path):  # unlike `Path.is_dir`, it never raises
            raise JnasError(f"The store must be a file, got the folder {self.path}: name a file in it.")
        if not os.path.isdir(self.path.parent):
            raise JnasError(f"The store {self.path} is in a folder that does not exist: create the folder first.")
        # Read first: a file that is refused is not changed, and one that has its tables is not locked.
        if not self._has_tables():
            with self._write() as connection:
                create_tables(connection, self.path)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Returns the result of a read-only SQL query.

        Args:
          query: the query; each `?` stands for the next parameter.
          parameters: the values of the `?`.

        Raises:
          JnasError: if DuckDB cannot answer it.
        """
        with self._read() as connection:
            return connection.execute(query, _to_python(parameters)).df()

    def to_df(self) -> pd.DataFrame:
        """Returns one row per evaluation with the architecture's cost, in the order in which they finished."""
        return self.sql(EVALUATIONS_WITH_COST)

    def add(self, evaluations: Iterable[Evaluation], recipe_json: str = "{}") -> None:
        """Writes evaluations that share a recipe, in one transaction.

        An evaluation whose key is in the store is ignored, unless the stored one has a status that may change (see
        `Evaluation.is_final`): then it is replaced together with its epochs.

        Args:
          evaluations: the evaluations.
          recipe_json: `Recipe.to_json` of their recipe.
        """
        evaluations = list(evaluations)  # before the file is locked
        with self._write() as connection:
            for evaluation in evaluations:
                _add_evaluation(connection, evaluation, recipe_json)

    def find(self, keys: Sequence[Key]) -> dict[Key, Evaluation]:
        """Returns the evaluations that are in the store, by key."""
        with self._read() as connection:
            found = ((key, _find_evaluation(connection, key)) for key in keys)
            return {key: evaluation for key, evaluation in found if evaluation is not None}

    def evaluations_of(self, experiment_id: str, hash: str) -> list[Evaluation]:
        """Returns the evaluations of a template on the images and with the seed of a search, the newest first.

        They may have any recipe: a search trains its finalists for longer than its candidates.
        """
        columns = ", ".join(f"e.{name}" for name in _KEY)
        with self._read() as connection:
            keys = connection.execute(
                f"SELECT {columns} FROM evaluations e JOIN experiments x "
                "USING (in_shape, num_classes, dataset_fingerprint, split_seed, seed) "
                "WHERE x.experiment_id = ? AND e.hash = ? ORDER BY e.finished_at DESC",
                [experiment_id, hash],
            ).fetchall()
        return list(self.find([Key(*key) for key in keys]).values())

    def recipe_json(self, recipe_id: str) -> str:
        """Returns `Recipe.to_json` of the recipe of a stored evaluation.

        Raises:
          JnasError: if no evaluation has this recipe.
        """
        with self._read() as connection:
            row = connection.execute("SELECT recipe_json FROM recipes WHERE recipe_id = ?", [recipe_id]).fetchone()
        if row is None:
            raise JnasError(f"{self.path} has no recipe {recipe_id!r}.")
        return row[0]

    def set_test_accuracy(self, key: Key, accuracy: float) -> None:
        """Writes the test accuracy, a fraction, of a stored evaluation."""
        with self._write() as connection:
            values = _to_python([accuracy, *key])
            connection.execute(f"UPDATE evaluations SET test_acc_final = ? WHERE {_WHERE_KEY}", values)

    def add_experiment(self, experiment_id: str, **columns: Unpack[ExperimentRow]) -> None:
        """Writes a search, unless it is in the store."""
        self._insert("experiments", {"experiment_id": experiment_id, "started_at": _now(), **columns})

    def experiments_df(self) -> pd.DataFrame:
        """Returns one row per search, the newest last."""
        return self.sql("SELECT * FROM experiments ORDER BY started_at")

    def experiment_df(self, experiment_id: str) -> pd.DataFrame:
        """Returns one row per template that a search trained, in order, with its cost and what was predicted of it."""
        return self.sql(
            "SELECT c.phase, c.generation, c.predicted_mean, c.predicted_std, e.*, a.params, a.macs, a.flops "
            "FROM candidates c JOIN experiments x USING (experiment_id) "
            "JOIN evaluations e ON e.hash = c.hash AND e.recipe_id = x.recipe_id "
            "AND e.dataset_fingerprint = x.dataset_fingerprint AND e.seed = x.seed AND e.split_seed = x.split_seed "
            "AND e.in_shape = x.in_shape AND e.num_classes = x.num_classes "
            "JOIN architectures a ON a.hash = e.hash AND a.in_shape = e.in_shape AND a.num_classes = e.num_classes "
            "WHERE c.experiment_id = ? ORDER BY c.generation, c.position",
            [experiment_id],
        )

    def set_winner(self, experiment_id: str, hash: str) -> None:
        """Writes the architecture that a search found."""
        with self._write() as connection:
            connection.execute("UPDATE experiments SET winner_hash = ? WHERE experiment_id = ?", [hash, experiment_id])

    def add_candidates(
        self, experiment_id: str, phase: str, generation: int, proposals: Sequence[ProposalRow | tuple]
    ) -> None:
        """Writes what a search is about to train in a generation, unless it is in the store.

        Args:
          experiment_id: the search.
          phase: the phase of the search that proposed them.
          generation: the number of the generation.
          proposals: `(hash, predicted_mean, predicted_std)` of each template, in order.
        """
        rows = [[experiment_id, phase, generation, position, *row] for position, row in enumerate(proposals)]
        with self._write() as connection:
            for row in rows:
                connection.execute(f"INSERT OR IGNORE INTO candidates VALUES ({_placeholders(row)})", _to_python(row))

    def candidates(self, experiment_id: str, generation: int) -> list[ProposalRow]:
        """Returns what a search proposed in a generation, in order; empty if it has not done so."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT hash, predicted_mean, predicted_std FROM candidates "
                "WHERE experiment_id = ? AND generation = ? ORDER BY position",
                _to_python([experiment_id, generation]),
            ).fetchall()
        return [ProposalRow(*row) for row in rows]

    def add_front(self, experiment_id: str, generation: int, members: Sequence[FrontRow]) -> None:
        """Writes the Pareto front after a generation, the most accurate first; it replaces the stored one."""
        key = {"experiment_id": experiment_id, "generation": generation}
        with self._write() as connection:
            _replace_rows(connection, "fronts", key, "rank", 0, members)

    def front_df(self, experiment_id: str) -> pd.DataFrame:
        """Returns the Pareto front of a search after its last generation, the most accurate first."""
        return self.sql(
            "SELECT rank, hash, val_acc_final, params, macs, latency_ms FROM fronts WHERE experiment_id = ? AND "
            "generation = (SELECT max(generation) FROM fronts WHERE experiment_id = ?) ORDER BY rank",
            [experiment_id, experiment_id],
        )

    def add_generation(self, **columns: Unpack[GenerationRow]) -> None:
        """Writes the summary of a generation, unless it is in the store."""
        self._insert("generations", columns)

    def add_predictor(self, **columns: Unpack[PredictorRow]) -> None:
        """Writes the scores of a predictor, unless they are in the store."""
        self._insert("predictors", columns)

    def add_program(
        self,
        *,
        recipe_id: str,
        device: str,
        num_trials: int,
        lanes_per_program: int,
        compile_seconds: float,
        train_seconds: float,
    ) -> None:
        """Writes how many trials a program trained, and how long that took.

        Args:
          recipe_id: `Recipe.id`.
          device: the name of the device.
          num_trials: the number of trials that it trained.
          lanes_per_program: the number of trials that it trains at a time; 0 if it could not be compiled.
          compile_seconds: wall time of compiling.
          train_seconds: wall time of training all trials.
        """
        columns = {"finished_at": _now(), "recipe_id": recipe_id, "device": device, "num_trials": num_trials}
        columns |= {"lanes_per_program": lanes_per_program}
        columns |= {"compile_seconds": compile_seconds, "train_seconds": train_seconds}
        self._insert("programs", columns, has_key=False)

    def add_latency(
        self, *, hash: str, in_shape: str, num_classes: int, device: str, batch_size: int, latency_ms: float
    ) -> None:
        """Writes the milliseconds that a template takes for a batch of images, unless they are in the store."""
        columns = {"hash": hash, "in_shape": in_shape, "num_classes": num_classes, "device": device}
        self._insert("latencies", columns | {"batch_size": batch_size, "latency_ms": latency_ms})

    def latencies(self, in_shape: str, num_classes: int, device: str, batch_size: int) -> dict[str, float]:
        """Returns the milliseconds that a batch takes, by hash, of all templates measured on a device."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT hash, latency_ms FROM latencies "
                "WHERE in_shape = ? AND num_classes = ? AND device = ? AND batch_size = ? ORDER BY hash",
                _to_python([in_shape, num_classes, device, batch_size]),
            ).fetchall()
        return dict(rows)

    def _has_tables(self) -> bool:
        if not os.path.exists(self.path):
            return False
        with self._read() as connection:
            found = has_tables(connection, self.path)
            validate_file(connection, self.path)
            return found

    def _read(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return read_connection(self.path, self.lock_timeout)

    def _write(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return write_connection(self.path, self.lock_timeout)

    def _insert(self, table: str, columns: Mapping[str, Any], has_key: bool = True) -> None:
        insert = "INSERT OR IGNORE" if has_key else "INSERT"  # DuckDB does not allow OR IGNORE without a primary key
        with self._write() as connection:
            connection.execute(
                f"{insert} INTO {table} ({', '.join(columns)}) VALUES ({_placeholders(columns)})",
                _to_python(columns.values()),
            )


def open_store(path: str | Path) -> Store:
    """Returns the store in an existing file.

    Raises:
      JnasError: if there is no such file, or it is not a store.
    """
    path = Path(path).expanduser()
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        raise JnasError(f"There is no store {path}: name the .duckdb file that a search wrote.")
    return Store(path)


def _add_evaluation(connection: duckdb.DuckDBPyConnection, evaluation: Evaluation, recipe_json: str) -> None:
    key = _to_python(evaluation.key)
    stored = connection.execute(f"SELECT status FROM evaluations WHERE {_WHERE_KEY}", key).fetchone()
    if stored and stored[0] not in RETRYABLE_STATUSES:
        return
    connection.execute("INSERT OR IGNORE INTO recipes VALUES (?, ?)", [evaluation.key.recipe_id, recipe_json])
    architecture = [getattr(evaluation.key, name) for name in _ARCHITECTURE]
    architecture += [getattr(evaluation, name) for name in _COST]
    connection.execute(
        f"INSERT OR IGNORE INTO architectures VALUES ({_placeholders(architecture)})", _to_python(architecture)
    )
    results = {name: getattr(evaluation, name) for name in _RESULTS}
    results |= {"finished_at": _now(), "versions": versions() | {"device": evaluation.device}}
    columns = dict(zip(_KEY, key, strict=True)) | results
    connection.execute(
        f"INSERT INTO evaluations ({', '.join(columns)}) VALUES ({_placeholders(columns)}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in results)}",
        _to_python(columns.values()),
    )
    epochs = [dataclasses.asdict(epoch) for epoch in evaluation.epochs]
    _replace_rows(connection, "epochs", evaluation.key._asdict(), "epoch", 1, epochs)


def _find_evaluation(connection: duckdb.DuckDBPyConnection, key: Key) -> Evaluation | None:
    names = (*_RESULTS, *_COST)
    row = connection.execute(
        f"SELECT {', '.join(names)} FROM evaluations JOIN architectures USING ({', '.join(_ARCHITECTURE)}) "
        f"WHERE {_WHERE_KEY}",
        _to_python(key),
    ).fetchone()
    if row is None:
        return None
    epochs = connection.execute(
        f"SELECT train_loss, train_acc, val_acc FROM epochs WHERE {_WHERE_KEY} ORDER BY epoch", _to_python(key)
    ).fetchall()
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    return Evaluation(key, **values, epochs=tuple(Epoch(*epoch) for epoch in epochs))


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    key: Mapping[str, Any],
    position_column: str,
    start: int,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Writes rows that share a key and are numbered from `start`, in place of the stored ones."""
    # Rows are overwritten, not deleted and inserted: DuckDB 1.1 takes that for a duplicate key within a transaction.
    where = " AND ".join(f"{name} = ?" for name in key)
    connection.execute(
        f"DELETE FROM {table} WHERE {where} AND {position_column} >= ?", _to_python([*key.values(), start + len(rows)])
    )
    for position, row in enumerate(rows, start):
        columns = {**key, position_column: position, **row}
        connection.execute(
            f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({_placeholders(columns)})",
            _to_python(columns.values()),
        )


def _placeholders(values: Sequence[Any] | Mapping[str, Any]) -> str:
    return ", ".join("?" * len(values))


def _to_python(values: Iterable[Any]) -> list[Any]:
    """Returns values that DuckDB takes: NumPy's scalars as Python's, dictionaries as JSON."""
    return [
        json.dumps(value) if isinstance(value, dict) else value.item() if isinstance(value, np.generic) else value
        for value in values
    ]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
