"""Results in one DuckDB file.

While one process has a DuckDB file open for writing, no other can even read it. So a `Store` holds no connection: each
call opens the file, commits and closes it, and a notebook can look while a search runs (see `jnas.store._connection`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from jnas._runtime.versions import versions
from jnas.errors import JnasError
from jnas.store._connection import reading, writing
from jnas.store._export import check_target, write
from jnas.store._migrate import migrate, read_through, version_of
from jnas.store._records import RETRIED, Epoch, Evaluation, Key
from jnas.store._schema import TABLE_NAMES, VERSION

if TYPE_CHECKING:
    import pandas as pd

_WHERE_KEY = " AND ".join(f"{name} = ?" for name in Key._fields)
_RESULTS = (
    *("status", "message", "val_acc_final", "val_acc_max", "train_acc_final", "test_acc_final"),
    *("compile_seconds", "train_seconds", "device"),
)
_COST = ("params", "macs", "flops")
_WRITTEN = (*_RESULTS, "finished", "versions")
_ADD_EVALUATION = (
    f"INSERT INTO evaluations ({', '.join((*Key._fields, *_WRITTEN))}) "
    f"VALUES ({', '.join('?' * len((*Key._fields, *_WRITTEN)))}) "
    f"ON CONFLICT ({', '.join(Key._fields)}) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _WRITTEN)
)
_JOINED = "SELECT * FROM evaluations JOIN architectures USING (hash, in_shape, classes) ORDER BY finished"


class Store:
    """The results of evaluations and searches, in a file that DuckDB reads; one of an older jnas is brought up to date.

    Args:
      path: the file; made where there is none.
      patience: seconds to wait for another process that has the file open.

    Raises:
      JnasError: the file is not a DuckDB file, not one of jnas or of a newer one, damaged, or another process keeps it.
        Every method raises it where the file cannot be read or written; what was committed before stays.
    """

    def __init__(self, path: str | Path = "jnas.duckdb", patience: float = 5.0):
        self.path = Path(path).expanduser()
        self.patience = patience
        if os.path.isdir(self.path):  # which, unlike the methods of Path, never raises
            raise JnasError(f"The store {self.path} is a folder: name a file, such as {self.path / 'jnas.duckdb'}.")
        if not os.path.isdir(self.path.parent):
            raise JnasError(f"The store {self.path} is in a folder that does not exist: make it first.")
        # Read first: what is refused stays as it is, and what is up to date keeps nobody waiting.
        if self._version() < VERSION:
            with self._writing() as connection:
                migrate(connection, version_of(connection, self.path))

    def _version(self) -> int:
        """The schema version of the file, 0 where there is none yet."""
        if not os.path.exists(self.path):
            return 0
        with self._reading() as connection:
            version = version_of(connection, self.path)
            read_through(connection, self.path)
            return version

    def _reading(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return reading(self.path, self.patience)

    def _writing(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return writing(self.path, self.patience)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The result of any SQL query that only reads, as a data frame; each `?` stands for the parameters in turn.

        Raises:
          JnasError: DuckDB cannot answer it, or another process keeps the file.
        """
        with self._reading() as connection:
            return connection.execute(query, list(parameters)).df()

    def to_df(self) -> pd.DataFrame:
        """One row an evaluation, in the order they finished, with the architecture's cost."""
        return self.sql(_JOINED)

    def export(self, path: str | Path, table: str | None = None, overwrite: bool = False) -> None:
        """Writes a table as a Parquet or CSV file, whichever the file's ending says.

        Args:
          path: the file.
          table: its name; by default what `to_df` returns.
          overwrite: whether a file that is there may be replaced.

        Raises:
          JnasError: there is no such table, the file is there already, or it cannot be written.
        """
        target = check_target(path, overwrite)
        if table is not None and table not in TABLE_NAMES:
            raise JnasError(f"The store has no table {table!r}: its tables are {', '.join(TABLE_NAMES)}.")
        with self._reading() as connection:
            write(connection.table(table) if table else connection.sql(_JOINED), target)

    def experiment_df(self, experiment: str) -> pd.DataFrame:
        """One row a template that a search trained, in the order of training, with what was predicted of it."""
        return self.sql(
            "SELECT c.step, c.generation, c.predicted_mean, c.predicted_std, e.*, a.params, a.macs, a.flops "
            "FROM candidates c JOIN experiments x USING (experiment) "
            "JOIN evaluations e ON e.hash = c.hash AND e.recipe = x.recipe AND e.data = x.data AND e.seed = x.seed "
            "AND e.split_seed = x.split_seed AND e.in_shape = x.in_shape AND e.classes = x.classes "
            "JOIN architectures a ON a.hash = e.hash AND a.in_shape = e.in_shape AND a.classes = e.classes "
            "WHERE c.experiment = ? ORDER BY c.generation, c.position",
            [experiment],
        )

    def experiments_df(self) -> pd.DataFrame:
        """One row a search, the newest last."""
        return self.sql("SELECT * FROM experiments ORDER BY started")

    def recipe_json(self, recipe: str) -> str:
        """What `Recipe.to_json` gave of a recipe that some row has, by its id."""
        return self.sql("SELECT settings FROM recipes WHERE recipe = ?", [recipe]).settings[0]

    def trainings(self, experiment: str, hash: str) -> list[Evaluation]:
        """A template's rows on the images and with the seed of a search, under any recipe, the latest first."""
        columns = ", ".join(f"e.{name}" for name in Key._fields)
        with self._reading() as connection:
            keys = connection.execute(
                f"SELECT {columns} FROM evaluations e JOIN experiments x USING (in_shape, classes, data, split_seed, "
                "seed) WHERE x.experiment = ? AND e.hash = ? ORDER BY e.finished DESC",
                [experiment, hash],
            ).fetchall()
        return list(self.find([Key(*key) for key in keys]).values())

    def add(self, evaluations: Iterable[Evaluation], recipe_json: str = "{}") -> None:
        """Writes evaluations that share a recipe, in one transaction.

        Those that are there already stay as they are, unless they may end otherwise another time (see
        `Evaluation.lasting`): then they are replaced, epochs and all.
        """
        now = _now()
        evaluations = list(evaluations)  # first, so that nobody waits while they are computed
        with self._writing() as connection:
            for e in evaluations:
                key = list(e.key)
                there = connection.execute(f"SELECT status FROM evaluations WHERE {_WHERE_KEY}", key).fetchone()
                if there and there[0] not in RETRIED:
                    continue
                results = [getattr(e, name) for name in _RESULTS]
                cost = [getattr(e, name) for name in _COST]
                connection.execute("INSERT OR IGNORE INTO recipes VALUES (?, ?)", [e.key.recipe, recipe_json])
                connection.execute("INSERT OR IGNORE INTO architectures VALUES (?, ?, ?, ?, ?, ?)", key[:3] + cost)
                made_with = json.dumps(versions() | {"device": e.device})
                connection.execute(_ADD_EVALUATION, [*key, *results, now, made_with])
                self._replace(
                    *(connection, "epochs", dict(zip(Key._fields, key, strict=True)), "epoch", 1),
                    [dataclasses.asdict(epoch) for epoch in e.epochs],
                )

    def find(self, keys: Sequence[Key]) -> dict[Key, Evaluation]:
        """The evaluations that are there, by key."""
        found: dict[Key, Evaluation] = {}
        names = (*_RESULTS, *_COST)
        with self._reading() as connection:
            for key in keys:
                row = connection.execute(
                    f"SELECT {', '.join(names)} FROM evaluations "
                    f"JOIN architectures USING (hash, in_shape, classes) WHERE {_WHERE_KEY}",
                    list(key),
                ).fetchone()
                if row:
                    epochs = connection.execute(
                        f"SELECT train_loss, train_acc, val_acc FROM epochs WHERE {_WHERE_KEY} ORDER BY epoch",
                        list(key),
                    ).fetchall()
                    values = dict(zip(names, row, strict=True))
                    found[key] = Evaluation(key, **values, epochs=tuple(Epoch(*epoch) for epoch in epochs))
        return found

    def set_test_accuracy(self, key: Key, accuracy: float) -> None:
        """Writes the test accuracy, a share, of an evaluation that is there."""
        with self._writing() as connection:
            connection.execute(f"UPDATE evaluations SET test_acc_final = ? WHERE {_WHERE_KEY}", [accuracy, *key])

    def add_experiment(self, experiment: str, **columns: Any) -> None:
        """Writes what a search was asked for, unless it is there."""
        self._insert("experiments", {"experiment": experiment, "started": _now(), **columns})

    def set_winner(self, experiment: str, hash: str) -> None:
        """Writes down what a search found."""
        with self._writing() as connection:
            connection.execute("UPDATE experiments SET winner = ? WHERE experiment = ?", [hash, experiment])

    def add_candidates(self, experiment: str, step: str, generation: int, rows: Sequence[tuple]) -> None:
        """Writes what a round will train: `(hash, predicted_mean, predicted_std)` each, in order."""
        with self._writing() as connection:
            for position, row in enumerate(rows):
                connection.execute(
                    f"INSERT OR IGNORE INTO candidates VALUES ({_marks(7)})",
                    [experiment, step, generation, position, *row],
                )

    def candidates(self, experiment: str, generation: int) -> list[tuple]:
        """What a round chose: `(hash, predicted_mean, predicted_std)` each, in order; nothing where it did not yet."""
        with self._reading() as connection:
            return connection.execute(
                "SELECT hash, predicted_mean, predicted_std FROM candidates "
                "WHERE experiment = ? AND generation = ? ORDER BY position",
                [experiment, generation],
            ).fetchall()

    def add_program(self, **columns: Any) -> None:
        """Writes how a program was chosen and what it took."""
        with self._writing() as connection:
            values = [_now(), *columns.values()]
            connection.execute(
                f"INSERT INTO programs (finished, {', '.join(columns)}) VALUES ({_marks(len(values))})", values
            )

    def add_latency(self, **columns: Any) -> None:
        """Writes how long a template takes to classify, unless it is there."""
        self._insert("latencies", columns)

    def latencies(self, in_shape: str, classes: int, device: str, images: int) -> dict[str, float]:
        """Milliseconds by hash, of all templates that were measured on a device."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT hash, latency_ms FROM latencies WHERE in_shape = ? AND classes = ? AND device = ? "
                "AND images = ? ORDER BY hash",
                [in_shape, classes, device, images],
            ).fetchall()
        return dict(found)

    def add_front(self, experiment: str, generation: int, rows: Sequence[dict[str, Any]]) -> None:
        """Writes a Pareto front, in place of one that an earlier run of the round wrote."""
        with self._writing() as connection:
            place = {"experiment": experiment, "generation": generation}
            self._replace(connection, "fronts", place, "position", 0, rows)

    def front_df(self, experiment: str) -> pd.DataFrame:
        """The Pareto front of a search after its last round, the most accurate first."""
        return self.sql(
            "SELECT position, hash, val_acc_final, params, macs, latency_ms FROM fronts WHERE experiment = ? AND "
            "generation = (SELECT max(generation) FROM fronts WHERE experiment = ?) ORDER BY position",
            [experiment, experiment],
        )

    def add_generation(self, **columns: Any) -> None:
        """Writes the summary of a round."""
        self._insert("generations", columns)

    def add_predictor(self, **columns: Any) -> None:
        """Writes the scores of a predictor."""
        self._insert("predictors", columns)

    @staticmethod
    def _replace(connection, table: str, place: dict, counter: str, start: int, rows: Sequence[dict]) -> None:
        """Writes the numbered rows of a place, instead of those that are there."""
        # Not deleted and written again: DuckDB 1.1 takes that for a duplicate key within one transaction.
        same = " AND ".join(f"{name} = ?" for name in place)
        connection.execute(f"DELETE FROM {table} WHERE {same} AND {counter} >= ?", [*place.values(), start + len(rows)])
        for number, row in enumerate(rows, start):
            values = [*place.values(), number, *row.values()]
            names = ", ".join((*place, counter, *row))
            connection.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({_marks(len(values))})", values)

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        values = [json.dumps(v) if isinstance(v, dict) else v for v in columns.values()]
        with self._writing() as connection:
            names = ", ".join(columns)  # our own keyword names, never a user's text
            connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({_marks(len(values))})", values)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
