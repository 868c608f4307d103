"""The store: the contract that any back end has to keep, and what happens to DuckDB's files."""

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from jnas._cli import main
from jnas._runtime.versions import git_commit, versions
from jnas.errors import JnasError
from jnas.store import Epoch, Evaluation, Key, Store, export_table, open_store
from jnas.store._schema import VERSION


def row(hash="00000001", seed=0, **changes):
    key = Key(hash, "3x32x32", 10, "recipe", "data", 0, seed)
    values = {"val_acc_final": 0.5, "val_acc_max": 0.6, "train_acc_final": 0.7, "params": 3, "macs": 5, "flops": 7}
    values |= {"epochs": (Epoch(2.0, 0.1, 0.2), Epoch(1.0, 0.7, 0.5)), "device": "cpu"} | changes
    return Evaluation(key, **values)


class StoreContract:
    """What every back end has to do; its tests inherit this class and override `open`."""

    def open(self, folder: Path):
        """Returns the store in a folder; each call opens it as another process would."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path):
        return self.open(tmp_path)

    def test_find_returns_equal_evaluations(self, store, tmp_path):
        rows = [row(), row("00000002", status="diverged", message="it's; DROP TABLE", val_acc_final=None, epochs=())]
        store.add(rows, '{"epochs": 2}')
        assert self.open(tmp_path).find([r.key for r in rows] + [row("00000003").key]) == {r.key: r for r in rows}
        assert store.recipe_json("recipe") == '{"epochs": 2}'

    def test_add_existing_evaluation_keeps_the_first(self, store):
        store.add([row(), row(seed=1)])
        store.add([row(val_acc_final=0.9)])
        assert store.to_df()[["hash", "seed", "val_acc_final", "params"]].values.tolist() == [
            ["00000001", 0, 0.5, 3],
            ["00000001", 1, 0.5, 3],
        ]
        assert len(store.find([row().key])[row().key].epochs) == 2

    @pytest.mark.parametrize("status", ["too_large", "out_of_memory", "timeout", "stopped", "error"])
    def test_add_retryable_status_is_replaced(self, store, status):
        failed = row(status=status, message="why", val_acc_final=None, epochs=())
        assert not failed.is_final and row().is_final
        store.add([failed])
        store.add([row()])
        assert store.find([row().key]) == {row().key: row()}
        store.add([failed])
        assert store.find([row().key]) == {row().key: row()}

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_add_replaced_evaluation_loses_its_epochs(self, store, count):
        """Epochs of two trainings, perhaps on two devices, must not be mixed."""
        other, *_ = row().epochs
        failed = row(status="stopped", val_acc_final=None, epochs=(dataclasses.replace(other, val_acc=0.9),) * count)
        store.add([failed, row(seed=1)])
        store.add([row(status="error", val_acc_final=None, epochs=row().epochs[:1])])
        assert store.find([row().key])[row().key].epochs == row().epochs[:1]
        store.add([row()])
        assert store.find([row().key, row(seed=1).key]) == {row().key: row(), row(seed=1).key: row(seed=1)}

    def test_add_numpy_scalars_are_taken(self, store):
        key = Key("00000001", "3x32x32", np.int64(10), "recipe", "data", np.int32(0), np.uint32(0))
        epochs = tuple(Epoch(*map(np.float64, dataclasses.astuple(epoch)[:3])) for epoch in row().epochs)
        store.add([dataclasses.replace(row(), key=key, val_acc_final=np.float32(0.5), macs=np.int64(5), epochs=epochs)])
        assert store.find([key]) == {key: row()} == store.find([row().key])
        store.set_test_accuracy(key, np.float32(0.25))
        store.add_candidates("x", "random", np.int64(0), [("a", np.float32(0.5), np.float64(0.1))])
        assert store.candidates("x", np.int64(0)) == [("a", 0.5, 0.1)]

    def test_set_test_accuracy_is_found(self, store):
        store.add([row()])
        store.set_test_accuracy(row().key, 0.25)
        assert store.find([row().key])[row().key].test_acc_final == 0.25

    def test_candidates_keep_their_order_and_first_write(self, store):
        proposals = [("b", 0.5, 0.1), ("a", None, None)]
        store.add_candidates("x", "random", 0, proposals)
        store.add_candidates("x", "random", 0, [("c", 0.5, 0.1)])
        assert store.candidates("x", 0) == proposals and store.candidates("x", 1) == []
        assert store.candidates("x", 0)[0].predicted_mean == 0.5

    def test_experiment_df_has_the_rows_of_its_search_only(self, store):
        search = {"recipe_id": "recipe", "dataset_fingerprint": "data", "in_shape": "3x32x32", "num_classes": 10}
        search |= {"split_seed": 0, "seed": 0}
        store.add_experiment("x", config_json={"seed": 0}, **search)
        store.add_experiment("x", config_json={"seed": 9}, **search)
        assert list(store.experiments_df().experiment_id) == ["x"]
        store.add_experiment("bytes", config_json={"data": "v\udcff.npz"}, **search)  # a path that is not UTF-8
        assert "v\ufffd" in store.experiments_df().config_json[1]
        assert "9" not in store.experiments_df().config_json[0]
        store.add([row(), row("00000002"), row("00000001", seed=1)])
        store.add_candidates("x", "random", 0, [("00000001", 0.5, 0.1)])
        assert list(store.experiment_df("x").hash) == ["00000001"] and len(store.experiment_df("y")) == 0
        assert store.evaluations_of("x", "00000001") == [row()]
        store.update_experiment("x", winner_hash="00000001", final_recipe_id="other")
        found = store.experiment("x")
        assert (found["winner_hash"], found["final_recipe_id"], found["seconds"]) == ("00000001", "other", None)
        assert json.loads(found["config_json"]) == {"seed": 0} and store.experiment("y") == {}

    def test_add_front_replaces_the_front_of_its_generation(self, store):
        for size in (3, 1):
            store.add_front("x", 2, [{"hash": f"{i:08x}", "val_acc_final": 0.5} for i in range(size)])
        assert list(store.front_df("x").hash) == ["00000000"]

    def test_latencies_are_of_one_device(self, store):
        key = {"in_shape": "3x32x32", "num_classes": 10, "batch_size": 8}
        for device, latency in (("cpu", 1.5), ("cpu", 2.5), ("gpu", 0.5)):
            store.add_row("latencies", hash="00000001", device=device, latency_ms=latency, **key)
        assert store.latencies(device="cpu", **key) == {"00000001": 1.5}

    def test_add_programs_writes_each(self, store):
        program = {"recipe_id": "recipe", "device": "cpu", "num_trials": 3, "lanes_per_program": 2}
        for seconds in (1.0, 1.0):
            store.add_programs([program | {"compile_seconds": seconds, "train_seconds": np.float32(2)}])
        assert store.sql("SELECT num_trials, lanes_per_program, train_seconds FROM programs").values.tolist() == [
            [3, 2, 2.0],
            [3, 2, 2.0],
        ]

    def test_add_failing_write_keeps_nothing(self, store):
        with pytest.raises(JnasError, match="nothing of this write was kept"):
            store.add([row(), row("00000002", params="many")])
        assert len(store.to_df()) == 0
        store.add([row()])
        assert len(store.to_df()) == 1

    def test_add_from_threads_keeps_all_rows(self, store):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: store.add([row(f"{i % 10:08x}"), row(f"{i:08x}", seed=1)]), range(24)))
        assert len(store.to_df()) == 10 + 24

    def test_add_writes_the_versions_that_trained(self, store):
        store.add([row(device="a device")])
        (found,) = store.to_df()["versions"]
        assert all(f'"{name}": "{version}"' in found.replace('":"', '": "') for name, version in versions().items())
        assert "a device" in found


class TestDuckDB(StoreContract):
    def open(self, folder):
        store = Store(folder / "results.duckdb", lock_timeout=10)
        store.create()
        return store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results.duckdb", lock_timeout=0.3)
    store.create()
    return store


def sentence(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_store_foreign_file_is_refused_unchanged(tmp_path):
    text = tmp_path / "text.duckdb"
    text.write_text("hello " * 1000)
    sqlite = tmp_path / "sqlite.duckdb"
    with sqlite3.connect(sqlite) as connection:
        connection.execute("CREATE TABLE evaluations (i INTEGER)")
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE mine (i INTEGER)")
    before = text.read_bytes(), sqlite.read_bytes()
    for path, part in (
        (text, "must be a DuckDB file that jnas wrote, got a text file"),
        (sqlite, "must be a DuckDB file that jnas wrote, got a SQLite file"),
        (other, "must be a file that jnas wrote"),
        (tmp_path, "must be a file, got the folder"),
        (tmp_path / "no" / "file.duckdb", "in a folder that does not exist"),
    ):
        with pytest.raises(JnasError) as caught:
            Store(path)
        assert part in sentence(caught)
    assert (text.read_bytes(), sqlite.read_bytes()) == before
    with duckdb.connect(other) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


@pytest.mark.parametrize("version", [0, 99])
def test_store_other_schema_version_is_refused_unchanged(store, version):
    store.add([row()])
    with duckdb.connect(store.path) as connection:
        connection.execute("UPDATE jnas SET schema_version = ?", [version])
    before = store.path.read_bytes()
    with pytest.raises(JnasError) as caught:
        Store(store.path)
    assert f"must be {VERSION}, got {version}; use the version of jnas that wrote" in sentence(caught)
    assert store.path.read_bytes() == before


def test_open_store_missing_or_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.duckdb").touch()
    for name in ("none.duckdb", "empty.duckdb"):
        with pytest.raises(JnasError, match="There is no store"):
            open_store(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.duckdb"]


def test_store_locked_file_waits_until_lock_timeout(store):
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().strip() == b"open"
        with pytest.raises(JnasError, match="is open in another process"):
            store.to_df()
        other.stdin.close()  # the file is released while the next call waits
        store.lock_timeout = 30
        store.add([row()])
    assert len(store.to_df()) == 1


def test_store_truncated_file_is_refused_unchanged(store):
    store.add([row(f"{i:08x}", message=os.urandom(100_000).hex()) for i in range(6)])
    whole = store.path.read_bytes()
    for fraction in (0.05, 0.5, 0.9):
        cut = whole[: int(fraction * len(whole))]
        store.path.write_bytes(cut)
        with pytest.raises(JnasError) as caught:
            Store(store.path)
        assert "damaged" in sentence(caught) or "cannot be opened" in sentence(caught)
        assert store.path.read_bytes() == cut


def run(code: str, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_add_full_disk_keeps_earlier_writes(store):
    store.add([row()])
    code = """
        import os, resource, signal, sys
        sys.path.insert(0, sys.argv[2])
        # The same as a full disk: a file may not grow any further.
        size = os.path.getsize(sys.argv[1]) + 4096
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from jnas.errors import JnasError
        from jnas.store import Store
        from test_store import row
        rows = [row(f"{i:08x}", message=os.urandom(200_000).hex()) for i in range(2, 10 + size // 200_000)]
        try:
            Store(sys.argv[1]).add(rows)
        except JnasError as error:
            print(error)
    """
    done = run(code, store.path, Path(__file__).parent)
    assert "nothing of this write was kept" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    again = Store(store.path, lock_timeout=5)
    assert again.find([row().key]) == {row().key: row()} and len(again.to_df()) == 1
    again.add([row("00000002")])
    assert len(again.to_df()) == 2


def test_store_shared_by_processes_keeps_all_rows(store):
    """Two processes that write and one that reads, as two searches and a notebook."""
    code = """
        import sys
        from jnas.store import Epoch, Evaluation, Key, Store
        store = Store(sys.argv[1], lock_timeout=60)
        for i in range(6):
            keys = [(f"{i:08x}", int(sys.argv[2])), ("shared", i)]
            keys = [Key(hash, "3x32x32", 10, "recipe", "data", 0, seed) for hash, seed in keys]
            store.add([Evaluation(key, epochs=(Epoch(2.0, 0.1, 0.2),)) for key in keys])
    """
    store.lock_timeout = 60
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(run, code, store.path, seed) for seed in (0, 1)]
        while not all(writer.done() for writer in writers):
            store.sql("SELECT count(*) FROM epochs")
            time.sleep(0.05)
    assert [writer.result().returncode for writer in writers] == [0, 0], [one.result().stderr for one in writers]
    assert len(store.to_df()) == 18 and store.sql("SELECT count(*) AS n FROM epochs").n[0] == 18


def test_store_open_connection_of_the_same_process_is_shared(store):
    """A notebook may have the file open by `duckdb.connect`."""
    store.add([row()])
    with duckdb.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM evaluations").fetchone() == (1,)
        store.add([row("00000002")])
        assert len(store.to_df()) == 2
        assert connection.execute("SELECT count(*) FROM evaluations").fetchone() == (2,)


def test_sql_wrong_or_writing_query_is_one_sentence(store):
    with pytest.raises(JnasError) as caught:
        store.sql("SELECT nothing FROM evaluations")
    assert "nothing" in sentence(caught)
    with pytest.raises(JnasError):
        store.sql("DROP TABLE evaluations")
    assert len(store.to_df()) == 0


def test_store_hostile_values_are_bound(tmp_path):
    store = Store(tmp_path / "it's; DROP TABLE evaluations.duckdb")
    hostile = "x'; DROP TABLE evaluations; --"
    store.add_experiment(hostile, config_json={hostile: hostile}, dataset_fingerprint=hostile)
    store.add_candidates(hostile, hostile, 0, [(hostile, None, None)])
    assert list(store.experiments_df().experiment_id) == [hostile] and store.candidates(hostile, 0)[0][0] == hostile
    assert len(store.experiment_df(hostile)) == 0 and len(store.to_df()) == 0
    target = tmp_path / "it's.csv"
    export_table(store, target, "candidates")
    assert hostile in target.read_text()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_table_writes_the_rows(store, tmp_path, ending):
    store.add([row(message='a "quoted", text'), row("00000002", val_acc_final=None)])
    target = tmp_path / f"rows.{ending}"
    assert export_table(str(store.path), str(target)) == target
    read = {
        "csv": lambda path: pd.read_csv(path, dtype={"hash": str}),
        "parquet": lambda path: duckdb.read_parquet(str(path)).df(),
    }[ending]
    found, expected = read(target), store.to_df()
    assert list(found.columns) == list(expected.columns)
    assert list(found.hash) == ["00000001", "00000002"] and found.message[0] == 'a "quoted", text'
    assert found.val_acc_final[0] == 0.5 and pd.isna(found.val_acc_final[1])
    with pytest.raises(JnasError, match="exists: name another file"):
        export_table(store, target, "epochs")
    export_table(store, target, "epochs", overwrite=True)
    assert len(read(target)) == 4


def test_export_table_bad_input_is_one_sentence(store, tmp_path):
    for arguments, part in (
        ((store.path, tmp_path / "rows.xlsx"), "must end in .parquet or .csv"),
        ((store, tmp_path / "no" / "rows.csv"), "in a folder that does not exist"),
        ((store, tmp_path / "rows.csv", "x; DROP TABLE epochs"), "table must be one of jnas, recipes"),
        ((tmp_path / "none.duckdb", tmp_path / "rows.csv"), "There is no store"),
    ):
        with pytest.raises(JnasError) as caught:
            export_table(*arguments)
        assert part in sentence(caught)
    assert not (tmp_path / "none.duckdb").exists() and list(tmp_path.glob("*rows*")) == []


def test_git_commit_is_of_this_checkout_or_none():
    commit = git_commit()
    inside = (Path(__file__).parent.parent / ".git").exists()
    assert (commit is None) or (inside and len(commit.split()[0]) >= 40 and set(commit.split()[1:]) <= {"changed"})


def test_store_command_exports_or_prints_one_sentence(store, tmp_path, capsys):
    store.add([row()])
    target = tmp_path / "rows.csv"
    assert main(["store", str(store.path), "--export", str(target)]) == 0
    assert f"Wrote {target}." in capsys.readouterr().out and len(pd.read_csv(target)) == 1
    assert main(["store", str(store.path), "--export", str(target)]) == 2
    error = capsys.readouterr().err
    assert "exists: name another file" in error and error.startswith("jnas: ") and error.count("\n") == 1
