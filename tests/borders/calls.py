"""A search's own arguments, settings that depend on one another, and files that the commands name."""

import functools

from conftest import small_arrays

import jnas
from borders import Row, command, refused
from borders.architectures import _evaluate, _halve

_PATH = "the path of a file or folder"
_SOURCES = "give 'excerpt', 'cifar10', the path of a folder, a CSV, Parquet or .npz file, or arrays x_train and y_train"
_NO_FILE = f"There is no file or folder no.npz: check the name, or {_SOURCES}."
_NO_SOURCE = refused("The source of images", _PATH, 3, _SOURCES)
_TEXT = "neither an archive nor a database " * 9


def _text(folder, name="text.npz"):
    (folder / name).write_text(_TEXT)
    return name


def _folder(folder):
    (folder / "folder").mkdir()
    return "folder"


def _stored(*words):
    jnas.Store("a.duckdb")
    return command("store", "a.duckdb", *words)


def _made():
    jnas.Store("a.duckdb").create()
    return "a.duckdb"


_NO_STORE = "There is no store no.duckdb: name the .duckdb file that a search wrote."
_NO_FLAG = "'%ss' is no option of jnas %s: perhaps you mean %s."
_TABLES = "jnas, recipes, experiments, architectures, evaluations, epochs, programs, candidates, latencies, fronts, generations, predictors"
_IS_FOLDER = "The store must be a file, got the folder folder; name a file in it."
_SINGLE = "give single settings as keywords, such as epochs=5"
_OF_STORES = [
    ("evaluate.store", lambda store: _evaluate(store=store)),
    ("successive_halving.store", lambda store: _halve(store=store)),
    ("search.store", lambda store: jnas.search(store=store)),
    ("Store.path", lambda store: jnas.Store(store)),
]

_NUMBER = "give one array of numbers, with images of one size (numpy.stack makes one of a list)"
_NUMBERED = "give the labels 0, 1, 2 and so on: of rows with labels.argmax(-1), of words with numpy.unique(labels, return_inverse=True)[1]"
_BOTH = "toy must have both x_val and y_val, or none of them, got only"
_OF_DATASET = {
    "name": (3, "The name of a data set must be text, got 3."),
    "x_train": (
        "a",
        f"x_train of toy must be uint8, from 0 to 255, of shape [N, height, width, channels], got str; {_NUMBER}.",
    ),
    "y_train": (
        "a",
        f"y_train of toy must be one whole number for each of 96 images, got 'a'; {_NUMBERED}.",
    ),
    "x_test": (
        3,
        "x_test of toy must be uint8, from 0 to 255, of shape [N, 8, 8, 3], got int64 of shape (); give one array with these axes and convert them to uint8 with .round().astype('uint8').",
    ),
    "y_test": (
        [0.5],
        f"y_test of toy must be one whole number for each of 24 images, got [0.5]; {_NUMBERED}.",
    ),
    "classes": ("3", "The number of classes of toy must be an integer from 2 to 2,147,483,647, got '3'."),
    "x_val": ([3], f"{_BOTH} x_val."),
    "y_val": ([3], f"{_BOTH} y_val."),
    "class_names": ("abc", "class_names of toy must be a list of text, got 'abc'."),
}


def _dataset(**changes):
    return jnas.Dataset(**{"name": "toy"} | small_arrays() | changes)


@functools.cache
def _fitted():
    search = {"num_random": 2, "known_networks": False, "generations": 0, "epochs": 1, "final_epochs": 1}
    search |= {"conv_num": 1, "lin_num": 1, "batch_size": 24}
    return jnas.Classifier(**search).fit(small_arrays()["x_train"], small_arrays()["y_train"])


_AXES = "give one array with these axes and convert them to uint8 with .round().astype('uint8')"
_OF_8 = "images must be uint8, from 0 to 255, of shape [N, 8, 8, 3], got"
_NO_IMAGES = (
    "x_train of your arrays must be uint8, from 0 to 255, of shape [N, height, width, channels], got int64 of shape (); "
    f"{_AXES}."
)
_ONE_LABEL = "one word or whole number for each image"
_OF_CLASSIFIER = (
    ("Classifier.verbose", lambda: jnas.Classifier(3).fit([], []), refused("verbose", "True or False", 3)),
    ("Classifier.fit.x", lambda: jnas.Classifier().fit(3, [0, 1]), _NO_IMAGES),
    ("Classifier.fit.y", lambda: jnas.Classifier().fit([], [0.5]), refused("y", _ONE_LABEL, "[0.5]")),
    ("Classifier.predict.x", lambda: _fitted().predict("a"), f"{_OF_8} str; {_NUMBER}."),
    ("Classifier.predict_proba.x", lambda: _fitted().predict_proba(None), f"{_OF_8} NoneType; {_NUMBER}."),
    ("Classifier.score.x", lambda: _fitted().score(3, [1]), f"{_OF_8} int64 of shape (); {_AXES}."),
    ("Classifier.score.y", lambda: _fitted().score(small_arrays()["x_test"], {}), refused("y", _ONE_LABEL, "{}")),
    ("Classifier.get_params.deep", lambda: jnas.Classifier().get_params(3), refused("deep", "True or False", 3)),
)


ROWS = [
    *(Row(name, "wrong type", lambda _, call=call: call(), said) for name, call, said in _OF_CLASSIFIER),
    *(
        Row(f"Dataset.{n}", "wrong type", lambda _, n=n, v=v: _dataset(**{n: v}), said)
        for n, (v, said) in _OF_DATASET.items()
    ),
    Row(
        "Dataset.split.val_fraction",
        "wrong type",
        lambda _: _dataset().split("0.2"),
        refused("val_fraction", "a number in (0, 1)", "'0.2'"),
    ),
    Row(
        "Dataset.split.val_fraction",
        "wrong value",
        lambda _: _dataset().split(0.001),
        refused(
            "val_fraction", "such that images are left on both sides", 0.001, "give more than this, 0 of 96 images"
        ),
    ),
    Row(
        "Dataset.split.seed",
        "wrong value",
        lambda _: _dataset().split(0.2, -1),
        refused("seed", "an integer from 0 to 4,294,967,295", -1),
    ),
    Row("load_data.source", "wrong type", lambda _: jnas.load_data(3), _NO_SOURCE),
    Row(
        "load_data.classes",
        "wrong type",
        lambda _: jnas.load_data("excerpt", "3"),
        "classes must be an integer from 2 to 2,147,483,647, got '3'.",
    ),
    Row(
        "search.config",
        "wrong type",
        lambda _: jnas.search(config={}),
        refused("config", "a SearchConfig", "{}", _SINGLE),
    ),
    Row(
        "search.preset",
        "wrong value",
        lambda _: jnas.search(preset="best"),
        refused("preset", "one of gpu", "'best'", "leave it out for none"),
    ),
    Row(
        "search.preset",
        "wrong value",
        lambda _: jnas.search(config=jnas.SearchConfig(), preset="gpu"),
        "preset must be None where a config is given, got 'gpu'; SearchConfig.from_preset makes a config of it.",
    ),
    Row(
        "search.callbacks",
        "wrong type",
        lambda _: jnas.search(callbacks=True),
        refused("callbacks", "a list of Callbacks", True),
    ),
    Row(
        "search.callbacks",
        "wrong value",
        lambda _: jnas.search(callbacks=[print]),
        refused("Each of callbacks", "a Callback", print),
    ),
    Row("search.verbose", "wrong type", lambda _: jnas.search(verbose=1), refused("verbose", "True or False", 1)),
    Row(
        "SearchConfig.latencies", "wrong type", lambda _: jnas.SearchConfig(latencies=3), refused("latencies", _PATH, 3)
    ),
    *(
        Row(
            f"{subject}latencies",
            "missing",
            lambda _, call=call: call("no.json"),
            refused("latencies", "a file that jnas latency or an export's latency.py printed", "'no.json'"),
        )
        for subject, call in (
            ("search.", lambda file: jnas.search(small_arrays(), latencies=file, batch_size=24)),
            ("search --", lambda file: command("search", "--latencies", file)),
        )
    ),
    Row("search.data", "wrong type", lambda _: jnas.search(3), _NO_SOURCE),
    Row("search.data", "missing", lambda _: jnas.search("no.npz"), _NO_FILE),
    Row(
        "search.options",
        "wrong value",
        lambda _: jnas.search(epoch=3),
        "A search has no setting 'epoch': perhaps you mean epochs.",
    ),
    Row(
        "search.options",
        "wrong value",
        lambda _: jnas.search(xyz=3),
        "A search has no setting 'xyz': see the fields of SearchConfig.",
    ),
    Row("SearchConfig.data", "wrong type", lambda _: jnas.SearchConfig(data=3), refused("data", _PATH, 3)),
    Row("SearchConfig.store", "wrong type", lambda _: jnas.SearchConfig(store=3), refused("store", _PATH, 3)),
    Row("SearchConfig.out", "wrong type", lambda _: jnas.SearchConfig(out=3), refused("out", _PATH, 3)),
    Row("search.out", "wrong type", lambda _: jnas.search(out=3), refused("out", _PATH, 3)),
    Row(
        "search --out",
        "wrong value",
        lambda folder: command("search", "--out", _text(folder)),
        refused("out", "a folder, or one that can be made", "'text.npz'", "name another one with --out (File exists)"),
    ),
    Row("open.store", "wrong type", lambda _: jnas.open(3), refused("store", _PATH, 3)),
    Row("open.experiment", "wrong type", lambda _: jnas.open(_made(), 3), refused("experiment", "text", 3)),
    Row("open.store", "missing", lambda _: jnas.open("no.duckdb"), _NO_STORE),
    Row("show STORE", "missing", lambda _: command("show", "no.duckdb"), _NO_STORE),
    Row("show STORE", "missing", lambda _: command("show"), _NO_STORE.replace("no.", "jnas-run/jnas.")),
    Row(
        "show --store",
        "wrong value",
        lambda _: command("show", _made()),
        "a.duckdb has no search: run jnas search --store a.duckdb first.",
    ),
    Row(
        "show --experiment",
        "wrong value",
        lambda _: command("show", _made(), "--experiment", "1"),
        "a.duckdb has no search: run jnas search --store a.duckdb first.",
    ),
    *(
        Row(
            f"{name} {flag}",
            "wrong value",
            lambda _, n=name, f=flag: command(n, f"{f}s"),
            _NO_FLAG % (flag, name, flag),
        )
        for name, flag in (("show", "--json"), ("search", "--quiet"), ("store", "--optuna"))
    ),
    Row(
        "SearchConfig.from_preset.preset",
        "wrong type",
        lambda _: jnas.SearchConfig.from_preset(3),
        refused("preset", "one of gpu", 3, "leave it out for none"),
    ),
    Row(
        "SearchConfig.start",
        "wrong type",
        lambda _: jnas.SearchConfig(start=3),
        refused("start", "hashes of templates", 3),
    ),
    Row("search.start", "wrong type", lambda _: jnas.search(start=3), refused("start", "hashes of templates", 3)),
    Row(
        "search --start",
        "wrong value",
        lambda _: command("search", "--start", "x"),
        "hash must be 8 hex digits per layer, got 'x'; copy the whole hash as Template.hash prints it.",
    ),
    Row(
        "SearchConfig.objectives",
        "wrong value",
        lambda _: jnas.SearchConfig(objectives=("macs",)),
        "objectives must have accuracy and each name once, got macs.",
    ),
    Row(
        "SearchConfig.objectives",
        "right",
        lambda _: jnas.SearchConfig(objectives="accuracy"),
        lambda config: config == jnas.SearchConfig(),
    ),
    Row(
        "SearchConfig.prune_after_epochs",
        "wrong value",
        lambda _: jnas.SearchConfig(epochs=3, prune_after_epochs=3),
        refused("prune_after_epochs", "less than epochs (3)", 3, "use 0 to train all to the end"),
    ),
    Row(
        "search --preset",
        "wrong value",
        lambda _: command("search", "--preset", "best"),
        refused("preset", "one of gpu", "'best'", "leave it out for none"),
    ),
    Row("evaluate.data", "wrong type", lambda _: _evaluate(data=3), _NO_SOURCE),
    Row("successive_halving.data", "wrong type", lambda _: _halve(data=3), _NO_SOURCE),
    Row("export_model.store", "wrong type", lambda _: jnas.export_model(3), refused("store", _PATH, 3)),
    *(
        Row(f"{words[0]} --data", "missing", lambda _, words=words: command(*words, "--data", "no.npz"), _NO_FILE)
        for words in (("search",), ("evaluate", "--random", "1"))
    ),
    *(
        Row(
            f"{words[0]} --store",
            "wrong value",
            lambda f, words=words: command(*words, "--store", _folder(f)),
            _IS_FOLDER,
        )
        for words in (("search",), ("evaluate", "--random", "1"))
    ),
    *(
        Row(subject, "wrong type", lambda _, call=call: call(3), refused("store", _PATH, 3))
        for subject, call in _OF_STORES
    ),
    *(Row(subject, "wrong value", lambda f, call=call: call(_folder(f)), _IS_FOLDER) for subject, call in _OF_STORES),
    Row(
        "Store.lock_timeout",
        "wrong type",
        lambda _: jnas.Store("a.duckdb", "x"),
        refused("lock_timeout", "a finite number >= 0", "'x'"),
    ),
    Row(
        "store --store",
        "missing",
        lambda _: command("store", "no.duckdb"),
        "There is no store no.duckdb: name the .duckdb file that a search wrote.",
    ),
    Row("Store.sql.query", "wrong type", lambda _: jnas.Store("a.duckdb").sql(3), refused("query", "text", 3)),
    Row(
        "Store.sql.parameters",
        "wrong type",
        lambda _: jnas.Store("a.duckdb").sql("SELECT ?", 3),
        refused("parameters", "a list of values, one for each ?", 3),
    ),
    Row(
        "store --export",
        "wrong value",
        lambda _: _stored("--export", "a.txt"),
        "The file to write must end in .parquet or .csv, got a.txt.",
    ),
    Row(
        "store --table",
        "wrong value",
        lambda _: _stored("--export", "a.csv", "--table", "x"),
        refused("table", f"one of {_TABLES}", "'x'"),
    ),
    Row(
        "store --overwrite",
        "wrong value",
        lambda _: _stored("--overwrites"),
        "'--overwrites' is no option of jnas store: perhaps you mean --overwrite.",
    ),
]
