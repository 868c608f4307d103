"""Files of results: what is in their place, what is wrong with them, and tables written from them."""

import gzip
import json
import os
import resource
import signal
import sqlite3
from pathlib import Path
from unittest import mock

import duckdb
import numpy as np
import pandas as pd

from borders import Row, command
from jnas.errors import JnasError
from jnas.store import Epoch, Evaluation, Key, Store, export_table, open_store
from jnas.store._schema import TABLE_NAMES

KEY = Key("00000001", "3x32x32", 10, "recipe", "data", 0, 0)
ROW = Evaluation(KEY, val_acc_final=0.5, params=3, macs=5, flops=7, epochs=(Epoch(2.0, 0.1, 0.2),))


def made(folder, *rows, name="a.duckdb", lock_timeout=0.1):
    """A store with rows."""
    store = Store(folder / name, lock_timeout)
    store.add(rows or [ROW])
    return store


def with_bytes(content, name="a.duckdb"):
    """A call that opens a file of this content, which must not change; nothing else may be made."""

    def call(folder):
        (folder / name).write_bytes(content)
        try:
            Store(folder / name)
        finally:
            assert (folder / name).read_bytes() == content and os.listdir(folder) == [name]

    return call


def made_of(write, name="a.duckdb"):
    """A call that opens what `write(path)` made."""

    def call(folder):
        write(folder / name)
        return with_bytes((folder / name).read_bytes(), name)(folder)

    return call


def write_sqlite(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE models (hash TEXT)")
    connection.close()


def write_duckdb(path):
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE mine (i INTEGER)")


def write_parquet(path):
    duckdb.sql("SELECT 1 AS i").write_parquet(str(path))


def of_version(path):
    """A store of the tables that a later jnas writes."""
    made(path.parent, name=path.name)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE jnas SET schema_version = 99")


def nothing_is_made(call):
    """A call in an empty folder, which stays empty."""

    def checked(folder):
        try:
            return call(folder)
        finally:
            assert os.listdir(folder) == []

    return checked


def duckdb_says(text, call):
    """A call while DuckDB opens no file, and says why."""

    def told(folder):
        made(folder)
        with mock.patch.object(duckdb, "connect", side_effect=duckdb.IOException(text)):
            return call(folder)

    return told


def damaged(change):
    """A call that opens a store after `change(content)`."""

    def call(folder):
        path = made(folder).path
        content = bytearray(path.read_bytes())
        path.write_bytes(change(content))
        with_bytes(path.read_bytes())(folder)

    return call


def flipped(content):
    content[4096 + 20] ^= 255
    content[8192 + 20] ^= 255
    return content


def damaged_log(folder):
    """A write that DuckDB has not moved into the file yet, and that no longer is what was written."""
    path = made(folder).path
    with duckdb.connect(path) as connection:
        connection.execute("SET checkpoint_threshold = '1GB'; PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO recipes SELECT 'r' || i, '{}' FROM range(100) r(i)")
    log = folder / "a.duckdb.wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 255
    log.write_bytes(content)
    with_bytes_of_both = path.read_bytes(), log.read_bytes()
    try:
        Store(path)
    finally:
        assert (path.read_bytes(), log.read_bytes()) == with_bytes_of_both


def unreadable(folder):
    """A file whose rights refuse; root is refused nothing, so the system's answer is made up."""
    path = made(folder).path
    text = f'IO Error: Cannot open file "{path}": Permission denied'
    with (
        mock.patch.object(duckdb, "connect", side_effect=duckdb.IOException(text)),
        mock.patch("builtins.open", side_effect=PermissionError(13, "Permission denied")),
    ):
        Store(path)


def gone(folder):
    """The file is deleted while a store is in use: another would lack the rows before."""
    store = made(folder)
    store.path.unlink()
    try:
        store.add([ROW])
    finally:
        assert os.listdir(folder) == []


def overwritten(folder):
    """A file that comes into a new store's place before the first write."""
    store = Store(folder / "a.csv")
    (folder / "a.csv").write_text("a,b\n1,2\n")
    try:
        store.add([ROW])
    finally:
        assert (folder / "a.csv").read_text() == "a,b\n1,2\n"


STATUSES = ("ok", "diverged", "too_large", "out_of_memory", "timeout", "stopped", "invalid", "error")
HASHES = ("0e100000", "12345678", "00000001", "1e5", "ffffffff", "00000000", "0e5", "1e999")
ROUND_TRIP = [
    Evaluation(
        KEY._replace(hash=hash, recipe_id="1e10", dataset_fingerprint="0042"),
        status=status,
        message='Bilder "für" Füße,\nim Ordner 画像;',
        val_acc_final=value,
        val_acc_max=0.1 + 0.2,
        params=2**40,
        device="CPU, Übung",
        host="Rechner",
    )
    for status, hash, value in zip(STATUSES, HASHES, (None, 1 / 3, 0.0, 1.0, 1e-300, 0.1, 0.7, 0.5), strict=True)
]
TEXT = ("hash", "in_shape", "recipe_id", "dataset_fingerprint", "status", "message", "device", "host", "versions")


def round_trip(ending):
    """The rows that were written, and read again; as pairs of tables."""

    def call(folder):
        store = made(folder, *ROUND_TRIP)
        path = export_table(store, folder / f"Zeilen für Ünï.{ending}")
        if ending == "parquet":
            return store.to_df(), duckdb.read_parquet(str(path)).df()
        read = pd.read_csv(
            path, dtype=dict.fromkeys(TEXT, str), parse_dates=["finished_at"], float_precision="round_trip"
        )
        return store.to_df(), read

    return call


def are_equal(tables):
    written, read = tables
    pd.testing.assert_frame_equal(written, read, check_dtype=False)
    return len(written) == len(ROUND_TRIP)


def export_to(name, write=None, **arguments):
    """A call that exports to a file, which may be there; on an error the folder stays as it was."""

    def call(folder):
        store = made(folder)
        if write:
            write(folder / name)
        before = sorted(path.name for path in folder.rglob("*"))
        try:
            return export_table(store, folder / name, **arguments)
        except JnasError:
            assert sorted(path.name for path in folder.rglob("*")) == before
            raise

    return call


def no_room(folder):
    """A disk that is full, as a limit on the size of files makes it."""
    store = made(folder, *ROUND_TRIP)
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        export_table(store, folder / "rows.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
        assert sorted(os.listdir(folder)) == ["a.duckdb"]


def sentence_begins(call, sentence):
    """A call whose sentence has a cause that depends on the file."""

    def checked(folder):
        try:
            call(folder)
        except JnasError as error:
            before, after = sentence.replace("{folder}", str(folder)).split("%s")
            return str(error).startswith(before) and str(error).endswith(after)
        return False

    return checked


def sentence_of_tables(got):
    return f"table must be one of {', '.join(TABLE_NAMES)}, got {got}."


DAMAGED = "{folder}/a.duckdb is damaged (%s): put a copy in its place, or name another file, this one was not changed."
FOREIGN = (
    "{folder}/a.duckdb must be a DuckDB file that jnas wrote, got %s; name another file, this one was not changed."
)
NONE = "There is no store {folder}/none.duckdb: name the .duckdb file that a search wrote."
NOT_KEPT = "store must be the path of a file, got '%s'; rows are kept on this machine's disk only."
NO_PATH = "store must be the path of a file or folder, got %s."
LOCK = (
    'IO Error: Could not set lock on file "/a.duckdb": %s. See also https://duckdb.org/docs/stable/connect/concurrency'
)
NO_LOCK = "{folder}/a.duckdb is on a drive that cannot lock files (%s): name a file on another drive."

ROWS = [
    *(
        Row("Store.path", "wrong value", nothing_is_made(lambda _, name=name: Store(name).to_df()), NOT_KEPT % name)
        for name in (":memory:", ":memory:mine", "md:mine", "motherduck:mine")
    ),
    Row("Store.path", "empty", lambda _: Store(""), NO_PATH % "''"),
    Row("Store.path", "wrong type", lambda _: Store(3), NO_PATH % "3"),
    Row("Store.path", "wrong value", lambda _: Store("a\0b"), NO_PATH % r"'a\x00b'"),
    Row(
        "Store.lock_timeout",
        "wrong value",
        lambda _: Store("a", -1),
        "lock_timeout must be a finite number >= 0, got -1.",
    ),
    Row("Store.path", "missing", nothing_is_made(lambda folder: Store(folder / "none.duckdb").to_df()), NONE),
    Row("Store.path", "missing", nothing_is_made(lambda folder: Store(folder / "none.duckdb").find([KEY])), NONE),
    Row("Store.path", "missing", nothing_is_made(lambda folder: Store(folder / "none.duckdb").sql("SELECT 1")), NONE),
    Row("open_store.path", "missing", nothing_is_made(lambda folder: open_store(folder / "none.duckdb")), NONE),
    Row(
        "Store.path", "missing", gone, "There is no store {folder}/a.duckdb: name the .duckdb file that a search wrote."
    ),
    Row(
        "Store.path",
        "missing",
        lambda folder: Store(folder / "no" / "a.duckdb"),
        "The store {folder}/no/a.duckdb is in a folder that does not exist: create the folder first.",
    ),
    Row(
        "Store.path",
        "foreign",
        lambda folder: Store(folder),
        "The store must be a file, got the folder {folder}; name a file in it.",
    ),
    Row(
        "Store.path",
        "huge",
        nothing_is_made(lambda _: Store("a" * 300).add([ROW])),
        "store must be a path of names of up to 255 characters, got '" + "a" * 76 + "....",
    ),
    Row(
        "Store.path",
        "empty",
        with_bytes(b""),
        "There is no store {folder}/a.duckdb, it is an empty file: delete it, or name the .duckdb file that a search "
        "wrote.",
    ),
    Row("Store.path", "foreign", made_of(write_sqlite), FOREIGN % "a SQLite file"),
    Row("Store.path", "foreign", made_of(write_parquet), FOREIGN % "a Parquet file"),
    Row("Store.path", "foreign", with_bytes(b"a,b\n1,2\n"), FOREIGN % "a text file"),
    Row("Store.path", "foreign", with_bytes(json.dumps({"ä": 1}).encode()), FOREIGN % "a text file"),
    Row("Store.path", "foreign", with_bytes(gzip.compress(b"a")), FOREIGN % "a gzip file"),
    Row(
        "Store.path",
        "foreign",
        made_of(lambda p: np.savez(p.open("wb"), a=1)),
        FOREIGN % "a ZIP archive, as .npz and .xlsx are",
    ),
    Row("Store.path", "foreign", with_bytes(bytes(20_000)), FOREIGN % "a file of another kind"),
    Row("Store.path", "foreign", with_bytes(b"DUCK"), FOREIGN % "a text file"),
    Row(
        "Store.path",
        "foreign",
        with_bytes(b"a,b\n1,2\n", "a.csv"),
        FOREIGN.replace("a.duckdb", "a.csv") % "a text file",
    ),
    Row(
        "Store.path",
        "foreign",
        overwritten,
        FOREIGN.replace("a.duckdb", "a.csv") % "a text file",
    ),
    Row(
        "Store.path",
        "foreign",
        made_of(write_duckdb),
        "{folder}/a.duckdb must be a file that jnas wrote, got another DuckDB file; name another file.",
    ),
    Row(
        "Store.path",
        "foreign",
        made_of(of_version),
        "The schema version of {folder}/a.duckdb must be 5, got 99; use the version of jnas that wrote the file, or "
        "name another file.",
    ),
    Row(
        "Store.path",
        "not readable",
        unreadable,
        "{folder}/a.duckdb cannot be read (Permission denied): change its rights, or name another file.",
    ),
    Row(
        "Store.path",
        "not writable",
        lambda folder: (
            (store := made(folder))
            and duckdb_says(
                f'IO Error: Cannot open file "{folder}/a.duckdb": Read-only file system', lambda _: store.add([ROW])
            )(folder)
        ),
        "{folder}/a.duckdb cannot be opened (Read-only file system): make sure that it can be read and written, or "
        "name another file.",
    ),
    *(
        Row(
            "Store.path",
            "not writable",
            duckdb_says(LOCK % cause, lambda folder: Store(folder / "a.duckdb")),
            NO_LOCK % cause,
        )
        for cause in ("Operation not supported", "No locks available", "Function not implemented")
    ),
    Row(
        "Store.path",
        "not writable",
        duckdb_says(
            LOCK % "File locks are not supported for this file system, cannot open the file in read-write mode. Try "
            "opening the file in read-only mode",
            lambda folder: Store(folder / "a.duckdb"),
        ),
        NO_LOCK % "File locks are not supported for this file system, cannot open the file in read-write mode",
    ),
    Row(
        "Store.path",
        "not writable",
        duckdb_says(
            LOCK % "Conflicting lock is held in /usr/bin/python3.11 (PID 123)",
            lambda folder: Store(folder / "a.duckdb", lock_timeout=0.1),
        ),
        "{folder}/a.duckdb is open in another process (process 123): close it there, or name another file.",
    ),
    *(
        Row("Store.path", "damaged", damaged(change), DAMAGED % cause)
        for change, cause in (
            (
                lambda content: content[:20],
                "IO Error: Could not read enough bytes from file: attempted to read 4076 bytes from location 20",
            ),
            (
                lambda content: content[:5000],
                "IO Error: Could not read enough bytes from file: attempted to read 3192 bytes from location 5000",
            ),
        )
    ),
    Row("Store.path", "damaged", sentence_begins(damaged(lambda c: c[: len(c) // 2]), DAMAGED), bool),
    Row("Store.path", "damaged", sentence_begins(damaged(flipped), DAMAGED), bool),
    Row(
        "Store.path",
        "damaged",
        damaged_log,
        "{folder}/a.duckdb.wal, where DuckDB keeps the last writes to a.duckdb, is damaged or of another file: put "
        "copies of both in their place, or move it away and lose these writes.",
    ),
    Row(
        "Store.sql",
        "wrong value",
        lambda folder: made(folder).sql("SELECT x FROM epochs"),
        '{folder}/a.duckdb cannot answer (Binder Error: Referenced column "x" not found in FROM clause): correct the '
        "query.",
    ),
    Row(
        "store --import",
        "missing",
        lambda folder: command("store", str(folder / "a.duckdb"), "--import", str(folder / "none.csv")),
        "import must be a file that can be read, got {folder}/none.csv (No such file or directory); give a CSV file with "
        "columns hash and val_acc, or the database of Sophius.",
    ),
    Row(
        "store --import",
        "foreign",
        lambda folder: command("store", str(folder / "a.duckdb"), "--import", str(made(folder, name="b.duckdb").path)),
        "import must be a file of rows, got {folder}/b.duckdb, a file of another kind; give a CSV file with columns hash "
        "and val_acc, or the database of Sophius.",
    ),
    Row(
        "export_table.path",
        "wrong value",
        export_to("rows.xlsx"),
        "The file to write must end in .parquet or .csv, got {folder}/rows.xlsx.",
    ),
    Row(
        "export_table.path",
        "wrong type",
        lambda folder: export_table(made(folder), 3),
        "path must be the path of a file or folder, got 3.",
    ),
    Row(
        "export_table.path",
        "missing",
        export_to("no/rows.csv"),
        "{folder}/no/rows.csv is in a folder that does not exist: create the folder first.",
    ),
    Row(
        "export_table.path",
        "foreign",
        export_to("rows.csv", Path.mkdir),
        "The file to write must not be a folder, got {folder}/rows.csv; name a file in it.",
    ),
    Row(
        "export_table.path",
        "foreign",
        export_to("rows.csv", Path.touch),
        "{folder}/rows.csv exists: name another file, or allow jnas to replace it with --overwrite.",
    ),
    Row(
        "export_table.path",
        "foreign",
        lambda folder: export_table(made(folder, name="a.csv"), folder / "a.csv", overwrite=True),
        "{folder}/a.csv is the store itself: name another file.",
    ),
    Row(
        "export_table.path",
        "huge",
        lambda folder: export_table(made(folder), "a" * 300 + ".csv"),
        "path must be a path of names of up to 255 characters, got '" + "a" * 76 + "....",
    ),
    Row(
        "export_table.path",
        "not writable",
        sentence_begins(no_room, "{folder}/rows.csv cannot be written (%s): name another file, or make room."),
        bool,
    ),
    Row(
        "export_table.overwrite",
        "wrong type",
        export_to("rows.csv", overwrite="yes"),
        "overwrite must be True or False, got 'yes'.",
    ),
    Row(
        "export_table.overwrite",
        "right",
        export_to("rows.csv", Path.touch, overwrite=np.True_),
        lambda path: path.stat().st_size,
    ),
    Row("export_table.table", "wrong value", export_to("rows.csv", table="epoch"), sentence_of_tables("'epoch'")),
    Row("export_table.table", "wrong type", export_to("rows.csv", table=3), sentence_of_tables("3")),
    Row(
        "export_table.store",
        "missing",
        nothing_is_made(lambda folder: export_table(folder / "none.duckdb", folder / "rows.csv")),
        NONE,
    ),
    Row(
        "store STORE",
        "missing",
        nothing_is_made(lambda _: command("store", "none.duckdb")),
        NONE.replace("{folder}/", ""),
    ),
    Row(
        "store --export",
        "missing",
        nothing_is_made(lambda _: command("store", "none.duckdb", "--export", "rows.csv")),
        NONE.replace("{folder}/", ""),
    ),
    Row(
        "export STORE",
        "missing",
        nothing_is_made(lambda _: command("export", "none.duckdb")),
        NONE.replace("{folder}/", ""),
    ),
    Row("store STORE", "wrong value", nothing_is_made(lambda _: command("store", ":memory:")), NOT_KEPT % ":memory:"),
    Row("export_table", "right", round_trip("csv"), are_equal),
    Row("export_table", "right", round_trip("parquet"), are_equal),
]
