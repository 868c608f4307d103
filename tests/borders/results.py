"""Pictures, predictors, exports and evolution: what is made of results."""

import functools
import importlib.util
import os

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jnas
from borders import Row, command, is_fine, refused
from jnas.evolve import Categorical, GaussianProcess, GeneticAlgorithm, GuidedEvolution, RandomSearch, pareto_front, run
from jnas.predict import EnsembleConfig, OriginalLSTM, score

_ROWS = {"status": "ok", "phase": "random", "val_acc_final": 0.5, "predicted_mean": 0.4, "macs": 10.0}
_TAKE = "take SearchResult.to_df() or SearchResult.front"
_ENDS = "the name of a picture that ends in .png or .svg"
_SEED = "an integer from 0 to 4,294,967,295"
_PATH = "the path of a file or folder"
_SPACE = Categorical((3, 4))
_GENOMES = jnp.array([[0, 1], [1, 2], [2, 3], [0, 0]])
_SMALL = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=2)


def _frame(**columns):
    return pd.DataFrame(_ROWS | columns, index=[0])


def _search(rows=None, **changes):
    return jnas.plot_search(_frame() if rows is None else rows, **changes)


def _front(rows=None, front=None, **changes):
    return jnas.plot_front(_frame() if rows is None else rows, _frame() if front is None else front, **changes)


def _predictions(**changes):
    return jnas.plot_predictions(**{"measured": [0.1, 0.2], "predicted": [0.1, 0.3], "std": [0.1, 0.1]} | changes)


@functools.cache
def _fitted():
    return jnas.Predictor(0, _SMALL).fit(**_table())


def _table(**changes):
    numbers = np.random.default_rng(0).normal(size=(12, 3, 2))
    return {"sequences": numbers, "lengths": np.full(12, 3), "targets": numbers[:, 0, 0]} | changes


def _fit(**changes):
    return jnas.Predictor(0, _SMALL).fit(**_table(**changes))


def _predict(**changes):
    table = _table(**changes)
    return _fitted().predict(table["sequences"], table["lengths"], table.get("early"))


def _evolve(algorithm=None, fitness=jnp.sum, **changes):
    settings = {"key": jax.random.key(0), "genomes": _GENOMES, "generations": 1} | changes
    return run(GeneticAlgorithm(_SPACE) if algorithm is None else algorithm, fitness, **settings)


def _read_only(folder):
    (folder / "closed").mkdir()
    os.chmod(folder / "closed", 0o500)
    return folder / "closed" / "a.png"


def _of_pictures() -> list[Row]:
    rows, measured = (
        [],
        "measured, predicted, std must be vectors of one length, got (3,) and (2,) and (2,); give one number a row.",
    )
    for name, call in (("plot_search", _search), ("plot_front", _front), ("plot_predictions", _predictions)):
        rows += [
            Row(f"{name}.path", "wrong type", lambda _, call=call: call(path=3), refused("path", _PATH, 3)),
            Row(
                f"{name}.path",
                "wrong value",
                lambda _, call=call: call(path="a.txt"),
                refused("path", _ENDS, "'a.txt'"),
            ),
            Row(
                f"{name}.path",
                "missing",
                lambda _, call=call: call(path="no/a.png"),
                "'no/a.png' cannot be written (No such file or directory): name another file.",
            ),
        ]
        if os.geteuid():  # root writes everywhere
            rows.append(
                Row(
                    f"{name}.path",
                    "not writable",
                    lambda folder, call=call: call(path=_read_only(folder)),
                    "'{folder}/closed/a.png' cannot be written (Permission denied): name another file.",
                )
            )
    return [
        *rows,
        Row("plot_search.rows", "wrong type", lambda _: _search([1]), refused("rows", "a DataFrame", "[1]", _TAKE)),
        Row(
            "plot_search.rows",
            "missing",
            lambda _: _search(_frame().drop(columns="macs")),
            f"rows must have the columns status, phase, macs, predicted_mean, val_acc_final, got none named macs; {_TAKE}.",
        ),
        Row(
            "plot_search.rows",
            "empty",
            lambda _: _search(_frame()[:0]),
            "rows must have a template of status ok, got none of 0; run the search again.",
        ),
        Row("plot_front.rows", "wrong type", lambda _: _front(3), refused("rows", "a DataFrame", 3, _TAKE)),
        Row("plot_front.front", "wrong type", lambda _: _front(front=3), refused("front", "a DataFrame", 3, _TAKE)),
        Row(
            "plot_front.front",
            "empty",
            lambda _: _front(front=_frame()[:0]),
            "front must have values of macs, got none; add it to the objectives of the search.",
        ),
        Row(
            "plot_front.cost",
            "wrong value",
            lambda _: _front(cost="flops"),
            refused("cost", "one of macs, params, memory_bytes, flash_bytes, latency_ms", "'flops'"),
        ),
        Row("plot_predictions.measured", "wrong value", lambda _: _predictions(measured=[0.1, 0.2, 0.3]), measured),
        Row(
            "plot_predictions.measured",
            "wrong type",
            lambda _: _predictions(measured="a"),
            refused("measured", "an array of numbers", "'a'"),
        ),
        Row(
            "plot_predictions.predicted",
            "wrong value",
            lambda _: _predictions(predicted=[0.1, float("nan")]),
            refused("predicted", "finite", "nan", "leave out failed evaluations"),
        ),
        Row("plot_predictions.std", "wrong value", lambda _: _predictions(std=[0.1, -1]), refused("std", ">= 0", "-1")),
        Row(
            "plot_predictions.measured",
            "empty",
            lambda _: _predictions(measured=[], predicted=[], std=[]),
            "measured must have 2 rows or more, got 0; predict more templates.",
        ),
        Row("plot_predictions.title", "wrong type", lambda _: _predictions(title=3), refused("title", "text", 3)),
    ]


def _of_predictors() -> list[Row]:
    shapes = "sequences and lengths must be [N, T, D] and [N], got"
    fields = {
        "members": ("an integer from 1 to 1,000", 0),
        "folds": ("an integer from 2 to 1,000", 1),
        "hidden_dim": ("an integer from 1 to 4,096", 10**12),
        "head_dim": ("an integer from 1 to 4,096", 0.5),
        "num_steps": ("an integer from 1 to 1,000,000", 1.5),
        "batch_size": ("an integer from 1 to 4,096", 0),
        "dropout": ("a number in [0, 1)", 1),
        "input_dropout": ("a number in [0, 1)", -1),
        "epoch_dropout": ("a number in [0, 1)", "high"),
        "learning_rate": ("a finite number > 0", "fast"),
        "huber_delta": ("a finite number > 0", 0),
        "weight_decay": ("a finite number >= 0", -1),
    }
    return [
        *(
            Row(
                f"EnsembleConfig.{n}",
                "wrong value",
                lambda _, n=n, v=v: EnsembleConfig(**{n: v}),
                refused(n, condition, repr(v)),
            )
            for n, (condition, v) in fields.items()
        ),
        Row("Predictor.seed", "wrong type", lambda _: jnas.Predictor("two"), refused("seed", _SEED, "'two'")),
        Row(
            "Predictor.config",
            "wrong type",
            lambda _: jnas.Predictor(0, {}),
            refused("config", "an EnsembleConfig", "{}"),
        ),
        Row("Predictor.prior", "wrong type", lambda _: jnas.Predictor(prior=3), refused("prior", _PATH, 3)),
        Row(
            "Predictor.prior",
            "missing",
            lambda folder: jnas.Predictor(prior=folder / "none.npz"),
            "prior must be a readable file, got {folder}/none.npz (No such file or directory); name a file that "
            "benchmarks/train_prior.py wrote, or None for no prior.",
        ),
        Row(
            "Predictor.prior",
            "foreign",
            lambda folder: np.savez(folder / "a.npz", a=np.zeros(3)) or jnas.Predictor(prior=folder / "a.npz"),
            "prior must be a file of 'jnas prior 1', got {folder}/a.npz; name a file that benchmarks/train_prior.py "
            "wrote, or None for no prior.",
        ),
        Row("OriginalLSTM.seed", "wrong type", lambda _: OriginalLSTM(None), refused("seed", _SEED, None)),
        Row(
            "Predictor.fit.sequences",
            "wrong type",
            lambda _: _fit(sequences="a"),
            refused("sequences", "an array of numbers", "'a'"),
        ),
        Row(
            "Predictor.fit.sequences",
            "wrong value",
            lambda _: _fit(sequences=np.zeros((12, 3))),
            f"{shapes} (12, 3) and (12,); pad Template.vectors, [T, 32] of each template, to one length.",
        ),
        Row(
            "Predictor.fit.sequences",
            "huge",
            lambda _: _fit(sequences=np.full((12, 3, 2), 1e300)),
            "sequences must be finite in all valid steps, as float32, got NaN or infinity; drop them.",
        ),
        Row(
            "Predictor.fit.lengths",
            "wrong type",
            lambda _: _fit(lengths=np.full(12, 2.5)),
            refused("lengths", "an array of integers", "an array of float64 of shape (12,)"),
        ),
        Row(
            "Predictor.fit.targets",
            "wrong type",
            lambda _: _fit(targets=None),
            "targets must be one number for each of 12 sequences, got an array of float64 of shape (); give as many as "
            "sequences.",
        ),
        Row(
            "Predictor.fit.targets",
            "empty",
            lambda _: _fit(sequences=np.zeros((0, 3, 2)), lengths=[], targets=[]),
            "targets must have 10 rows or more, got 0; evaluate more templates.",
        ),
        Row(
            "Predictor.fit.early",
            "wrong type",
            lambda _: _fit(early="a"),
            refused("early", "an array of numbers", "'a'"),
        ),
        Row(
            "Predictor.predict.sequences",
            "wrong value",
            lambda _: _predict(sequences=np.zeros((12, 3, 9))),
            "sequences must be [N, T, 2], as in fit, got an array of float32 of shape (12, 3, 9); give the same features.",
        ),
        Row(
            "Predictor.predict.lengths",
            "wrong value",
            lambda _: _predict(lengths=np.zeros(12, int)),
            "lengths must be in [1, 3], the steps of sequences, got 0 to 0.",
        ),
        Row(
            "Predictor.predict.early",
            "wrong value",
            lambda _: _predict(early=np.zeros((12, 9))),
            "early must be [N, 0] or less, as in fit, got an array of float32 of shape (12, 9); leave later epochs out.",
        ),
        Row(
            "Predictor.predict.sequences",
            "empty",
            lambda _: _predict(sequences=np.zeros((0, 3, 2)), lengths=np.zeros(0, int)),
            lambda got: got[0].shape == (0,),
        ),
        Row("Predictor.save.folder", "wrong type", lambda _: _fitted().save(3), refused("folder", _PATH, 3)),
        Row("Predictor.load.folder", "wrong type", lambda _: jnas.Predictor.load(None), refused("folder", _PATH, None)),
        Row(
            "score.measured",
            "wrong value",
            lambda _: score([1, 2], [1]),
            "measured, predicted must be vectors of one length, got (2,) and (1,); give one number a row.",
        ),
    ]


def _of_evolution() -> list[Row]:
    count = "an integer from 1 to 1,048,576"
    genetic = {
        "batch_size": (count, 0),
        "tournament_size": ("an integer from 1 to 65,536", 0),
        "crossover_rate": ("a number in [0, 1]", 2),
        "num_elites": ("an integer >= 0", -1),
        "max_mutations": ("a finite number >= 1", 0),
        "stagnation_limit": (count, 0),
        "archive_capacity": ("an integer from 1 to 536,870,912", 10**12),
    }
    guided = {
        "max_training_points": ("an integer from 2 to 1,048,576", 1),
        "candidates": ("an integer from 2 to 1,048,576", 1),
        "mutation_rate": ("a finite number >= 0", -1),
    }
    surrogate, space = "a surrogate, such as GaussianProcess()", "a search space, such as jnas.Space() or Categorical"
    return [
        *(
            Row(
                f"GeneticAlgorithm.{n}",
                "wrong value",
                lambda _, n=n, v=v: GeneticAlgorithm(_SPACE, **{n: v}),
                refused(n, condition, v),
            )
            for n, (condition, v) in genetic.items()
        ),
        *(
            Row(
                f"GuidedEvolution.{n}",
                "wrong value",
                lambda _, n=n, v=v: GuidedEvolution(_SPACE, GaussianProcess(), **{n: v}),
                refused(n, condition, v),
            )
            for n, (condition, v) in guided.items()
        ),
        Row("RandomSearch.space", "wrong type", lambda _: RandomSearch((3, 4)), refused("space", space, "(3, 4)")),
        Row(
            "GuidedEvolution.surrogate",
            "wrong type",
            lambda _: GuidedEvolution(_SPACE, None),
            refused("surrogate", surrogate, None),
        ),
        Row(
            "GaussianProcess.steps",
            "wrong value",
            lambda _: GaussianProcess(0),
            refused("steps", "an integer from 1 to 10,000", 0),
        ),
        Row(
            "GaussianProcess.learning_rate",
            "wrong value",
            lambda _: GaussianProcess(1, 0),
            refused("learning_rate", "a finite number > 0", 0),
        ),
        Row(
            "Categorical.num_categories",
            "wrong type",
            lambda _: Categorical(3),
            refused("num_categories", "a list with the number of values of each gene", 3),
        ),
        Row(
            "Categorical.num_categories",
            "wrong value",
            lambda _: Categorical((1, 1)),
            refused("num_categories", ">= 2 for some gene", "(1, 1)"),
        ),
        Row(
            "Categorical.num_categories",
            "empty",
            lambda _: Categorical(()),
            refused("num_categories", ">= 2 for some gene", "()"),
        ),
        Row(
            "run.algorithm",
            "wrong type",
            lambda _: _evolve("genetic"),
            refused("algorithm", "an Algorithm", "'genetic'"),
        ),
        Row("run.fitness", "wrong type", lambda _: _evolve(fitness=[1.0]), refused("fitness", "a function", "[1.0]")),
        Row(
            "run.key",
            "wrong type",
            lambda _: _evolve(key=0),
            refused("key", "one random key", 0, "make it with jax.random.key(seed)"),
        ),
        Row(
            "run.genomes",
            "wrong type",
            lambda _: _evolve(genomes=np.zeros((3, 2))),
            refused(
                "genomes",
                "integers with an axis of members and one of genes",
                "an array of float32 of shape (3, 2)",
                "space.sample makes them",
            ),
        ),
        Row(
            "run.generations",
            "wrong value",
            lambda _: _evolve(generations=-1),
            refused("generations", "an integer from 0 to 2,147,483,647", -1),
        ),
        Row(
            "run.fitness_args",
            "wrong type",
            lambda _: _evolve(fitness_args=3),
            refused("fitness_args", "a tuple of arrays", 3),
        ),
        Row(
            "run.initial_fitness",
            "wrong value",
            lambda _: _evolve(initial_fitness=np.zeros(3)),
            "fitness must be a number, or a row of objectives, for each of 4 genomes, got an array of float32 of shape "
            "(3,).",
        ),
        Row(
            "pareto_front.objectives",
            "wrong value",
            lambda _: pareto_front([1, 2]),
            refused(
                "objectives",
                "[N, M], a row for each candidate",
                "an array of float64 of shape (2,)",
                "numpy.column_stack makes it of vectors",
            ),
        ),
    ]


def _of_onnx_files() -> list[Row]:
    if not importlib.util.find_spec("onnxruntime"):
        return []
    sentence = "{} must be an ONNX model of images, got none that can be run ({})."
    return [
        Row(
            "latency --models",
            "missing",
            lambda _: command("latency", "no.onnx"),
            sentence.format("no.onnx", "missing"),
        ),
        Row(
            "latency --models",
            "foreign",
            lambda folder: (folder / "a.onnx").write_text("no model") and command("latency", "a.onnx"),
            sentence.format("a.onnx", "InvalidProtobuf"),
        ),
    ]


def _of_exports() -> list[Row]:
    no_store = "There is no store {folder}/a.duckdb: name the .duckdb file that a search wrote."
    rows = [
        Row(
            f"export_model.{name}",
            "wrong type",
            lambda _, n=name: jnas.export_model(**{n: 3}),
            refused(name, condition, 3),
        )
        for name, condition in {"hash": "text", "out": _PATH, "experiment": "text", "check": "True or False"}.items()
    ]
    forms = "all, flax, onnx, torch, stablehlo, int8"
    rows += [
        Row(
            "export_model.format",
            "wrong type",
            lambda _: jnas.export_model(format=3),
            refused("format", f"names among {forms}", 3),
        ),
        Row(
            "export_model.format",
            "wrong value",
            lambda _: jnas.export_model(format="tflite"),
            refused("format", f"one of {forms}", "'tflite'"),
        ),
        Row(
            "export_model.format",
            "empty",
            lambda _: jnas.export_model(format=[]),
            f"format must be names among {forms}, got none of them; leave it out for all that are installed.",
        ),
        Row(
            "export_model.input",
            "wrong value",
            lambda _: jnas.export_model(input="int8"),
            refused("input", "one of uint8, float32", "'int8'"),
        ),
        Row(
            "export_model.views",
            "wrong type",
            lambda _: jnas.export_model(views=2),
            refused("views", "True or False", 2),
        ),
        Row(
            "export_model.graph",
            "wrong value",
            lambda _: jnas.export_model(opset=9),
            "An export has no setting 'opset': give any of input, views.",
        ),
        Row(
            "export --format",
            "wrong value",
            lambda _: command("export", "--format", "onnx", "tflite"),
            refused("format", f"one of {forms}", "'tflite'"),
        ),
        Row(
            "export --input",
            "wrong value",
            lambda _: command("export", "--input", "int8"),
            refused("input", "one of uint8, float32", "'int8'"),
        ),
        Row(
            "export --views",
            "wrong value",
            lambda _: command("export", "--view"),
            "'--view' is no option of jnas export: perhaps you mean --views.",
        ),
        Row(
            "latency --models",
            "empty",
            lambda _: command("latency"),
            "models must be one or more ONNX files, got none.",
        ),
        *_of_onnx_files(),
    ]
    for name, value in {"hash": "zz", "out": "b", "experiment": "zz", "data": "no.npz"}.items():
        words = ("export", "{store}", f"--{name}", value)
        rows.append(
            Row(f"export --{name}", "missing", lambda f, w=words: command(w[0], str(f / "a.duckdb"), *w[2:]), no_store)
        )
    return [
        *rows,
        Row(
            "export --check",
            "wrong value",
            lambda _: command("export", "--checks"),
            "'--checks' is no option of jnas export: perhaps you mean --check.",
        ),
        Row("export --store", "missing", lambda folder: command("export", str(folder / "a.duckdb")), no_store),
        Row(
            "cache --clear",
            "wrong value",
            lambda _: command("cache", "--clears"),
            "'--clears' is no option of jnas cache: perhaps you mean --clear.",
        ),
        Row("cache", "right", lambda _: command("cache"), is_fine),
    ]


ROWS = [*_of_pictures(), *_of_predictors(), *_of_evolution(), *_of_exports()]
