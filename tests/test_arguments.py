"""Whatever arguments a public function is given, it returns, or raises a `JnasError`: drawn by hypothesis."""

import decimal
import fractions
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import small_arrays
from hypothesis import given, settings
from hypothesis import strategies as st

import jnas
from jnas.errors import JnasError
from jnas.evolve import (
    NSGA2,
    Categorical,
    GaussianProcess,
    GeneticAlgorithm,
    GuidedEvolution,
    RandomSearch,
    RegularizedEvolution,
    pareto_front,
    run,
)
from jnas.predict import EnsembleConfig, OriginalLSTM, calibration, score
from jnas.train import EngineOptions, HalvingSchedule

IS_EXHAUSTIVE = bool(os.environ.get("JNAS_TEST_ALL"))
EXAMPLES = 1000 if IS_EXHAUSTIVE else 25
pytestmark = [pytest.mark.exhaustive] if IS_EXHAUSTIVE else []  # a thousand searches take longer than a test may
HASH = "00811005200000000025480001000000"
TEMPLATE = jnas.Template.from_hash(HASH, (3, 8, 8), 3)
SPACE = jnas.Space((3, 8, 8), 3, 1, 1)
GENES = Categorical((3, 4))
ROWS = {"status": "ok", "phase": "random", "val_acc_final": 0.5, "predicted_mean": 0.4, "macs": 10.0}
FRAME = pd.DataFrame(ROWS, index=[0])
NUMBERS = np.random.default_rng(0).normal(size=(12, 3, 2))


class Hostile:
    """An object whose text cannot be had."""

    def __repr__(self):
        raise RuntimeError("no text")


WRONG = [
    *(None, "", "abc", "3", "\0", "x" * 5000, b"3", b"", True, False, 0, -1, 2.5, 1e300, 1j),
    *(float("nan"), float("inf"), -float("inf"), 10**12, -(10**12), 10**400, 2**32, 2**63),
    *([], (), {}, set(), [None], [3], ["abc"], (1, 2), {"a": 1}, range(3), object(), Hostile(), int, len),
    *(np.zeros(3), np.zeros((2, 2)), np.array(3.5), np.array(["a"]), np.zeros((0, 3)), np.float32("nan")),
    *(np.datetime64("2020-01-01"), np.array([None, 1], object), jnp.ones(2), jnp.bfloat16(1), jax.random.key(0)),
    *(pd.NA, FRAME, FRAME[:0], FRAME.macs, decimal.Decimal("NaN"), fractions.Fraction(1, 3), Path("."), Path("no/a")),
    *(TEMPLATE, SPACE, jnas.Recipe(), HASH, "a.duckdb", "a.png", "standard"),
]


SEEDS = [0, np.int64(1), jnp.uint32(2)]
FRACTIONS = [0.25, np.float32(0.5)]
COUNTS = [1, 2, np.int16(2), 2.0]
FLAGS = [True, np.bool_(False)]
KEYS = [jax.random.key(0), jax.random.PRNGKey(0)]
RECIPES = [jnas.Recipe(epochs=1, batch_size=24), "sophius", None]
TEMPLATES = [TEMPLATE, [TEMPLATE], (HASH,), np.array([HASH]), jnas.Trial(TEMPLATE, 3)]
DATA = [small_arrays(), jnas.load_data(small_arrays())]
GENOMES = np.array([[0, 1], [1, 2], [2, 3], [0, 0]])
TABLE = {"sequences": [NUMBERS, NUMBERS.tolist()], "lengths": [np.full(12, 3), [3.0] * 12]}
TARGETS = [NUMBERS[:, 0, 0], list(range(12))]
EARLY = [None, np.full((12, 2), 0.5)]
VECTORS = [[0.1, 0.2, 0.3], np.array([0.3, 0.2, 0.1], np.float32)]
RATES = [None, (1e-4, 1e-2), [0.1, 0.1]]
PATHS = [None, "a.png", Path("b.svg")]

RECIPE = {
    **{"epochs": COUNTS, "batch_size": COUNTS, "optimizer": ["sgd"], "learning_rate": FRACTIONS},
    **{
        "weight_decay": FRACTIONS,
        "schedule": ["triangular"],
        "lr_decay": FRACTIONS,
        "norm_bias_rate": FRACTIONS,
        "label_smoothing": FRACTIONS,
    },
    **{
        "flip": FLAGS,
        "alternating_flip": FLAGS,
        "shift": COUNTS,
        "cut_out": COUNTS,
        "test_flip": FLAGS,
        "test_shift": COUNTS,
        "val_fraction": FRACTIONS,
    },
    **{"precision": ["float32"]},
}
SETTINGS = {
    **{"size": [None, 8, "8", (8, 8)], "fit": ["crop"]},
    **{"classes": [None, 3], "recipe": ["standard"], "batch_size": [24], "learning_rate": FRACTIONS},
    **{
        "val_fraction": FRACTIONS,
        "flip": FLAGS,
        "shift": COUNTS,
        "cut_out": COUNTS,
        "test_flip": FLAGS,
        "test_shift": COUNTS,
        "space": ["modern"],
    },
    **{
        "conv_num": [1],
        "lin_num": [1],
        "max_params": [None],
        "max_macs": [100_000],
        "max_memory_kb": [None],
        "workers": [None, "0"],
        "compile_timeout": COUNTS,
    },
    **{
        "seed": SEEDS,
        "out": ["out"],
        "store": ["a.duckdb"],
        "num_random": [1],
        "known_networks": [True],
        "report": [False],
        "start": ["00" * 4],
    },
    **{"train_images": [None, 9], "generations": [0], "minutes": [5], "max_trials": [1]},
    **{"target_accuracy": FRACTIONS, "trials_per_generation": COUNTS},
    **{"objectives": ["accuracy", ("accuracy", "macs")], "epochs": [1]},
    **{"prune_after_epochs": [0], "num_promoted": [0], "final_epochs": [1], "final_repeats": [1], "num_finalists": [1]},
    **{
        "max_flash_kb": [None],
        "max_latency_ms": [None],
        "latencies": [None],
        "precision": ["float32"],
        "alternating_flip": FLAGS,
    },
    **{"metric": ["macro_f1"], "class_weights": ["none", "balanced"]},
}
NOT_SETTINGS = {"data": DATA, "config": [None], "preset": [None], "callbacks": [()], "verbose": FLAGS}
TRAINING = {"templates": TEMPLATES, "data": DATA, "recipe": RECIPES, "seed": SEEDS, "store": [None], "progress": FLAGS}
GENETIC = {
    **{"space": [GENES, SPACE], "batch_size": [None, 2], "tournament_size": COUNTS, "crossover_rate": FRACTIONS},
    **{"num_elites": COUNTS, "max_mutations": COUNTS, "stagnation_limit": [None, 3], "archive_capacity": [64]},
}
CALLS = {
    "Recipe": (jnas.Recipe, RECIPE),
    "Recipe.standard": (jnas.Recipe.standard, RECIPE),
    "Recipe.sophius": (jnas.Recipe.sophius, RECIPE),
    "Recipe.of": (jnas.Recipe.of, {"recipe": RECIPES}),
    "Recipe.from_json": (jnas.Recipe.from_json, {"text": [jnas.Recipe().to_json()]}),
    "SearchConfig": (jnas.SearchConfig, SETTINGS | {"data": ["excerpt"]}),
    "SearchConfig.from_preset": (jnas.SearchConfig.from_preset, {"preset": ["gpu", None]}),
    "search": (jnas.search, SETTINGS | NOT_SETTINGS),
    "evaluate": (jnas.evaluate, TRAINING | {"split_seed": SEEDS, "options": [None, EngineOptions()]}),
    "successive_halving": (
        jnas.successive_halving,
        TRAINING | {"schedule": [None, HalvingSchedule()], "options": [None, EngineOptions()]},
    ),
    "EngineOptions": (
        EngineOptions,
        {
            "max_memory": [None, 10**9],
            "compile_timeout": COUNTS,
            "workers": ["0"],
            "on_epoch": [print],
            "should_stop": [lambda: False],
        },
    ),
    "HalvingSchedule": (HalvingSchedule, {"min_epochs": COUNTS, "reduction_factor": [2]}),
    "HalvingSchedule.rungs": (HalvingSchedule().rungs, {"max_epochs": COUNTS}),
    "Trial": (jnas.Trial, {"template": [TEMPLATE], "seed": SEEDS, "learning_rate": FRACTIONS, "weight_decay": [0]}),
    "sample_trials": (
        jnas.sample_trials,
        {
            **{"space": [SPACE], "seed": SEEDS, "num_templates": COUNTS, "trials_per_template": COUNTS},
            **{"learning_rate": RATES, "weight_decay": RATES},
        },
    ),
    "Space": (
        jnas.Space,
        {
            **{"in_shape": [(3, 8, 8), np.array([3, 8, 8])], "classes": [3], "conv_num": COUNTS, "lin_num": COUNTS},
            **{"style": ["modern"], "max_params": [None, 9], "max_macs": [None, np.int64(9)]},
            **{"max_memory_kb": [None, 9], "max_flash_kb": [None, np.int64(9)]},
        },
    ),
    "Space.random": (SPACE.random, {"seed": SEEDS}),
    "Space.sample": (SPACE.sample, {"key": KEYS, "count": [2]}),
    "Space.sample_valid": (SPACE.sample_valid, {"key": KEYS, "count": [2], "min_count": [None, 2]}),
    "Space.template": (SPACE.template, {"genome": [np.zeros((3, 6), np.int8)]}),
    "Template": (jnas.Template, {"layers": [TEMPLATE.layers, iter([])], "in_shape": [(3, 8, 8), [3, 8, 8]]}),
    "Template.from_hash": (
        jnas.Template.from_hash,
        {"arch_hash": [HASH, np.str_(HASH)], "in_shape": [(3, 8, 8)], "classes": [3, np.int64(3), jnp.int32(3)]},
    ),
    "Template.build": (TEMPLATE.build, {"rngs": [3]}),
    "load_data": (
        jnas.load_data,
        {"source": DATA, "classes": [None, 3], "size": [None, 8], "fit": ["pad"], "progress": FLAGS},
    ),
    "Dataset": (jnas.Dataset, {"name": ["toy"], "classes": [None, 3]} | {n: [a] for n, a in small_arrays().items()}),
    "Dataset.split": (DATA[1].split, {"val_fraction": FRACTIONS, "seed": SEEDS}),
    "Store": (jnas.Store, {"path": ["a.duckdb"], "lock_timeout": COUNTS}),
    "Store.sql": (jnas.Store.sql, {"query": ["SELECT 1"], "parameters": [()]}),
    "Predictor": (jnas.Predictor, {"seed": SEEDS, "config": [EnsembleConfig()], "prior": ["table", None]}),
    "Predictor.fit": (jnas.Predictor.fit, TABLE | {"targets": TARGETS, "early": EARLY}),
    "Predictor.predict": (jnas.Predictor.predict, TABLE | {"early": EARLY}),
    "Predictor.save": (jnas.Predictor.save, {"folder": ["folder"]}),
    "Predictor.load": (jnas.Predictor.load, {"folder": ["folder"]}),
    "OriginalLSTM": (OriginalLSTM, {"seed": SEEDS}),
    "EnsembleConfig": (
        EnsembleConfig,
        {
            **{"members": COUNTS, "folds": [2], "hidden_dim": COUNTS, "dropout": FRACTIONS, "num_steps": COUNTS},
            **{"batch_size": COUNTS, "learning_rate": FRACTIONS, "weight_decay": FRACTIONS, "huber_delta": FRACTIONS},
        },
    ),
    "score": (score, {"measured": VECTORS, "predicted": VECTORS}),
    "calibration": (calibration, {"measured": VECTORS, "predicted": VECTORS, "std": VECTORS}),
    "plot_search": (jnas.plot_search, {"rows": [FRAME], "path": PATHS}),
    "plot_front": (jnas.plot_front, {"rows": [FRAME], "front": [FRAME], "path": PATHS, "cost": ["macs"]}),
    "plot_predictions": (
        jnas.plot_predictions,
        {"measured": VECTORS, "predicted": VECTORS, "std": VECTORS, "path": PATHS, "title": ["toy"]},
    ),
    "write_report": (
        jnas.write_report,
        {"store": ["a.duckdb"], "out": [None, "a.html", Path("b.html")], "experiments": [(), ["01"], ("0123",)]},
    ),
    "export_model": (
        jnas.export_model,
        {
            **{"store": ["a.duckdb"], "hash": [None, HASH], "out": [None, "out"], "experiment": [None], "check": FLAGS},
            **{"format": [None, "all", ["flax"], ("flax", "onnx")], "input": ["uint8", "float32"], "views": FLAGS},
        },
    ),
    "GeneticAlgorithm": (GeneticAlgorithm, GENETIC),
    "NSGA2": (NSGA2, GENETIC),
    "RandomSearch": (RandomSearch, {"space": [GENES], "batch_size": [None, 2], "archive_capacity": [64]}),
    "RegularizedEvolution": (RegularizedEvolution, {"space": [GENES], "batch_size": [2], "sample_size": [2]}),
    "GuidedEvolution": (
        GuidedEvolution,
        {
            **{"space": [GENES], "surrogate": [GaussianProcess()], "batch_size": [2], "max_training_points": [8]},
            **{"candidates": [8], "tournament_size": COUNTS, "mutation_rate": FRACTIONS, "crossover_rate": FRACTIONS},
        },
    ),
    "GaussianProcess": (GaussianProcess, {"steps": COUNTS, "learning_rate": FRACTIONS}),
    "Categorical": (Categorical, {"num_categories": [(3, 4), [2], np.array([2, 3])]}),
    "run": (
        run,
        {
            **{
                "algorithm": [RandomSearch(GENES)],
                "fitness": [lambda genomes, *_: genomes.sum(-1) * 1.0],
                "key": KEYS[:1],
            },
            **{"genomes": [GENOMES], "generations": [1], "fitness_args": [()], "initial_fitness": [None, np.zeros(4)]},
        },
    ),
    "pareto_front": (pareto_front, {"objectives": [[[1, 2], [2, 1]]]}),
}
"""By name: the function, and what is right for each of its arguments."""
METHODS = {
    "Store.sql": lambda: jnas.Store("a.duckdb"),
    **dict.fromkeys(("Predictor.fit", "Predictor.predict", "Predictor.save"), jnas.Predictor),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_result_or_a_sentence(name, tmp_path, monkeypatch, fake_trainer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jnas.data._load.load_tfds_name", refuse_name)
    monkeypatch.setattr(jnas.Predictor, "_fit", lambda *_: None)
    function, right = CALLS[name]

    @settings(max_examples=EXAMPLES, database=None)
    @given(st.data())
    def check(data):
        names = [key for key in right if key != "fitness"]  # what a caller's function raises is the caller's
        wrong = data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=3))
        pools = {key: WRONG if key in wrong else values for key, values in right.items()}
        arguments = {key: pool[data.draw(st.integers(0, len(pool) - 1))] for key, pool in pools.items()}
        receiver = (METHODS[name](),) if name in METHODS else ()
        try:
            function(*receiver, **arguments)
        except JnasError as error:
            sentence = str(error).replace("x" * 5000, "")  # the name of a data set is told whole
            assert len(sentence) < 400 and "\n" not in sentence

    check()


def refuse_name(name, *_):
    raise JnasError(f"There is no data set {name[:20]!r}.")
