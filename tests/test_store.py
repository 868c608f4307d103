"""The store's contract: what is written is read, nothing is lost, a foreign or locked file is told."""

import subprocess
import sys

import duckdb
import pytest

from jnas.errors import JnasError
from jnas.store import Epoch, Evaluation, Key, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results.duckdb", patience=0.3)


def row(hash="00000001", seed=0, **changes):
    key = Key(hash, "3x32x32", 10, "recipe", "data", 0, seed)
    values = {"val_acc_final": 0.5, "val_acc_max": 0.6, "train_acc_final": 0.7, "params": 3, "macs": 5, "flops": 7}
    values |= {"epochs": (Epoch(2.0, 0.1, 0.2), Epoch(1.0, 0.7, 0.5)), "device": "cpu"} | changes
    return Evaluation(key, **values)


def test_rows_come_back_as_they_were(store):
    rows = [row(), row("00000002", status="nan", message="it's; DROP TABLE", val_acc_final=None, epochs=())]
    store.add(rows, '{"epochs": 2}')
    found = Store(store.path).find([r.key for r in rows] + [row("00000003").key])
    assert found == {r.key: r for r in rows}
    assert store.sql("SELECT settings FROM recipes WHERE recipe = ?", ["recipe"]).settings[0] == '{"epochs": 2}'


def test_one_row_an_evaluation_and_the_first_one_stays(store):
    store.add([row(), row(seed=1)])
    store.add([row(val_acc_final=0.9)])
    frame = store.to_df()
    assert frame[["hash", "seed", "val_acc_final", "params"]].values.tolist() == [
        ["00000001", 0, 0.5, 3],
        ["00000001", 1, 0.5, 3],
    ]
    assert store.sql("SELECT count(*) AS n FROM epochs").n[0] == 4


def test_test_accuracy_is_added(store):
    store.add([row()])
    store.set_test_accuracy(row().key, 0.25)
    assert store.find([row().key])[row().key].test_acc_final == 0.25


def test_candidates_keep_their_order(store):
    chosen = [("b", 0.5, 0.1), ("a", None, None)]
    store.add_candidates("x", "random", 0, chosen)
    store.add_candidates("x", "random", 0, [("c", 0.5, 0.1)])
    assert store.candidates("x", 0) == chosen and store.candidates("x", 1) == []


def test_nothing_of_a_failed_write_stays(store):
    with pytest.raises(duckdb.Error):
        store.add([row(), row("00000002", params="many")])
    assert len(store.to_df()) == 0


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "text.duckdb"
    text.write_text("hello " * 1000)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE mine (i INTEGER)")
    before = text.read_bytes()
    for path, sentence in (
        (text, "cannot be opened as a DuckDB file"),
        (other, "jnas did not write it"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file.duckdb", "in a folder that does not exist"),
    ):
        with pytest.raises(JnasError) as caught:
            Store(path)
        assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert text.read_bytes() == before
    with duckdb.connect(other) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


def test_a_newer_schema_is_refused(store):
    with duckdb.connect(store.path) as connection:
        connection.execute("UPDATE jnas SET schema_version = 99")
    with pytest.raises(JnasError, match="schema version 99, and this jnas reads 2"):
        Store(store.path)


def test_a_locked_file_is_told_and_waited_for(store):
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().strip() == b"open"
        with pytest.raises(JnasError, match="is open in another process"):
            store.to_df()
        other.stdin.close()  # it lets go now, within the patience of the next call
        store.patience = 30
        store.add([row()])
    assert len(store.to_df()) == 1
