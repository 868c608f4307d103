"""The store: the contract that any back end has to keep, and what DuckDB's files may run into."""

import dataclasses
import os
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from jnas._runtime.versions import git_state, versions
from jnas.errors import JnasError
from jnas.store import Epoch, Evaluation, Key, Store
from jnas.store.__main__ import main
from jnas.store._schema import VERSION

HERE = Path(__file__).parent
OLDER = {version: (HERE / f"store_v{version}.sql").read_text() for version in (1, 2)}
"""The tables of a store of each schema version, as the jnas of its time made them."""
OLDER[3] = (
    OLDER[2].replace("VALUES (2)", "VALUES (3)")
    + """
ALTER TABLE experiments ADD COLUMN git VARCHAR;
ALTER TABLE evaluations ADD COLUMN versions JSON;
"""
)


def row(hash="00000001", seed=0, **changes):
    key = Key(hash, "3x32x32", 10, "recipe", "data", 0, seed)
    values = {"val_acc_final": 0.5, "val_acc_max": 0.6, "train_acc_final": 0.7, "params": 3, "macs": 5, "flops": 7}
    values |= {"epochs": (Epoch(2.0, 0.1, 0.2), Epoch(1.0, 0.7, 0.5)), "device": "cpu"} | changes
    return Evaluation(key, **values)


class StoreContract:
    """What a store keeps to, whatever it is made of; another back end's tests inherit it and override `open`."""

    def open(self, folder: Path):
        """The store in a folder; called again, the same one anew, as another process would open it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path):
        return self.open(tmp_path)

    def test_rows_come_back_as_they_were(self, store, tmp_path):
        rows = [row(), row("00000002", status="nan", message="it's; DROP TABLE", val_acc_final=None, epochs=())]
        store.add(rows, '{"epochs": 2}')
        assert self.open(tmp_path).find([r.key for r in rows] + [row("00000003").key]) == {r.key: r for r in rows}
        assert store.recipe_json("recipe") == '{"epochs": 2}'

    def test_one_row_an_evaluation_and_the_first_one_stays(self, store):
        store.add([row(), row(seed=1)])
        store.add([row(val_acc_final=0.9)])
        assert store.to_df()[["hash", "seed", "val_acc_final", "params"]].values.tolist() == [
            ["00000001", 0, 0.5, 3],
            ["00000001", 1, 0.5, 3],
        ]
        assert len(store.find([row().key])[row().key].epochs) == 2

    @pytest.mark.parametrize("status", ["too_large", "out_of_memory", "timeout", "stopped", "error"])
    def test_what_may_end_otherwise_is_written_over(self, store, status):
        failed = row(status=status, message="why", val_acc_final=None, epochs=())
        assert not failed.lasting and row().lasting
        store.add([failed])
        store.add([row()])
        assert store.find([row().key]) == {row().key: row()}
        store.add([failed])
        assert store.find([row().key]) == {row().key: row()}

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_what_is_written_over_keeps_none_of_its_epochs(self, store, count):
        """As when it is trained anew on another device: an early epoch of one training is nothing to the other."""
        other, *_ = row().epochs
        failed = row(status="stopped", val_acc_final=None, epochs=(dataclasses.replace(other, val_acc=0.9),) * count)
        store.add([failed, row(seed=1)])
        store.add([row(status="error", val_acc_final=None, epochs=row().epochs[:1])])
        assert store.find([row().key])[row().key].epochs == row().epochs[:1]
        store.add([row()])
        assert store.find([row().key, row(seed=1).key]) == {row().key: row(), row(seed=1).key: row(seed=1)}

    def test_test_accuracy_is_added(self, store):
        store.add([row()])
        store.set_test_accuracy(row().key, 0.25)
        assert store.find([row().key])[row().key].test_acc_final == 0.25

    def test_candidates_keep_their_order(self, store):
        chosen = [("b", 0.5, 0.1), ("a", None, None)]
        store.add_candidates("x", "random", 0, chosen)
        store.add_candidates("x", "random", 0, [("c", 0.5, 0.1)])
        assert store.candidates("x", 0) == chosen and store.candidates("x", 1) == []

    def test_a_search_finds_what_it_trained(self, store):
        search = {"recipe": "recipe", "data": "data", "in_shape": "3x32x32", "classes": 10, "split_seed": 0, "seed": 0}
        store.add_experiment("x", settings={"seed": 0}, **search)
        store.add_experiment("x", settings={"seed": 9}, **search)
        assert list(store.experiments_df().experiment) == ["x"]
        assert "9" not in store.experiments_df()["settings"][0]
        store.add([row(), row("00000002"), row("00000001", seed=1)])
        store.add_candidates("x", "random", 0, [("00000001", 0.5, 0.1)])
        assert list(store.experiment_df("x").hash) == ["00000001"] and len(store.experiment_df("y")) == 0
        assert store.trainings("x", "00000001") == [row()]

    def test_fronts_replace_one_another(self, store):
        for size in (3, 1):
            store.add_front("x", 2, [{"hash": f"{i:08x}", "val_acc_final": 0.5} for i in range(size)])
        assert list(store.front_df("x").hash) == ["00000000"]

    def test_latencies_are_a_devices(self, store):
        where = {"in_shape": "3x32x32", "classes": 10, "images": 8}
        for device, latency in (("cpu", 1.5), ("cpu", 2.5), ("gpu", 0.5)):
            store.add_latency(hash="00000001", device=device, latency_ms=latency, **where)
        assert store.latencies(device="cpu", **where) == {"00000001": 1.5}

    def test_nothing_of_a_failed_write_stays(self, store):
        with pytest.raises(JnasError, match="nothing of this write was kept"):
            store.add([row(), row("00000002", params="many")])
        assert len(store.to_df()) == 0
        store.add([row()])
        assert len(store.to_df()) == 1

    def test_threads_may_share_it(self, store):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: store.add([row(f"{i % 10:08x}"), row(f"{i:08x}", seed=1)]), range(24)))
        assert len(store.to_df()) == 10 + 24

    def test_a_row_says_what_trained_it(self, store):
        store.add([row(device="a device")])
        (found,) = store.to_df()["versions"]
        assert all(f'"{name}": "{version}"' in found.replace('":"', '": "') for name, version in versions().items())
        assert "a device" in found


class TestDuckDB(StoreContract):
    def open(self, folder):
        return Store(folder / "results.duckdb", patience=10)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results.duckdb", patience=0.3)


def sentence(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    text = tmp_path / "text.duckdb"
    text.write_text("hello " * 1000)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE mine (i INTEGER)")
    before = text.read_bytes()
    for path, told in (
        (text, "cannot be opened as a DuckDB file"),
        (other, "jnas did not write it"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file.duckdb", "in a folder that does not exist"),
    ):
        with pytest.raises(JnasError) as caught:
            Store(path)
        assert told in sentence(caught)
    assert text.read_bytes() == before
    with duckdb.connect(other) as connection:
        assert connection.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


def test_a_newer_schema_is_refused(store):
    with duckdb.connect(store.path) as connection:
        connection.execute("UPDATE jnas SET schema_version = 99")
    with pytest.raises(JnasError, match=f"schema version 99, and this jnas reads {VERSION}"):
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


@pytest.mark.parametrize("version", OLDER)
def test_an_older_schema_is_brought_up_to_date(tmp_path, version):
    path = tmp_path / "old.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(OLDER[version])
        connection.execute(
            "INSERT INTO evaluations BY NAME SELECT '00000001' AS hash, '3x32x32' AS in_shape, 10 AS classes, "
            "'recipe' AS recipe, 'data' AS data, 0 AS split_seed, 0 AS seed, 'ok' AS status, '' AS message, "
            ".5 AS val_acc_final, .6 AS val_acc_max, .7 AS train_acc_final, 0 AS compile_seconds, "
            "0 AS train_seconds, 'cpu' AS device"
        )
        connection.execute("INSERT INTO architectures VALUES ('00000001', '3x32x32', 10, 3, 5, 7)")
        connection.execute(
            "INSERT INTO epochs VALUES ('00000001', '3x32x32', 10, 'recipe', 'data', 0, 0, 1, 2, .1, .2)"
        )
    store = Store(path)
    assert store.find([row().key]) == {row().key: row(epochs=(Epoch(2.0, 0.1, 0.2),))}
    assert store.sql("SELECT schema_version FROM jnas").values.tolist() == [[VERSION]]
    new = Store(tmp_path / "new.duckdb")
    columns = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
    as_set = lambda frame: set(frame.itertuples(index=False, name=None))  # noqa: E731
    assert as_set(store.sql(columns)) == as_set(new.sql(columns))
    for each in (store, new):
        each.add([row("00000002")])
        each.add_experiment("x", settings={}, git="abc", classes=10)
        each.set_winner("x", "00000002")
        assert each.experiments_df().winner.tolist() == ["00000002"]
        each.add_generation(experiment="x", step="random", generation=0, diversity=0.5, front=1)
    assert len(store.to_df()) == 2


def test_a_file_that_ends_too_early_is_told_and_left_alone(store):
    store.add([row(f"{i:08x}", message=os.urandom(4000).hex()) for i in range(150)])
    whole = store.path.read_bytes()
    for share in (0.05, 0.5, 0.9):
        cut = whole[: int(share * len(whole))]
        store.path.write_bytes(cut)
        with pytest.raises(JnasError) as caught:
            Store(store.path)
        assert "damaged" in sentence(caught) or "cannot be opened" in sentence(caught)
        assert store.path.read_bytes() == cut


def test_a_file_of_another_database_is_refused(tmp_path):
    path = tmp_path / "results.duckdb"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE evaluations (i INTEGER)")
    before = path.read_bytes()
    with pytest.raises(JnasError) as caught:
        Store(path)
    assert "cannot be opened as a DuckDB file" in sentence(caught) and path.read_bytes() == before


def run(code: str, *arguments):
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_a_full_disk_loses_nothing_that_was_written(store):
    store.add([row()])

    code = """
        import os, resource, signal, sys
        sys.path.insert(0, sys.argv[2])
        # As good as a full disk: a file may grow by no more than this.
        size = os.path.getsize(sys.argv[1]) + 4096
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from jnas.errors import JnasError
        from jnas.store import Store
        from test_store import row
        rows = [row(f"{i:08x}", message=os.urandom(4000).hex()) for i in range(2, 300 + size // 4000)]
        try:
            Store(sys.argv[1]).add(rows)
        except JnasError as error:
            print(error)
    """
    done = run(code, store.path, Path(__file__).parent)
    assert "nothing of this write was kept" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    again = Store(store.path, patience=5)
    assert again.find([row().key]) == {row().key: row()} and len(again.to_df()) == 1
    again.add([row("00000002")])
    assert len(again.to_df()) == 2


def test_processes_may_share_it(store):
    """Two that write and one that reads, as two searches and a notebook."""
    code = """
        import sys
        sys.path.insert(0, sys.argv[2])
        from jnas.store import Store
        from test_store import row
        store = Store(sys.argv[1], patience=60)
        for i in range(15):
            if sys.argv[3] == "read":
                store.to_df(), store.sql("SELECT count(*) FROM epochs")
            else:
                store.add([row(f"{i:08x}", seed=int(sys.argv[3])), row("shared", seed=i)])
    """
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda who: run(code, store.path, Path(__file__).parent, who), ("0", "1", "read")))
    assert [one.returncode for one in done] == [0, 0, 0], [one.stderr for one in done]
    store.patience = 10
    assert len(store.to_df()) == 45 and store.sql("SELECT count(*) AS n FROM epochs").n[0] == 90


def test_a_notebooks_own_connection_is_no_obstacle(store):
    """In the same process, which DuckDB lets share a file."""
    store.add([row()])
    with duckdb.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM evaluations").fetchone() == (1,)
        store.add([row("00000002")])
        assert len(store.to_df()) == 2
        assert connection.execute("SELECT count(*) FROM evaluations").fetchone() == (2,)


def test_a_wrong_query_is_a_sentence(store):
    with pytest.raises(JnasError) as caught:
        store.sql("SELECT nothing FROM evaluations")
    assert "nothing" in sentence(caught)
    with pytest.raises(JnasError):
        store.sql("DROP TABLE evaluations")
    assert len(store.to_df()) == 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_gives_the_rows(store, tmp_path, ending, capsys):
    store.add([row(message='a "quoted", text'), row("00000002", val_acc_final=None)])
    target = tmp_path / f"rows.{ending}"
    assert main([str(store.path), "--export", str(target)]) == 0
    read = {
        "csv": lambda path: pd.read_csv(path, dtype={"hash": str}),
        "parquet": lambda path: duckdb.read_parquet(str(path)).df(),
    }[ending]
    found, expected = read(target), store.to_df()
    assert list(found.columns) == list(expected.columns)
    assert list(found.hash) == ["00000001", "00000002"] and found.message[0] == 'a "quoted", text'
    assert found.val_acc_final[0] == 0.5 and pd.isna(found.val_acc_final[1])
    assert main([str(store.path), "--export", str(target), "--table", "epochs"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([str(store.path), "--export", str(target), "--table", "epochs", "--overwrite"]) == 0
    assert len(read(target)) == 4


def test_mistakes_of_export_are_sentences(store, tmp_path, capsys):
    for arguments, told in (
        (["--export", str(tmp_path / "rows.xlsx")], "another ending than .parquet or .csv"),
        (["--export", str(tmp_path / "no" / "rows.csv")], "in a folder that does not exist"),
        (["--export", str(tmp_path / "rows.csv"), "--table", "x; DROP TABLE epochs"], "has no table"),
    ):
        assert main([str(store.path), *arguments]) == 2
        error = capsys.readouterr().err
        assert told in error and error.startswith("jnas: ") and error.count("\n") == 1
    assert main([str(tmp_path / "none.duckdb"), "--export", str(tmp_path / "rows.csv")]) == 2
    assert "There is no store" in capsys.readouterr().err and not (tmp_path / "none.duckdb").exists()
    assert list(tmp_path.glob("*rows*")) == []


def test_the_commit_is_of_this_checkout_or_not_known():
    state = git_state()
    inside = (Path(__file__).parent.parent / ".git").exists()
    assert (state is None) or (inside and len(state.split()[0]) >= 40 and set(state.split()[1:]) <= {"changed"})
