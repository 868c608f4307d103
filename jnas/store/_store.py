"""Results in one DuckDB file.

While a process has a DuckDB file open for writing, no other process can even read it. A `Store` therefore holds no
connection: each method opens the file, commits and closes it, so that a notebook can look while a search runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from duckdb import DuckDBPyConnection as Connection

from jnas._runtime.versions import versions
from jnas._validation import first_line, refuse, to_float, to_path, to_text, to_tuple
from jnas.errors import JnasError
from jnas.store import paths
from jnas.store._connection import missing, read_connection, write_connection
from jnas.store._records import RETRYABLE_STATUSES, Epoch, Evaluation, Key, ProposalRow
from jnas.store._schema import EVALUATIONS_WITH_COST, TRAINED_CANDIDATES, create_tables, has_tables, validate_file

if TYPE_CHECKING:
    import pandas as pd

IMPORTED = "imported"
"""Fingerprint of the images of trainings from elsewhere: which they were is not known."""
_WHERE_KEY = " AND ".join(f"{name} = ?" for name in Key._fields)
_ARCHITECTURE = "hash, in_shape, num_classes"
_EPOCH = tuple(field.name for field in dataclasses.fields(Epoch))
_COST = ("params", "macs", "flops")
_RESULTS = (
    *("status", "message", "val_acc_final", "val_acc_max", "train_acc_final", "test_acc_final"),
    *("compile_seconds", "train_seconds", "device", "host"),
)


class Store:
    """The results of evaluations and searches, in a DuckDB file. Threads and processes may share it.

    The folder of a search may be named in place of the file `jnas.duckdb` in it.

    A missing file is made by the first method that writes; those that read say that it is missing. Each method waits
    `lock_timeout` seconds for another process that has the file open.

    Raises:
      JnasError: if the file is not a DuckDB file, not one of jnas, of another schema version, damaged, or locked by
        another process. Every method raises it if the file cannot be read or written; earlier writes are kept.
    """

    def __init__(self, path: str | Path = paths.DEFAULT_STORE, lock_timeout: float = 5.0):
        self.path = to_path("store", path)
        if os.path.isfile(inside := self.path / paths.STORE_NAME):
            self.path = inside
        self.lock_timeout = to_float("lock_timeout", lock_timeout, "[0, inf)")
        if re.match(r":memory:|md:|motherduck:", os.fspath(path)):
            refuse("store", "the path of a file", path, "rows are kept on this machine's disk only")
        if os.path.isdir(self.path):  # unlike `Path.is_dir`, it never raises
            raise JnasError(f"The store must be a file, got the folder {self.path}; name a file in it.")
        if not os.path.isdir(self.path.parent):
            raise JnasError(f"The store {self.path} is in a folder that does not exist: create the folder first.")
        self._is_current = False  # whether this object has written its tables
        self.is_made = self._look()
        """Whether the file was there, with its tables, when it was last looked at."""

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The searches that it holds, for notebooks."""
        columns = ["experiment_id", "started_at", "dataset_name", "seconds"]
        return self.experiments_df()[columns].to_html(index=False) if self.is_made else repr(self)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Returns the result of a read-only SQL query, in which each `?` stands for the next parameter."""
        query = to_text("query", query)
        parameters = to_tuple("parameters", parameters, "a list of values, one for each ?")
        with self.connect() as connection:
            result = connection.execute(query, _to_python(parameters))
            return refuse("query", "a statement that has a result", query) if result is None else result.df()

    def to_df(self) -> pd.DataFrame:
        """Returns one row per evaluation with the architecture's cost, in the order in which they finished."""
        return self.sql(EVALUATIONS_WITH_COST)

    def add(self, evaluations: Iterable[Evaluation], recipe_json: str = "{}") -> None:
        """Writes evaluations that share a recipe, whose `Recipe.to_json` is given, in one transaction.

        An evaluation whose key is in the store is ignored, unless the stored one has a status that may change (see
        `Evaluation.is_final`): then it is replaced together with its epochs.
        """
        evaluations = list(evaluations)  # before the file is locked
        with self._write() as connection:
            for evaluation in evaluations:
                _add_evaluation(connection, evaluation, recipe_json)

    def find(self, keys: Sequence[Key]) -> dict[Key, Evaluation]:
        """Returns the evaluations that are in the store, by key."""
        with self.connect() as connection:
            found = ((key, _find_evaluation(connection, key)) for key in keys)
            return {key: evaluation for key, evaluation in found if evaluation is not None}

    def evaluations_of(self, experiment_id: str, hash: str) -> list[Evaluation]:
        """Returns the evaluations of a template on the images and with the seed of a search, the newest first.

        They may have any recipe: a search trains its finalists for longer than its candidates.
        """
        return self._evaluations_where("e.hash = ? ORDER BY e.finished_at DESC", experiment_id, hash)

    def recipe_json(self, recipe_id: str) -> str:
        """Returns `Recipe.to_json` of the recipe of a stored evaluation, or raises a JnasError if there is none."""
        rows = self._rows("SELECT recipe_json FROM recipes WHERE recipe_id = ?", recipe_id)
        if not rows:
            refuse("recipe_id", f"of an evaluation in {self.path}", recipe_id, "Store.to_df has them")
        return rows[0][0]

    def set_test_accuracy(self, key: Key, accuracy: float) -> None:
        """Writes the test accuracy, a fraction, of a stored evaluation."""
        self._execute(f"UPDATE evaluations SET test_acc_final = ? WHERE {_WHERE_KEY}", accuracy, *key)

    def add_experiment(self, experiment_id: str, **columns: Any) -> None:
        """Writes a search with its columns of the table `experiments`, unless it is in the store."""
        self.add_row("experiments", experiment_id=experiment_id, started_at=_now(), **columns)

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """Returns the columns of a search in the table `experiments`; empty where the store has no such search."""
        with self.connect() as connection:
            found = connection.execute("SELECT * FROM experiments WHERE experiment_id = ?", [experiment_id])
            names = [column[0] for column in found.description or ()]
            return dict(zip(names, found.fetchone() or (), strict=False))

    def update_experiment(self, experiment_id: str, **columns: Any) -> None:
        """Writes columns of a search that is in the table `experiments`."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._execute(f"UPDATE experiments SET {changes} WHERE experiment_id = ?", *columns.values(), experiment_id)

    def set_seconds(self, experiment_id: str, seconds: float, hash: str | None = None) -> None:
        """Writes how long a search has run, and that a template was trained then; the first time counts."""
        statement = "UPDATE experiments SET seconds = ? WHERE experiment_id = ?"
        with self._write() as connection:
            connection.execute(statement, [seconds, experiment_id])
            connection.execute(
                "UPDATE candidates SET seconds = ? WHERE experiment_id = ? AND hash = ? AND seconds IS NULL",
                [seconds, experiment_id, hash],
            )

    def experiments_df(self) -> pd.DataFrame:
        """Returns one row per search, the newest last."""
        return self.sql("SELECT * FROM experiments ORDER BY started_at")

    def experiment_df(self, experiment_id: str) -> pd.DataFrame:
        """Returns one row per template that a search trained, in order, with its cost and what was predicted of it."""
        return self.sql(
            "SELECT c.phase, c.generation, c.predicted_mean, c.predicted_std, c.seconds, e.*, a.params, a.macs, "
            f"a.flops FROM {TRAINED_CANDIDATES} WHERE c.experiment_id = ? ORDER BY c.generation, c.position",
            [experiment_id],
        )

    def earlier_hashes(self, experiment_id: str) -> list[str]:
        """Returns the templates that were trained well before a search began, on its images, by its recipe and seed.

        The most accurate come first.
        """
        rows = self._rows(
            f"SELECT hash FROM evaluations e JOIN experiments x USING ({', '.join(Key._fields[1:])}) "
            "WHERE x.experiment_id = ? AND e.status = 'ok' AND e.finished_at < x.started_at "
            "ORDER BY e.val_acc_final DESC, hash",
            experiment_id,
        )
        return [hash for (hash,) in rows]

    def imported_rows(self, in_shape: str, num_classes: int) -> list[tuple[str, str, float]]:
        """Returns recipe, hash and validation accuracy of the trainings from elsewhere for images of a shape."""
        return self._rows(
            "SELECT recipe_id, hash, val_acc_final FROM evaluations WHERE dataset_fingerprint = ? AND in_shape = ? AND "
            "num_classes = ? ORDER BY recipe_id, hash, seed",
            *(IMPORTED, in_shape, num_classes),
        )

    def promotions(self, experiment_id: str) -> dict[str, Evaluation]:
        """Returns the evaluations of a search's best candidates in their longer training, by hash.

        These are what ended well of the training that they have before one of them is the winner.
        """
        rows = self._evaluations_where(
            "e.recipe_id = x.promoted_recipe_id AND e.status = 'ok' "
            "AND e.hash IN (SELECT hash FROM candidates WHERE experiment_id = x.experiment_id) ORDER BY e.hash",
            experiment_id,
        )
        return {row.key.hash: row for row in rows}

    def add_candidates(self, experiment_id: str, phase: str, generation: int, proposals: Sequence[tuple]) -> None:
        """Writes the proposals (`ProposalRow`) of a generation, in order, unless they are in the store."""
        key: dict[str, Any] = {"experiment_id": experiment_id, "phase": phase, "generation": generation}
        with self._write() as connection:
            for position, proposal in enumerate(proposals):
                _insert(connection, "candidates", key | {"position": position} | ProposalRow._make(proposal)._asdict())

    def candidates(self, experiment_id: str, generation: int) -> list[ProposalRow]:
        """Returns what a search proposed in a generation, in order; empty if it has not done so."""
        rows = self._rows(
            "SELECT hash, predicted_mean, predicted_std FROM candidates "
            "WHERE experiment_id = ? AND generation = ? ORDER BY position",
            experiment_id,
            generation,
        )
        return [ProposalRow(*row) for row in rows]

    def add_front(self, experiment_id: str, generation: int, members: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the Pareto front after a generation: columns of the table `fronts`, the most accurate first."""
        key = {"experiment_id": experiment_id, "generation": generation}
        rows = [{"rank": rank, **member} for rank, member in enumerate(members)]
        with self._write() as connection:
            _replace_rows(connection, "fronts", key, "rank", rows)

    def front_df(self, experiment_id: str) -> pd.DataFrame:
        """Returns the Pareto front of a search after its last generation, the most accurate first."""
        return self.sql(
            "SELECT rank, hash, val_acc_final, params, macs, memory_bytes, flash_bytes, latency_ms FROM fronts "
            "WHERE experiment_id = ? AND generation = (SELECT max(generation) FROM fronts WHERE experiment_id = ?) "
            "ORDER BY rank",
            [experiment_id, experiment_id],
        )

    def add_programs(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes how many trials programs trained, and how long that took: rows of the table `programs`."""
        rows = list(rows)
        with self._write() as connection:
            for row in rows:
                _insert(connection, "programs", {"finished_at": _now(), **row}, "INSERT")

    def add_row(self, table: str, **columns: Any) -> None:
        """Writes a row of a table, such as "generations" (see docs/store.md), unless its key is in the store."""
        with self._write() as connection:
            _insert(connection, table, columns)

    def latencies(self, in_shape: str, num_classes: int, device: str, batch_size: int) -> dict[str, float]:
        """Returns the milliseconds that a batch takes, by hash, of all templates measured on a device."""
        rows = self._rows(
            "SELECT hash, latency_ms FROM latencies "
            "WHERE in_shape = ? AND num_classes = ? AND device = ? AND batch_size = ? ORDER BY hash",
            *(in_shape, num_classes, device, batch_size),
        )
        return dict(rows)

    def create(self) -> None:
        """Makes the file if it is missing, so that one that cannot be made is an error before anything is trained."""
        # Read first: a file that is refused is not changed.
        self.is_made = self.is_made or self._look()
        if not self._is_current:
            with write_connection(self.path, self.lock_timeout) as connection:
                create_tables(connection, self.path)
        self.is_made = self._is_current = True

    def _look(self) -> bool:
        """Returns whether the file has the tables; False where there is none, an error if it is another file."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise JnasError(f"{self.path} cannot be read ({first_line(error)}): name another file.") from error
        with read_connection(self.path, self.lock_timeout) as connection:
            found = has_tables(connection, self.path)
            validate_file(connection, self.path)
            return found

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection that only reads, for this package."""
        self.is_made = self.is_made or self._look()
        if not self.is_made:
            raise JnasError(missing(self.path))
        with read_connection(self.path, self.lock_timeout) as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self.is_made and not os.path.exists(self.path):
            raise JnasError(missing(self.path))  # any more: the rows before this one are gone
        self.create()
        with write_connection(self.path, self.lock_timeout) as connection:
            yield connection

    def _evaluations_where(self, condition: str, experiment_id: str, *parameters: Any) -> list[Evaluation]:
        """Evaluations `e` on the images and with the seed of a search, `x`, of which a condition is true."""
        keys = self._rows(
            f"SELECT {', '.join(f'e.{name}' for name in Key._fields)} FROM evaluations e JOIN experiments x USING "
            f"(in_shape, num_classes, dataset_fingerprint, split_seed, seed) WHERE x.experiment_id = ? AND {condition}",
            *(experiment_id, *parameters),
        )
        return list(self.find([Key(*key) for key in keys]).values())

    def _rows(self, query: str, *parameters: Any) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(query, _to_python(parameters)).fetchall()

    def _execute(self, statement: str, *parameters: Any) -> None:
        with self._write() as connection:
            connection.execute(statement, _to_python(parameters))


def open_store(path: str | Path) -> Store:
    """Returns the store in an existing file; raises a `JnasError` if there is none."""
    if not os.path.isdir((wanted := to_path("store", path)).parent):
        raise JnasError(missing(wanted))
    store = Store(path)
    if not store.is_made:
        raise JnasError(missing(store.path))
    return store


def _add_evaluation(connection: Connection, evaluation: Evaluation, recipe_json: str) -> None:
    query = f"SELECT status FROM evaluations WHERE {_WHERE_KEY}"
    stored = connection.execute(query, _to_python(evaluation.key)).fetchone()
    if stored and stored[0] not in RETRYABLE_STATUSES:
        return
    key = evaluation.key._asdict()
    _insert(connection, "recipes", {"recipe_id": evaluation.key.recipe_id, "recipe_json": recipe_json})
    architecture = {name: key[name] for name in _ARCHITECTURE.split(", ")}
    architecture |= {name: getattr(evaluation, name) for name in _COST}
    _insert(connection, "architectures", architecture)
    results = {name: getattr(evaluation, name) for name in _RESULTS}
    results |= {"finished_at": _now(), "versions": versions() | {"device": evaluation.device}}
    _insert(connection, "evaluations", key | results, "INSERT OR REPLACE")
    epochs = [{"epoch": number, **dataclasses.asdict(epoch)} for number, epoch in enumerate(evaluation.epochs, 1)]
    _replace_rows(connection, "epochs", key, "epoch", epochs)


def _find_evaluation(connection: Connection, key: Key) -> Evaluation | None:
    names = (*_RESULTS, *_COST)
    row = connection.execute(
        f"SELECT {', '.join(names)} FROM evaluations JOIN architectures USING ({_ARCHITECTURE}) WHERE {_WHERE_KEY}",
        _to_python(key),
    ).fetchone()
    if row is None:
        return None
    epochs = connection.execute(
        f"SELECT {', '.join(_EPOCH)} FROM epochs WHERE {_WHERE_KEY} ORDER BY epoch", _to_python(key)
    ).fetchall()
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    return Evaluation(key, **values, epochs=tuple(Epoch(*epoch) for epoch in epochs))


def _replace_rows(connection: Connection, table: str, key: dict[str, Any], position: str, rows: list[dict]) -> None:
    """Writes rows that share a key and are numbered in the column `position`, in place of the stored ones."""
    # Rows are overwritten, not deleted and inserted: DuckDB 1.1 takes that for a duplicate key within a transaction.
    where = " AND ".join(f"{name} = ?" for name in key)
    last = max((row[position] for row in rows), default=-1)
    connection.execute(f"DELETE FROM {table} WHERE {where} AND {position} > ?", _to_python([*key.values(), last]))
    for row in rows:
        _insert(connection, table, key | row, "INSERT OR REPLACE")


def _insert(connection: Connection, table: str, columns: Mapping[str, Any], insert: str = "INSERT OR IGNORE") -> None:
    """Writes a row; without "OR ..." for a table that has no primary key, which DuckDB demands."""
    placeholders = ", ".join("?" * len(columns))
    connection.execute(
        f"{insert} INTO {table} ({', '.join(columns)}) VALUES ({placeholders})", _to_python(columns.values())
    )


def _to_python(values: Iterable[Any]) -> list[Any]:
    """Returns values that DuckDB takes: NumPy's scalars as Python's, dictionaries as JSON."""
    return [
        _to_json(value) if isinstance(value, dict) else value.item() if isinstance(value, np.generic) else value
        for value in values
    ]


def _to_json(values: Mapping[str, Any]) -> str:
    """Returns JSON; what is no Unicode, such as bytes of a path that are not UTF-8, is replaced."""
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
