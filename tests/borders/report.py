"""The page of searches: stores, searches and files that it cannot be made of, or written to."""

import sqlite3

import duckdb

import jnas
from borders import Row, command, refused
from jnas.errors import JnasError

_PATH = "the path of a file or folder"
_OTHER = "a.duckdb must be a file that jnas wrote, got another DuckDB file; name another file."
_NONE = "There is no store no.duckdb: name the .duckdb file that a search wrote."
_SQLITE = (
    "a.duckdb must be a DuckDB file that jnas wrote, got a SQLite file; name another file, this one was not changed."
)
_UNKNOWN = "There is no search 'ffff' in a.duckdb: give --experiment one of 0123456789ab, 0123aaaaaaaa."


def _store(*searches):
    store = jnas.Store("a.duckdb")
    store.create()
    for name in searches:
        columns = {"recipe_id": "r", "dataset_fingerprint": "d", "dataset_name": "toy", "split_seed": 0, "seed": 0}
        store.add_experiment(name, in_shape="3x8x8", num_classes=3, config_json={}, **columns)
    return store


def _write(**arguments):
    return jnas.write_report(**({"store": _store("0123456789ab", "0123aaaaaaaa")} | arguments))


def _foreign(folder):
    duckdb.connect(str(folder / "a.duckdb")).execute("CREATE TABLE birds (name VARCHAR)").close()
    return command("report", "a.duckdb")


def _sqlite(folder):
    with sqlite3.connect(folder / "a.duckdb") as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    return command("report", "a.duckdb")


def _half_written(folder):
    path = _store("0123456789ab").path
    path.write_bytes(path.read_bytes()[:5000])
    try:
        return command("report", "a.duckdb")
    except JnasError as error:  # in words of DuckDB, which differ by version
        return str(error)


def _mine(folder):
    (folder / "mine.html").write_text("<html>mine</html>")
    return _write(out="mine.html")


def _within_a_file(folder):
    (folder / "file").write_text("")
    return _write(out=folder / "file" / "a.html")


ROWS = [
    Row("write_report.store", "wrong type", lambda _: jnas.write_report(3), refused("store", _PATH, 3)),
    Row("write_report.out", "wrong type", lambda _: _write(out=3), refused("out", _PATH, 3)),
    Row(
        "write_report.out",
        "wrong value",
        lambda _: _write(out="a.txt"),
        "The report to write must end in .html, got a.txt.",
    ),
    Row(
        "write_report.out",
        "foreign",
        _mine,
        "mine.html exists and is not a report of jnas: name another file with --out.",
    ),
    Row(
        "write_report.out",
        "missing",
        lambda _: _write(out="no/a.html"),
        "no/a.html is in a folder that does not exist: create the folder first.",
    ),
    Row(
        "write_report.out",
        "not writable",
        _within_a_file,
        "{folder}/file/a.html is in a folder that does not exist: create the folder first.",
    ),
    Row(
        "write_report.experiments",
        "wrong type",
        lambda _: _write(experiments="0123"),
        refused("experiments", "ids", "'0123'"),
    ),
    Row(
        "write_report.experiments",
        "wrong type",
        lambda _: _write(experiments=[3]),
        refused("Each of experiments", "text", 3),
    ),
    Row("write_report.experiments", "wrong value", lambda _: _write(experiments=["ffff"]), _UNKNOWN),
    Row(
        "write_report.experiments",
        "right",
        lambda _: _write(experiments=["01234", "0123a"]),
        lambda path: path.parts[-2:] == ("a-report", "index.html"),
    ),
    Row("report --store", "missing", lambda _: command("report", "no.duckdb"), _NONE),
    Row("report --store", "foreign", _foreign, _OTHER),
    Row("report --store", "foreign", _sqlite, _SQLITE),
    Row("report --store", "damaged", _half_written, lambda said: said.startswith("a.duckdb is damaged (")),
    Row(
        "report --store",
        "empty",
        lambda _: _store() and command("report", "a.duckdb"),
        "a.duckdb has no search: run jnas search --store a.duckdb first.",
    ),
    Row(
        "report --experiment",
        "wrong value",
        lambda _: _store("0123456789ab", "0123aaaaaaaa") and command("report", "a.duckdb", "--experiment", "0123"),
        "--experiment must match one search in a.duckdb, got '0123', which matches 2 (0123456789ab, 0123aaaaaaaa); give more of it.",
    ),
    Row(
        "report --out",
        "wrong value",
        lambda _: _store("0123456789ab") and command("report", "a.duckdb", "-o", "a.pdf"),
        "The report to write must end in .html, got a.pdf.",
    ),
    Row(
        "report -o",
        "right",
        lambda _: _store("01", "23") and command("report", "a.duckdb", "--experiment", "01", "2", "-o", "b.html"),
        lambda text: text == "Wrote b.html.\n",
    ),
]
