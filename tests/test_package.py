"""The package as a whole: what importing costs, what it offers."""

import subprocess
import sys

import jnas


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_loads_nothing_heavy():
    loaded = run("import sys, jnas; print(*(set(sys.modules) & set('flax orbax duckdb pandas rich'.split())))")
    assert loaded.split() == []


def test_every_name_is_there():
    for name in jnas.__all__:
        assert getattr(jnas, name) is not None
        assert name in dir(jnas)
    assert callable(jnas.search)


def test_search_stays_callable_after_its_parts_are_imported():
    assert run("import jnas._search.loop, jnas; print(callable(jnas.search))").strip() == "True"
