"""The tables in SQL, and the check that a file has them."""

import re
from pathlib import Path

import duckdb

from jnas.errors import JnasError
from jnas.store._connection import damage
from jnas.store._records import Key

VERSION = 5  # of the schema; a file of another version is refused

_EVALUATION = (
    "hash VARCHAR, in_shape VARCHAR, num_classes INTEGER, recipe_id VARCHAR, dataset_fingerprint VARCHAR, "
    "split_seed BIGINT, seed BIGINT"
)
_EVALUATION_KEY = ", ".join(Key._fields)

# What a row and a column are is in docs/store.md.
TABLES = f"""
CREATE TABLE jnas (schema_version INTEGER);
CREATE TABLE recipes (recipe_id VARCHAR PRIMARY KEY, recipe_json JSON);
CREATE TABLE experiments (
    experiment_id VARCHAR PRIMARY KEY, started_at TIMESTAMP, config_json JSON, recipe_id VARCHAR,
    dataset_fingerprint VARCHAR, dataset_name VARCHAR, in_shape VARCHAR, num_classes INTEGER, class_names JSON,
    num_train INTEGER, num_val INTEGER, num_test INTEGER, split_seed BIGINT, seed BIGINT, versions JSON,
    git_commit VARCHAR, promoted_recipe_id VARCHAR, winner_hash VARCHAR,
    final_recipe_id VARCHAR, seconds DOUBLE
);
CREATE TABLE architectures (
    hash VARCHAR, in_shape VARCHAR, num_classes INTEGER, params BIGINT, macs BIGINT, flops BIGINT,
    PRIMARY KEY (hash, in_shape, num_classes)
);
CREATE TABLE evaluations (
    {_EVALUATION}, status VARCHAR, message VARCHAR, val_acc_final DOUBLE, val_acc_max DOUBLE, train_acc_final DOUBLE,
    test_acc_final DOUBLE, compile_seconds DOUBLE, train_seconds DOUBLE, device VARCHAR, host VARCHAR,
    finished_at TIMESTAMP, versions JSON, PRIMARY KEY ({_EVALUATION_KEY})
);
CREATE TABLE epochs (
    {_EVALUATION}, epoch INTEGER, train_loss DOUBLE, train_acc DOUBLE, val_acc DOUBLE,
    val_loss DOUBLE, val_balanced_acc DOUBLE, val_macro_f1 DOUBLE,
    PRIMARY KEY ({_EVALUATION_KEY}, epoch)
);
CREATE TABLE programs (
    finished_at TIMESTAMP, recipe_id VARCHAR, device VARCHAR, num_trials INTEGER, lanes_per_program INTEGER,
    compile_seconds DOUBLE, train_seconds DOUBLE
);
CREATE TABLE candidates (
    experiment_id VARCHAR, phase VARCHAR, generation INTEGER, position INTEGER, hash VARCHAR, predicted_mean DOUBLE,
    predicted_std DOUBLE, seconds DOUBLE, PRIMARY KEY (experiment_id, phase, generation, position)
);
CREATE TABLE latencies (
    hash VARCHAR, in_shape VARCHAR, num_classes INTEGER, device VARCHAR, batch_size INTEGER, latency_ms DOUBLE,
    PRIMARY KEY (hash, in_shape, num_classes, device, batch_size)
);
CREATE TABLE fronts (
    experiment_id VARCHAR, generation INTEGER, rank INTEGER, hash VARCHAR, val_acc_final DOUBLE, params BIGINT,
    macs BIGINT, memory_bytes BIGINT, flash_bytes BIGINT, latency_ms DOUBLE,
    PRIMARY KEY (experiment_id, generation, rank)
);
CREATE TABLE generations (
    experiment_id VARCHAR, phase VARCHAR, generation INTEGER, num_trained INTEGER, val_acc_final_best DOUBLE,
    val_acc_final_mean DOUBLE, kendall_tau DOUBLE, diversity DOUBLE, front_size INTEGER,
    seconds DOUBLE, PRIMARY KEY (experiment_id, generation)
);
CREATE TABLE predictors (
    experiment_id VARCHAR, generation INTEGER, num_rows INTEGER, r2 DOUBLE, kendall_tau DOUBLE, spearman DOUBLE,
    seconds DOUBLE, checkpoint VARCHAR, PRIMARY KEY (experiment_id, generation)
);
"""

TABLE_NAMES = tuple(re.findall(r"CREATE TABLE (\w+)", TABLES))

EVALUATIONS_WITH_COST = (
    "SELECT * FROM evaluations JOIN architectures USING (hash, in_shape, num_classes) ORDER BY finished_at"
)
TRAINED_CANDIDATES = (
    f"candidates c JOIN experiments x USING (experiment_id) JOIN evaluations e USING ({_EVALUATION_KEY}) "
    "JOIN architectures a USING (hash, in_shape, num_classes)"
)
"""What a search trained, with its rows of several tables."""


def has_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Returns whether the tables are there; False for an empty database, an error for another file."""
    names = _table_names(connection)
    if not names:
        return False
    match connection.execute("SELECT * FROM jnas").fetchall() if "jnas" in names else []:
        case [(int(version),)] if version == VERSION:
            return True
        case [(int(version),)]:
            raise JnasError(
                f"The schema version of {path} must be {VERSION}, got {version}; use the version of jnas that wrote "
                "the file, or name another file."
            )
    raise JnasError(f"{path} must be a file that jnas wrote, got another DuckDB file; name another file.")


def create_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Creates the tables within the caller's transaction; those that are there stay."""
    if has_tables(connection, path):
        return
    connection.execute(TABLES)
    connection.execute("INSERT INTO jnas VALUES (?)", [VERSION])


def validate_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Reads every value once, so that a truncated file is noticed before anything is written to it."""
    try:
        for table in _table_names(connection) & set(TABLE_NAMES):
            connection.execute(f"SELECT max(hash(_row)) FROM {table} AS _row").fetchall()
    except duckdb.Error as error:
        raise JnasError(damage(path, error)) from error


def _table_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The names of tables and views."""
    query = "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    return {name for (name,) in connection.execute(query).fetchall()}
