"""What the documents say of the API, the command line and the store is true."""

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

import jnas
from jnas._cli import COMMANDS
from jnas.store import Key

ROOT = Path(jnas.__file__).parent.parent
COPIES = ("CHANGELOG.md", "CONTRIBUTING.md")  # where the site was built
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page.parent.name != "docs" or page.name not in COPIES]
if not PAGES[0].exists():
    pytest.skip("needs a checkout", allow_module_level=True)


def code_blocks(path):
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.M | re.S)


def resolve(node, names):
    """The object that a dotted name stands for; None where it is not one of `names`."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, names)
        return (
            None
            if owner is None or not (inspect.ismodule(owner) or inspect.isclass(owner))
            else getattr(owner, node.attr)
        )
    return None


@pytest.mark.parametrize("path", [path for path in PAGES if code_blocks(path)], ids=lambda path: path.name)
def test_code_in_documents_has_names_and_arguments_that_exist(path):
    names = {"jnas": jnas}
    for block in code_blocks(path):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("jnas"):
                module = importlib.import_module(node.module)
                names |= {alias.name: getattr(module, alias.name) for alias in node.names}
        for node in ast.walk(tree):
            resolve(node, names)
            if isinstance(node, ast.Call) and callable(function := resolve(node.func, names)):
                keywords = {keyword.arg: None for keyword in node.keywords}
                inspect.signature(function).bind_partial(*node.args, **keywords)


def options_of(command):
    """The options of a subcommand of `jnas`."""
    fields = dataclasses.fields(importlib.import_module(f"jnas._cli.{command}").Options)
    return {"help", *(field.name.strip("_").replace("_", "-") for field in fields)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_in_documents_have_options_that_exist(path):
    commands = re.findall(r"(?:^|`|&& )(?:jnas|python -m jnas[. ])\s?(\w+)([^`\n]*)", path.read_text(), flags=re.M)
    for command, words in commands:
        assert command in COMMANDS, command
        for option in re.findall(r"--([\w-]+)", words):
            assert option.removeprefix("no-") in options_of(command), f"jnas {command} --{option}"


def test_options_in_readme_exist():
    every = set().union(*map(options_of, COMMANDS))
    for option in re.findall(r"`--([\w-]+)", (ROOT / "README.md").read_text()):
        assert option.removeprefix("no-") in every, option


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_contributors_are_sent_to_files_that_exist():
    named = re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 15
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "jnas" / name).exists(), name


def test_store_page_names_every_table_and_column(tmp_path):
    page = (ROOT / "docs" / "store.md").read_text()
    store = jnas.Store(tmp_path / "empty.duckdb")
    store.create()
    columns = store.sql("SELECT table_name, column_name FROM information_schema.columns")
    assert len(columns) > 80
    for name, column in columns.itertuples(index=False):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"`{column}`" in row or (name == "epochs" and column in Key._fields), (name, column)


def test_readme_is_short_and_has_the_command_of_the_tests():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 120
    assert re.search(r"^python3 -m venv .* -m pytest", text, flags=re.M)
