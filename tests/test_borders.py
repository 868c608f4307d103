"""Whatever comes in is right, or one sentence before anything is lost: the table of `borders`, row by row."""

import dataclasses
import importlib
import inspect
import pkgutil

import borders
import pytest

import jnas
from jnas._cli import COMMANDS
from jnas.errors import JnasError

ROWS = [
    row
    for module in pkgutil.iter_modules(borders.__path__)
    for row in importlib.import_module(f"borders.{module.name}").ROWS
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.subject} {row.kind}")
def test_a_row(row, tmp_path, monkeypatch, fake_trainer):
    monkeypatch.chdir(tmp_path)
    if not isinstance(row.expected, str):
        assert row.expected(row.call(tmp_path))
        return
    with pytest.raises(JnasError) as error:
        row.call(tmp_path)
    sentence = str(error.value)
    assert sentence == row.expected.replace("{folder}", str(tmp_path))
    assert len(sentence.replace(str(tmp_path), "")) < 400 and "\n" not in sentence and sentence.endswith(".")


MADE_BY_JNAS = ("Callback", "JnasError", "SearchResult")
"""Names whose arguments a caller does not give."""
CALLED_BY_JNAS = {
    "Recipe": ("learning_rates",),
    "SearchConfig": ("experiment_id", "make_recipe", "search_space"),
    "Space": ("crossover", "distance", "hash_genomes", "mutate"),
    "Store": (
        *(
            "add",
            "add_candidates",
            "add_experiment",
            "add_front",
            "add_programs",
            "add_row",
            "candidates",
        ),
        *("find", "earlier_hashes", "imported_rows", "promotions", "set_seconds", "experiment", "update_experiment"),
        *("evaluations_of", "experiment_df", "front_df", "latencies", "recipe_json", "set_test_accuracy"),
    ),
    "Trial": ("recipe",),
}
"""Methods that a search or an algorithm calls, with what it has checked, some of them within a compiled program."""


def parameters(function) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    given = inspect.signature(function).parameters.values()
    return [p.name for p in given if p.kind not in kinds and p.name not in ("self", "cls")]


def arguments(name: str) -> list[str]:
    """The arguments of a public function, or of a class and its public methods, as subjects of rows."""
    public = getattr(jnas, name)
    subjects = [f"{name}.{argument}" for argument in parameters(public)]
    if inspect.isclass(public):
        methods = {n: m for n, m in inspect.getmembers(public, callable) if n[0] != "_"}
        for method in methods.keys() - set(CALLED_BY_JNAS.get(name, ())):
            subjects += [f"{name}.{method}.{argument}" for argument in parameters(methods[method])]
    return subjects


def options() -> list[str]:
    modules = {command: importlib.import_module(f"jnas._cli.{command}") for command in COMMANDS}
    fields = [(command, f.name) for command, m in modules.items() for f in dataclasses.fields(m.Options)]
    return [f"{command} --{name.strip('_').replace('_', '-')}" for command, name in fields]


def test_every_argument_and_option_has_a_row_of_what_it_must_not_be():
    wanted = {subject for name in jnas.__all__ if name not in MADE_BY_JNAS for subject in arguments(name)}
    refused = {row.subject for row in ROWS if row.kind != "right"}
    missing = (wanted | set(options())) - refused - {"export_model.data"}  # needs a search: tests/test_export.py
    missing -= {f"Classifier.{name}" for name in jnas.SearchConfig.__dataclass_fields__}  # `fit` makes one of them
    assert not missing, sorted(missing)
