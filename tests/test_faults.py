"""Everything that can go wrong with a trial is a row, and its neighbours do not notice."""

import threading
import time

import pytest
from conftest import small_arrays

import jnas
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train import Recipe, Trial
from jnas.train import _evaluate as evaluate
from jnas.train._engine import jobs as population
from jnas.train._trainer import Trainer

RECIPE = Recipe(epochs=1, batch_size=24, validation=0.25)


def template(width, in_shape=(3, 8, 8)):
    return Template([lt.Flatten(), lt.Linear(width), lt.ReLU(), lt.Linear(3)], in_shape)


@pytest.fixture
def data():
    return jnas.load_data(small_arrays())


@pytest.fixture
def side_by_side(monkeypatch):
    """Puts so many lanes side by side."""
    return lambda width: monkeypatch.setattr(population, "plan", lambda *_: type("Plan", (), {"width": width})())


def fails(monkeypatch, method, when, error):
    """Lets a method of some trainers raise; returns the lanes of all trainers it was called on."""
    lanes, works = [], getattr(Trainer, method)

    def faulty(self, *arguments):
        lanes.append(self.lanes)
        if when(self):
            raise error
        return works(self, *arguments)

    monkeypatch.setattr(Trainer, method, faulty)
    return lanes


def evaluated(trials, data, **options):
    rows = evaluate(trials, data, RECIPE, progress=False, **options)
    assert [row.key.hash for row in rows] == [getattr(t, "template", t).hash for t in trials]
    return rows


EXHAUSTED = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nand much more")


def test_where_memory_runs_out_fewer_lanes_go_side_by_side(data, monkeypatch, side_by_side):
    trials = [Trial(template(32), seed) for seed in range(5)]
    side_by_side(1)
    expected = evaluated(trials, data)
    side_by_side(4)
    lanes = fails(monkeypatch, "advance", lambda trainer: trainer.lanes > 1, EXHAUSTED)
    rows = evaluated(trials, data)
    assert lanes == [4, 2, 1, 1, 1, 1, 1]  # halved twice, then one after the other
    assert [row.epochs for row in rows] == [row.epochs for row in expected]
    assert all(row.status == "ok" for row in rows)


def test_what_does_not_fit_alone_is_skipped(data, monkeypatch, side_by_side, tmp_path):
    side_by_side(2)
    with monkeypatch.context() as patch:
        fails(patch, "advance", lambda trainer: True, EXHAUSTED)
        rows = evaluated([template(32), template(64)], data, store=tmp_path / "r.duckdb")
    assert {row.status for row in rows} == {"out_of_memory"} and "allocating 123 bytes" in rows[0].message
    again = evaluated([template(32), template(64)], data, store=tmp_path / "r.duckdb")  # another time it may fit
    assert {row.status for row in again} == {"ok"}


@pytest.mark.parametrize("method", ["compile", "advance"])
def test_an_error_is_one_row(data, monkeypatch, method):
    broken = template(64)
    fails(monkeypatch, method, lambda t: t.structure.hull == broken, ValueError("it broke\nin many lines"))
    rows = evaluated([template(32), broken, template(128)], data)
    assert [row.status for row in rows] == ["ok", "error", "ok"] and rows[1].message == "it broke"


def slow(monkeypatch, when, released):
    compiled = Trainer.compile

    def compile(self):
        if when(self):
            released.wait(60)
        return compiled(self)

    monkeypatch.setattr(Trainer, "compile", compile)


def test_a_program_that_compiles_too_long_is_given_up(data, monkeypatch, tmp_path):
    never, released = template(64), threading.Event()
    evaluated([template(32), template(128)], data)  # so that these come from the cache, quickly
    slow(monkeypatch, lambda trainer: trainer.structure.hull == never, released)
    begun = time.monotonic()
    rows = evaluated([template(32), never, template(128)], data, compile_limit=5, store=tmp_path / "r.duckdb")
    assert time.monotonic() - begun < 40
    released.set()
    assert [row.status for row in rows] == ["ok", "timeout", "ok"]
    assert rows[1].message == "compiling it took longer than 5 s: allow more, or limit the size of templates"
    (again,) = evaluated([never], data, store=tmp_path / "r.duckdb")
    assert again.status == "ok"


def test_a_shared_program_that_compiles_too_long_gives_way_to_programs_alone(data, monkeypatch):
    """Nobody fails for the sake of what they would have shared."""
    released = threading.Event()
    pair = [
        Template([lt.Flatten(), lt.Linear(32), act, lt.Linear(3)], (3, 8, 8)) for act in (lt.ReLU(), lt.LeakyReLU())
    ]
    evaluated(pair, data)
    slow(monkeypatch, lambda trainer: trainer.structure.policy == "folded", released)
    rows = evaluated(pair, data, policy="folded", compile_limit=5)
    released.set()
    assert [row.status for row in rows] == ["ok", "ok"]


def test_a_population_in_which_everything_goes_wrong(data, monkeypatch, tmp_path):
    """One call, one store: each fault is its own row, and who is well has the numbers of being alone."""
    error, memory = template(64), template(256)
    trials = [
        *(template(32), Trial(template(32), learning_rate=1e30), template(32, (1, 28, 28)), error, memory),
        *(Template([lt.Flatten(), lt.Linear(4096), lt.Linear(4096), lt.Linear(3)], (3, 8, 8)), template(512)),
    ]
    alone = [evaluated([trials[index]], data)[0] for index in (0, 6)]
    fails(monkeypatch, "compile", lambda trainer: trainer.structure.hull == error, ValueError("broken"))
    fails(monkeypatch, "advance", lambda trainer: trainer.structure.hull == memory, EXHAUSTED)
    store = jnas.Store(tmp_path / "r.duckdb")
    rows = evaluated(trials, data, store=store, memory=200 << 20)
    assert [row.status for row in rows] == ["ok", "nan", "invalid", "error", "out_of_memory", "too_large", "ok"]
    assert all(row.message and "\n" not in row.message for row in rows if row.status != "ok")
    assert [rows[0].epochs, rows[6].epochs] == [row.epochs for row in alone]
    assert sorted(store.to_df().status) == sorted(row.status for row in rows)
