"""Templates, spaces, trials, and the functions that train them."""

import dataclasses

import jax
import numpy as np
from conftest import small_arrays

import jnas
from borders import Row, command, is_fine, refused
from jnas.train import EngineOptions, HalvingSchedule

_TEMPLATES = "templates, their hashes, or Trial objects"
_COUNT = "an integer from 1 to 10,000"
_SEED = "an integer from 0 to 4,294,967,295"
_LAYERS = "an integer from 1 to 100"
_LIMIT = ("an integer from 1 to 18,446,744,073,709,551,615", "None is for no limit")
_CLASSES = "an integer from 2 to 2,147,483,647"
_SHAPE = "(channels, height, width)"
_SIDE = f"Each of in_shape {_SHAPE}"
_HASH = "00811005200000000025480001000000"
_COPY = "copy it as Template.hash prints it"
_RATES = "(lowest, highest) with 0 < lowest <= highest"
_OPTIONS_OF_ENGINE = {
    "max_memory": ("an integer >= 1", 0),
    "compile_timeout": ("a finite number > 0", -1),
    "workers": ("a number of processes, ray, ray://HOST:PORT or slurm:COUNT", -1),
    "on_epoch": ("a function", 3),
    "on_row": ("a function", 3),
    "should_stop": ("a function", True),
    "timing": ("a TimingStats", 3),
}


def _space(**changes):
    return jnas.Space(**{"in_shape": (3, 8, 8), "classes": 3, "conv_num": 1, "lin_num": 1} | changes)


def _template():
    return jnas.Template.from_hash(_HASH, (3, 8, 8), 3)


def _evaluate(templates=None, **changes):
    settings = {"data": small_arrays(), "recipe": jnas.Recipe(epochs=1, batch_size=24), "progress": False}
    return jnas.evaluate(_template() if templates is None else templates, **settings | changes)


def _halve(templates=None, **changes):
    settings = {"data": small_arrays(), "recipe": jnas.Recipe(epochs=1, batch_size=24), "progress": False}
    return jnas.successive_halving(_template() if templates is None else templates, **settings | changes)


def _is_ok(rows) -> bool:
    return bool(rows) and all(row.status == "ok" for row in rows)


def _of_training(name, call) -> list[Row]:
    """What `evaluate` and `successive_halving` have in common."""
    wrong = [
        ("templates", "wrong type", 3, refused("templates", _TEMPLATES, 3)),
        ("templates", "wrong type", [3], refused("templates", _TEMPLATES, 3)),
        ("templates", "damaged", _HASH[:-1], refused("hash", "8 hex digits per layer", f"'{_HASH[:-1]}'", "copy the whole hash as Template.hash prints it")),
        ("recipe", "wrong type", 3, refused("recipe", "one of fast, standard, sophius", 3, "or give a Recipe")),
        ("recipe", "wrong value", "quick", refused("recipe", "one of fast, standard, sophius", "'quick'", "or give a Recipe")),
        ("recipe", "huge", jnas.Recipe(batch_size=500), refused("batch_size", "<= 77, the number of training images", 500)),
        ("recipe", "huge", jnas.Recipe(batch_size=24, cut_out=9), refused("cut_out", "<= 8, the pixels of an image's shorter side", 9, "0 is for none")),
        ("recipe", "huge", jnas.Recipe(batch_size=24, shift=8), refused("shift", "less than the 8 pixels of an image's shorter side", 8, "0 is for no shift")),
        ("seed", "wrong type", "3", refused("seed", _SEED, "'3'")),
        ("seed", "wrong value", -1, refused("seed", _SEED, -1)),
        ("progress", "wrong type", "no", refused("progress", "True or False", "'no'")),
    ]  # fmt: skip
    right = {
        "a hash": _HASH,
        "hashes in an array": np.array([_HASH]),
        "a tuple": (_template(),),
        "a generator": (template for template in [_template()]),
        "a trial with NumPy's numbers": jnas.Trial(_template(), np.int64(1), np.float32(1e-3)),
    }
    return [
        *(Row(f"{name}.{n}", kind, lambda _, n=n, v=v: call(**{n: v}), said) for n, kind, v, said in wrong),
        *(Row(f"{name}.templates", "right", lambda _, value=value: call(value), _is_ok) for value in right.values()),
        Row(f"{name}.templates", "empty", lambda _: call([]), lambda rows: rows == []),
        Row(f"{name}.seed", "right", lambda _: call(seed=np.int64(1)), _is_ok),
        Row(f"{name}.recipe", "right", lambda _: jnas.Recipe.of("sophius"), lambda recipe: recipe.epochs == 50),
    ]


def _of_space() -> list[Row]:
    fields = {
        "classes": (_CLASSES, 1, ""),
        "conv_num": (_LAYERS, 0, ""),
        "lin_num": (_LAYERS, 10**12, ""),
        "style": ("one of sophius, modern", "wide", ""),
        "max_params": (_LIMIT[0], 0, _LIMIT[1]),
        "max_macs": (_LIMIT[0], 2.5, _LIMIT[1]),
        "max_memory_kb": (_LIMIT[0], 0, _LIMIT[1]),
        "max_flash_kb": (_LIMIT[0], "1", _LIMIT[1]),
    }
    rows = []
    for name, (condition, value, hint) in fields.items():
        call = lambda _, n=name, v=value: _space(**{n: v})  # noqa: E731
        rows.append(Row(f"Space.{name}", "wrong value", call, refused(name, condition, repr(value), hint)))
    key = ("one random key", "make it with jax.random.key(seed)")
    genomes = "Space.sample makes them, and to_genome of a template"
    return [
        *rows,
        Row("Space.admits.template", "wrong type", lambda _: _space().admits(_HASH), refused("template", "a Template", f"'{_HASH}'", "use Template.from_hash")),
        Row("Space.in_shape", "wrong type", lambda _: _space(in_shape=8), refused("in_shape", _SHAPE, 8)),
        Row("Space.in_shape", "wrong value", lambda _: _space(in_shape=(8, 8)), refused("in_shape", _SHAPE, "(8, 8)")),
        Row("Space.in_shape", "wrong value", lambda _: _space(in_shape=(3, 0, 8)), refused(_SIDE, "an integer from 1 to 16,384", 0)),
        Row("Space.in_shape", "right", lambda _: _space(in_shape=np.array([3, 8, 8])), lambda space: space == _space()),
        Row("Space.random.seed", "wrong type", lambda _: _space().random("1"), refused("seed", _SEED, "'1'")),
        Row("Space.random.seed", "wrong value", lambda _: _space().random(-1), refused("seed", _SEED, -1)),
        Row("Space.sample.key", "wrong type", lambda _: _space().sample(0, 3), refused("key", key[0], 0, key[1])),
        Row("Space.sample.count", "wrong type", lambda _: _space().sample(jax.random.key(0), "3"), refused("count", "an integer from 0 to 1,048,576", "'3'")),
        Row("Space.sample_valid.key", "wrong type", lambda _: _space().sample_valid(None, 3), refused("key", key[0], None, key[1])),
        Row("Space.sample_valid.count", "huge", lambda _: _space().sample_valid(jax.random.key(0), 10**12), refused("count", "an integer from 0 to 1,048,576", 10**12)),
        Row("Space.sample_valid.min_count", "wrong value", lambda _: _space().sample_valid(jax.random.key(0), 3, -1), refused("min_count", "an integer from 0 to 1,048,576", -1)),
        Row("Space.template.genome", "wrong type", lambda _: _space().template("genome"), refused("genome", "an array of numbers", "'genome'")),
        Row("Space.template.genome", "wrong value", lambda _: _space().template(np.full((2, 6), 99)), refused("Each field of genome", "an index of its values", [99] * 6, "Space.repair mends genomes")),
        Row("Space.repair.genomes", "wrong type", lambda _: _space().repair(3), refused("genomes", "integers [N, L, 6]", 3, genomes)),
        Row("Space.valid.genomes", "wrong type", lambda _: _space().valid(np.zeros((2, 3, 5), np.int8)), refused("genomes", "integers [N, L, 6]", "an array of int8 of shape (2, 3, 5)", genomes)),
        Row("Space.encode.genomes", "wrong type", lambda _: _space().encode(np.zeros((2, 3, 6))), refused("genomes", "integers [N, L, 6]", "an array of float64 of shape (2, 3, 6)", genomes)),
    ]  # fmt: skip


def _of_templates() -> list[Row]:
    template = jnas.Template
    return [
        Row("Template.layers", "wrong type", lambda _: template(3), refused("layers", "a sequence of layer templates", 3, "Template.from_hash takes a hash")),
        Row("Template.layers", "wrong type", lambda _: template(_HASH), refused("layers", "a sequence of layer templates", f"'{_HASH}'", "Template.from_hash takes a hash")),
        Row("Template.layers", "wrong value", lambda _: template([3]), refused("Each of layers", "a LayerTemplate", 3)),
        Row("Template.layers", "empty", lambda _: template([]), "layers must end with the Linear classifier, got no layer; append Linear(classes)."),
        Row("Template.in_shape", "wrong type", lambda _: template(_template().layers, None), refused("in_shape", _SHAPE, None)),
        Row("Template.from_hash.arch_hash", "wrong type", lambda _: template.from_hash(None), refused("hash", "text", None, _COPY)),
        Row("Template.from_hash.in_shape", "wrong type", lambda _: template.from_hash(_HASH, "3x8x8"), refused("in_shape", _SHAPE, "'3x8x8'")),
        Row("Template.from_hash.classes", "wrong type", lambda _: template.from_hash(_HASH, (3, 8, 8), "3"), refused("classes", "an integer from 1 to 2,147,483,647", "'3'")),
        Row("Template.from_hash.classes", "right", lambda _: template.from_hash(_HASH, [3, 8, 8], np.int64(3)), lambda got: got == _template()),
        Row("Template.build.rngs", "wrong type", lambda _: _template().build(0), refused("rngs", "a Rngs", 0, "nnx.Rngs(0) is one")),
        Row("Trial.template", "wrong type", lambda _: jnas.Trial(_HASH), refused("template", "a Template", f"'{_HASH}'", "use Template.from_hash")),
        Row("Trial.seed", "wrong type", lambda _: jnas.Trial(_template(), "1"), refused("seed", _SEED, "'1'")),
        Row("Trial.learning_rate", "wrong value", lambda _: jnas.Trial(_template(), learning_rate=0), refused("learning_rate", "a finite number > 0", 0)),
        Row("Trial.weight_decay", "wrong value", lambda _: jnas.Trial(_template(), weight_decay=float("nan")), refused("weight_decay", "a finite number >= 0", "nan")),
        Row("sample_trials.space", "wrong type", lambda _: jnas.sample_trials(None, 0, 1, 1), refused("space", "a Space", None)),
        Row("sample_trials.seed", "wrong type", lambda _: jnas.sample_trials(_space(), None, 1, 1), refused("seed", _SEED, None)),
        Row("sample_trials.num_templates", "wrong value", lambda _: jnas.sample_trials(_space(), 0, 0, 1), refused("num_templates", _COUNT, 0)),
        Row("sample_trials.trials_per_template", "huge", lambda _: jnas.sample_trials(_space(), 0, 1, 10**12), refused("trials_per_template", _COUNT, 10**12)),
        Row("sample_trials.learning_rate", "wrong value", lambda _: jnas.sample_trials(_space(), 0, 1, 1, learning_rate=(0.1, 0.01)), refused("learning_rate", _RATES, "(0.1, 0.01)")),
        Row("sample_trials.weight_decay", "wrong type", lambda _: jnas.sample_trials(_space(), 0, 1, 1, weight_decay=0.1), refused("weight_decay", _RATES, 0.1)),
        Row("Recipe.of.recipe", "wrong value", lambda _: jnas.Recipe.of("fats"), refused("recipe", "one of fast, standard, sophius", "'fats'", "or give a Recipe")),
        Row("Recipe.from_json.text", "damaged", lambda _: jnas.Recipe.from_json("{"), refused("text", "what Recipe.to_json returned", "'{'")),
        Row("Recipe.from_json.text", "foreign", lambda _: jnas.Recipe.from_json('{"a": 1}'), refused("text", "what Recipe.to_json returned", "'{\"a\": 1}'")),
        Row("HalvingSchedule.min_epochs", "wrong value", lambda _: HalvingSchedule(0), refused("min_epochs", "an integer >= 1", 0)),
        Row("HalvingSchedule.reduction_factor", "wrong value", lambda _: HalvingSchedule(1, 1), refused("reduction_factor", "an integer >= 2", 1)),
        Row("HalvingSchedule.rungs.max_epochs", "wrong type", lambda _: HalvingSchedule().rungs("9"), refused("max_epochs", "an integer >= 1", "'9'")),
    ]  # fmt: skip


ROWS = [
    *_of_training("evaluate", _evaluate),
    *_of_training("successive_halving", _halve),
    *_of_space(),
    *_of_templates(),
    *(
        Row(f"EngineOptions.{n}", "wrong value", lambda _, n=n, v=v: EngineOptions(**{n: v}), refused(n, condition, v))
        for n, (condition, v) in _OPTIONS_OF_ENGINE.items()
    ),
    Row("evaluate.split_seed", "wrong value", lambda _: _evaluate(split_seed=-1), refused("split_seed", _SEED, -1)),
    Row("evaluate.options", "wrong type", lambda _: _evaluate(options={}), refused("options", "an EngineOptions", "{}")),
    Row("successive_halving.options", "wrong type", lambda _: _halve(options={}), refused("options", "an EngineOptions", "{}")),
    Row("successive_halving.schedule", "wrong type", lambda _: _halve(schedule=3), refused("schedule", "a HalvingSchedule", 3)),
    Row("evaluate --hashes", "damaged", lambda _: command("evaluate", "0080"), refused("hash", "8 hex digits per layer", "'0080'", "copy the whole hash as Template.hash prints it")),
    Row("evaluate --random", "wrong value", lambda _: command("evaluate", "--random", "-1"), refused("random", "an integer from 0 to 100,000", -1)),
    Row("evaluate --random", "wrong type", lambda _: command("evaluate", "--random", "x"), refused("random", "an integer from 0 to 100,000", "'x'")),
    Row("evaluate --random", "missing", lambda _: command("evaluate"), "hashes must be one or more, or --random 1 or more, got none."),
    Row("evaluate --classes", "wrong value", lambda _: command("evaluate", "--random", "1", "--classes", "1"), "classes must be an integer from 2 to 2,147,483,647, got 1."),
    Row("Trial", "right", lambda _: dataclasses.asdict(jnas.Trial(_template(), np.uint8(3))), is_fine),
]  # fmt: skip
