"""Trainings from elsewhere: CSV files, and the two schemas that the database of Sophius has had."""

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

import jnas
from jnas._search.screening import learn_from_elsewhere
from jnas.errors import JnasError
from jnas.store import import_rows

SOPHIUS = Path(__file__).with_name("sophius_runs.csv")
EXPERIMENT = "INSERT INTO experiments VALUES (1, 10000, 256, 'AdamW', '(3, 32, 32)', '10')"
TABLES = """
CREATE TABLE experiments (id INTEGER PRIMARY KEY, val_size INTEGER, num_epoch INTEGER, optimizer TEXT, in_shape TEXT,
    out_shape TEXT);
"""
RUNS = """
CREATE TABLE models (id INTEGER PRIMARY KEY, hash TEXT, flops INTEGER, macs INTEGER, params INTEGER);
CREATE TABLE runs (id INTEGER PRIMARY KEY, exp_id INTEGER, model_id INTEGER, val_acc REAL, train_acc REAL, time REAL);
CREATE TABLE model_epochs (run_id INTEGER, loss REAL, train_acc REAL, val_acc REAL, time REAL);
"""
MODELS = """
CREATE TABLE models (id INTEGER PRIMARY KEY, exp_id INTEGER, hash TEXT, val_acc REAL, train_acc REAL, time REAL);
CREATE TABLE model_epochs (exp_id INTEGER, model_id INTEGER, epoch INTEGER, loss REAL, train_acc REAL, val_acc REAL);
"""


def runs():
    """Templates with the accuracies that Sophius' own training gave them."""
    return pd.read_csv(SOPHIUS, dtype={"hash": str})


def sophius(path, schema, count=20):
    """A database as Sophius writes it."""
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES + schema)
        connection.execute(EXPERIMENT)
        for number, row in enumerate(runs().head(count).itertuples(), 1):
            if schema == RUNS:
                connection.execute("INSERT INTO models VALUES (?, ?, 0, 0, 0)", [number, row.hash])
                values = [number, number, row.val_acc, row.train_acc]
                connection.execute("INSERT INTO runs VALUES (?, 1, ?, ?, ?, 9.5)", values)
                connection.execute("INSERT INTO model_epochs VALUES (?, 2.0, 0.1, 0.2, 3.0)", [number])
            else:
                values = [number, row.hash, row.val_acc, row.train_acc]
                connection.execute("INSERT INTO models VALUES (?, 1, ?, ?, ?, 9.5)", values)
                connection.execute("INSERT INTO model_epochs VALUES (1, ?, 1, 2.0, 0.1, 0.2)", [number])
    connection.close()
    return path


@pytest.mark.parametrize("schema", [RUNS, MODELS], ids=["runs", "models"])
def test_sophius_rows_come_with_costs_epochs_and_their_experiment(schema, tmp_path):
    store = jnas.Store(tmp_path / "a.duckdb")
    path = sophius(tmp_path / "models.db", schema)
    assert import_rows(store, path) == 20 and import_rows(store, path) == 0
    rows, table = store.to_df().set_index("hash"), runs().head(20).set_index("hash")
    assert (rows.val_acc_final[table.index] == table.val_acc).all() and (rows.train_seconds == 9.5).all()
    assert (rows.macs[table.index] == table.macs).all() and (rows.params[table.index] == table.params).all()
    assert (rows.dataset_fingerprint == "imported").all() and rows.in_shape.unique() == ["3x32x32"]
    assert store.sql("SELECT train_loss, val_acc FROM epochs").drop_duplicates().to_numpy().tolist() == [[2.0, 0.2]]
    (recipe,) = rows.recipe_id.unique()
    assert '"val_size": 10000' in store.recipe_json(recipe) and '"optimizer": "AdamW"' in store.recipe_json(recipe)


def test_csv_rows_come_with_epochs_seeds_and_shape(tmp_path):
    hash = runs().hash[0]
    path = tmp_path / "rows.csv"
    path.write_text(
        "hash,accuracy,test_acc,acc_2,acc_1,in_shape,num_classes,status\n"
        f"{hash},.5,.4,.3,.2,3x32x32,100,ok\n{hash},.6,.4,.3,.2,3x32x32,100,ok\n{hash},,,,,3x32x32,100,diverged\n"
    )
    store = jnas.Store(tmp_path / "a.duckdb")
    assert import_rows(store.path, path) == 2
    rows = store.to_df().sort_values("seed")
    assert rows.seed.tolist() == [0, 1] and rows.val_acc_final.tolist() == [0.5, 0.6]
    assert rows.num_classes.tolist() == [100, 100] and rows.test_acc_final.tolist() == [0.4, 0.4]
    assert store.sql("SELECT val_acc FROM epochs WHERE seed = 0 ORDER BY epoch").val_acc.tolist() == [0.2, 0.3]
    assert store.imported_rows("3x32x32", 100) == [(rows.recipe_id[0], hash, 0.5), (rows.recipe_id[0], hash, 0.6)]
    assert store.imported_rows("3x32x32", 10) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("hash,val_acc\n{hash},.5\nxyz,.5\n", r"line 3 of .* must be a template, got this: hash must"),
        ("hash,val_acc\n{hash},50\n", "line 2 of .* must have fractions from 0 to 1 as val_acc_final, got 50; divide"),
        ("hash,val_acc\n{hash},\n", "line 2 of .* must have a number as val_acc, got nan; leave rows without one out"),
        ("hash,val_acc\n{hash},good\n", "line 2 of .* must have a number as val_acc, got 'good'"),
        ("name,val_acc\na,.5\n", "import must have columns hash and val_acc, got name, val_acc in"),
        ("hash,val_acc\n", "import must have rows, got none in"),
        ("", "import must be a file of rows, got .*, an empty file; give a CSV file"),
    ],
)
def test_csv_with_a_wrong_row_writes_nothing(content, sentence, tmp_path):
    path, store = tmp_path / "rows.csv", tmp_path / "a.duckdb"
    path.write_text(content.replace("{hash}", runs().hash[0]))
    with pytest.raises(JnasError, match=sentence):
        import_rows(store, path)
    assert not store.exists()


def test_foreign_databases_are_refused(tmp_path):
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    with pytest.raises(JnasError, match="import must have the tables of Sophius, got songs in"):
        import_rows(tmp_path / "a.duckdb", other)
    damaged = sophius(tmp_path / "models.db", RUNS)
    damaged.write_bytes(damaged.read_bytes()[:6000])
    with pytest.raises(JnasError, match="import must be a database of Sophius, got"):
        import_rows(tmp_path / "a.duckdb", damaged)
    with pytest.raises(JnasError, match="import must be a file that can be read, got"):
        import_rows(tmp_path / "a.duckdb", tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE experiments SET out_shape = 'ten'", "run 1 of .* must have a shape as out_shape, got 'ten'; leave"),
        ("UPDATE model_epochs SET val_acc = NULL", "an epoch of run 1 of .* must have a number as val_acc, got None;"),
    ],
)
def test_sophius_with_a_wrong_value_writes_nothing(change, sentence, tmp_path):
    path = sophius(tmp_path / "models.db", RUNS, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(JnasError, match=sentence):
        import_rows(tmp_path / "a.duckdb", path)
    assert not (tmp_path / "a.duckdb").exists()


def test_a_predictor_learns_from_rows_of_elsewhere(tmp_path):
    store, path = jnas.Store(tmp_path / "a.duckdb"), tmp_path / "rows.csv"
    jnas.load_table()[["hash", "val_acc"]].head(150).to_csv(path, index=False)
    assert import_rows(store, path) == 150
    rows = store.imported_rows("3x32x32", 10)
    space = jnas.Space()
    fitted = learn_from_elsewhere(space, rows, 0)
    assert fitted.scores.num_rows == len({hash for _, hash, _ in rows}) and fitted.scores.kendall_tau > 0.4
    assert learn_from_elsewhere(space, rows[:1], 0).scores is None
