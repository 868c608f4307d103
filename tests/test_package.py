"""The package as a whole: what importing costs and changes, what it offers, and its command."""

import doctest
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
from typing import get_type_hints

import pytest

import jnas
from jnas._cli import COMMANDS, main
from jnas._search.config import SearchConfig, SearchOptions


def run(*words, **environment):
    environment = os.environ | environment
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, errors="replace")


def test_import_loads_nothing_heavy_and_changes_nothing():
    code = """
import ctypes, sys
calls, load = [], ctypes.CDLL
ctypes.CDLL = lambda *args, **kwargs: calls.append(args) or load(*args, **kwargs)
import jnas
assert jnas.__version__
print(*(set(sys.modules) & set("jax flax orbax duckdb pandas rich".split())), *calls)
import jax
before = dict(jax.config.values)
import jnas._search.loop, jnas.train, jnas.export
print(*(name for name, value in jax.config.values.items() if before.get(name, value) != value))
"""
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_every_public_name_exists():
    for name in jnas.__all__:
        assert getattr(jnas, name) is not None
        assert name in dir(jnas)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jnas.nothing


def test_search_is_a_function_that_can_be_pickled():
    assert inspect.isfunction(jnas.search)
    assert {"data", "config", "minutes", "epochs"} <= set(inspect.signature(jnas.search).parameters)
    assert "minutes" in pydoc.render_doc(jnas.search)
    assert pickle.loads(pickle.dumps(jnas.search)) is jnas.search
    result = run("-c", "import jnas._search.loop, jnas; print(callable(jnas.search)); import jnas.search")
    assert result.stdout.strip() == "True" and "jnas.search is a function" in result.stderr


def test_doctests_of_the_package_pass():
    result = doctest.testmod(jnas)
    assert result.attempted > 0 and result.failed == 0


def test_command_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jnas {jnas.__version__}\n"
    for name in (*COMMANDS, "version"):
        assert main([name, "--version"]) == 0
        assert capsys.readouterr().out == f"jnas {jnas.__version__}\n"
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in COMMANDS)
    with pytest.raises(SystemExit) as exit_info:
        main(["help", "cache"])
    assert exit_info.value.code == 0 and "--clear" in capsys.readouterr().out


def test_command_unknown_subcommand_exits_with_2(capsys):
    assert main(["serch"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jnas: The command must be one of search, ")
    assert error.endswith(", got 'serch'; did you mean search?\n")


def test_python_m_jnas_is_the_command():
    for words in (["jnas", "--version"], ["jnas.search", "--version"]):
        assert run("-m", *words).stdout == f"jnas {jnas.__version__}\n"
    assert "evaluate" in run("-m", "jnas", "--help").stdout


@pytest.mark.slow
def test_command_says_what_is_wrong_with_the_settings_of_its_process(tmp_path):
    """One line, exit code 2 and no file."""
    store = str(tmp_path / "\u00e9.duckdb")
    for words, environment, part in (
        (["search", "--store", store], {"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS must name platforms that JAX can use"),
        (["cache"], {"JAX_ENABLE_X64": "banana"}, 'JAX must be able to read its settings, got "invalid truth value'),
        (["store", store], {"PYTHONIOENCODING": "ascii"}, "?.duckdb"),
    ):
        result = run("-m", "jnas", *words, **environment)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and part in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())


def test_command_ends_in_silence_where_nobody_reads_its_output():
    process = subprocess.Popen([sys.executable, "-m", "jnas"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()


def test_logging_of_the_program_is_left_alone(tmp_path):
    code = f"""
import logging, warnings, os, numpy as np
before = logging.getLogger().level, warnings.filters[:], warnings.showwarning, dict(os.environ), np.geterr()
from jnas._runtime import checkpoint
checkpoint.save({str(tmp_path / "a")!r}, {{"x": np.ones(3)}}, {{}})
checkpoint.restore({str(tmp_path / "a")!r}, {{"x": np.ones(3)}})
print(logging.getLogger().handlers)
after = logging.getLogger().level, warnings.filters[:], warnings.showwarning, dict(os.environ), np.geterr()
print([a == b for a, b in zip(before, after)])
"""
    result = run("-c", code)
    assert result.stdout.splitlines()[0] == "[]" and result.stderr == ""


def test_command_store_shows_and_exports(tmp_path, capsys):
    store = jnas.Store(tmp_path / "a.duckdb")
    store.add_experiment("0123456789ab", dataset_name="stripes")
    assert main(["store", str(store.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.duckdb: 0 evaluations, 1 search.")
    assert lines[1].startswith("Search 0123456789ab of ") and lines[1].endswith(
        "on stripes: 0 templates, no winner yet."
    )
    target = tmp_path / "rows.csv"
    assert main(["store", str(store.path), "--export", str(target), "--table", "experiments"]) == 0
    assert "0123456789ab" in target.read_text() and "Wrote" in capsys.readouterr().out
    assert main(["store", str(tmp_path / "none.duckdb")]) == 2
    assert "There is no store" in capsys.readouterr().err


def test_command_cache_shows_and_clears(tmp_path, monkeypatch, capsys):
    from jnas._cli import cache
    from jnas._runtime.compilation_cache import CacheInfo

    monkeypatch.setattr(cache, "describe_caches", lambda: [CacheInfo("programs", tmp_path, 1200, 3 << 20, 2 << 30)])
    monkeypatch.setattr(cache, "clear_caches", lambda: 3 << 20)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"programs: 1,200 files, 3.0 MiB of at most 2.0 GiB, in {tmp_path}\n"
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == "Freed 3.0 MiB.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "hashes must be one or more, or --random 1 or more, got none."),
        (["zz"], "hash"),
        (["--random", "1", "--conv-num", "0"], "conv_num must be"),
        (["--random", "1", "--epochs", "0"], "epochs"),
    ],
)
def test_command_evaluate_bad_input_is_one_sentence(words, sentence, capsys):
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jnas: ") and error.count("\n") == 1 and sentence in error


def test_search_options_are_the_fields_of_the_config():
    options, fields = get_type_hints(SearchOptions), get_type_hints(SearchConfig)
    names = [name for name in SearchConfig.__dataclass_fields__ if name != "data"]
    assert list(options) == names
    wider = {"latencies", "out", "size", "store", "objectives", "start", "workers"}  # Python gives paths and lists, too
    assert all(options[name] == fields[name] for name in names if name not in wider)


NOTEBOOK = """
import sys
sys.path[:0], sys.modules["ipywidgets"] = {path}, None
import jnas
from conftest import small_arrays
from fakes import FakeTrainer
from jnas.train._engine import group_trainer
group_trainer.TRAINER_CLASS = FakeTrainer
few = dict(num_random=3, known_networks=False, generations=0, epochs=1, final_epochs=1, final_repeats=1)
jnas.search(small_arrays(), conv_num=1, lin_num=1, batch_size=24, store="a.duckdb", **few)
jnas.evaluate(jnas.Space((3, 8, 8), 3).random(0), small_arrays(), jnas.Recipe(epochs=1, batch_size=24))
"""


@pytest.mark.exhaustive
def test_notebook_without_ipywidgets_has_a_line_a_template(tmp_path):
    """Rich's live bar needs ipywidgets: it warns, and shows nothing until the end."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    path = [os.path.dirname(__file__), *sys.path]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.format(path=path))])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    told = "".join(output.text for output in outputs if output.output_type == "stream")
    assert {output.get("name", output.output_type) for output in outputs} <= {"stdout", "execute_result"}, outputs
    assert told.count(" s  random   val acc") == 3 and "ipywidgets" not in told, told
