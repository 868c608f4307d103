"""Folders of weights, predictors and populations: where they cannot be written or read."""

import json
from pathlib import Path

import numpy as np
from conftest import small_arrays

import jnas
from borders import Row
from jnas._runtime import checkpoint
from jnas._search.config import SearchConfig
from jnas.predict import Predictor

ARRAYS = {"a": np.arange(6.0)}
TINY = {"num_random": 1, "known_networks": False, "generations": 0, "epochs": 1, "batch_size": 24, "verbose": False}


def save(name, arrays=ARRAYS):
    return lambda folder: checkpoint.save(folder / name, arrays, {})


def after(make, call):
    """A call after a file or folder was made."""

    def called(folder):
        make(folder)
        return call(folder)

    return called


def search(folder):
    return jnas.search(small_arrays(), store=str(folder / "a.duckdb"), **TINY)


def no_store_is_made(call):
    def checked(folder):
        try:
            return call(folder)
        finally:
            assert not (folder / "a.duckdb").exists()

    return checked


def a_file(name):
    return lambda folder: (folder / name).write_text("of the user")


def cut(name):
    """Makes a checkpoint, and cuts all files of that name."""

    def make(folder):
        save("a")(folder)
        for path in filter(Path.is_file, (folder / "a").rglob(name)):
            path.write_bytes(path.read_bytes()[:-1])

    return make


def restore(folder, target=ARRAYS):
    return checkpoint.restore(folder / "a", target)


def user_folder(folder):
    (folder / "mine").mkdir()
    a_file("mine/thesis.txt")(folder)


def is_saved(folder: Path):
    return json.loads((folder / "metadata.json").read_text()) == {} and not list(folder.parent.glob(".unfinished*"))


DATA = jnas.load_data(small_arrays())
CONFIG = SearchConfig(**{name: value for name, value in TINY.items() if name != "verbose"})
EXPERIMENT = CONFIG.experiment_id(DATA)
CANNOT = (
    "The checkpoint {folder}/%s cannot be written (Not a directory): make sure that its folder can be written to, and "
    "that the disk has room."
)
EXISTS = CANNOT.replace("Not a directory", "File exists")
FOREIGN = "{folder}/%s must be a new folder or a checkpoint, got files of others; name another folder."
DAMAGED = "The arrays in {folder}/a are damaged or have another shape: save them again."

ROWS = [
    Row("checkpoint.save", "not writable", after(a_file("a"), save("a/b")), EXISTS % "a/b"),
    Row("checkpoint.save", "not writable", after(a_file("a"), save("a/b/c")), CANNOT % "a/b/c"),
    Row(
        "search.store",
        "not writable",
        no_store_is_made(after(a_file("a.checkpoints"), search)),
        CANNOT % f"a.checkpoints/{EXPERIMENT}",
    ),
    Row("checkpoint.save", "foreign", after(a_file("a"), save("a")), FOREIGN % "a"),
    Row("checkpoint.save", "foreign", after(user_folder, save("mine")), FOREIGN % "mine"),
    Row(
        "checkpoint.save",
        "right",
        lambda folder: [save("a/b")(folder), save("a/b")(folder), folder / "a" / "b"][-1],
        is_saved,
    ),
    Row(
        "checkpoint.save",
        "right",
        lambda folder: [(folder / "a").mkdir(), save("a")(folder), folder / "a"][-1],
        is_saved,
    ),
    Row(
        "checkpoint.load_metadata",
        "missing",
        lambda folder: checkpoint.load_metadata(folder / "a"),
        "{folder}/a is not a checkpoint of jnas: name a folder that jnas wrote.",
    ),
    Row("checkpoint.restore", "damaged", after(cut("[dm]*"), restore), DAMAGED),
    Row("checkpoint.restore", "damaged", after(cut("digests.json"), restore), DAMAGED),
    Row("checkpoint.restore", "foreign", after(save("a"), lambda folder: restore(folder, {"a": np.zeros(5)})), DAMAGED),
    Row(
        "Predictor.load",
        "foreign",
        after(user_folder, lambda folder: Predictor.load(folder / "mine")),
        "{folder}/mine is not a checkpoint of jnas: name a folder that jnas wrote.",
    ),
]
