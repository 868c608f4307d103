"""Processes that train on a CPU: the same rows, and nothing that goes wrong in one is more than a row."""

import dataclasses
import os
import pickle
import signal
import time

import jax
import numpy as np
import pytest
from conftest import small_arrays
from test_compilers import cache as cache
from test_population import RECIPE, SMALL

import jnas
from jnas.errors import JnasError
from jnas.space import Template
from jnas.space import _layers as lt
from jnas.store import Store
from jnas.train import Trial, Watch
from jnas.train import _evaluate as evaluate
from jnas.train._engine import scheduler as schedule
from jnas.train._engine import worker_process as process
from jnas.train._engine import workers
from jnas.train._engine.workers import RemoteGroup
from jnas.train._evaluate import Request, evaluate_each

OTHER = Template([lt.Flatten(), lt.Linear(32), lt.ReLU(), lt.Linear(3)], (3, 4, 4))
LARGE = Template([lt.Flatten(), lt.Linear(4096), lt.ReLU(), lt.Linear(4096), lt.ReLU(), lt.Linear(3)], (3, 8, 8))


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


@pytest.fixture(scope="module")
def processes():
    """The environment in which two processes train, whatever the machine; they start once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JNAS_PROCESSES", "2")
        patch.setattr(workers, "WORTH", 2)
        pool = process.Pool(*workers.POOL.made_from)
        patch.setattr(workers, "POOL", pool)
        yield pool
        for one in pool.started:
            one.end()


@pytest.fixture
def pool(processes, cache, monkeypatch):
    """The processes, which share an empty cache."""
    monkeypatch.setenv("JNAS_PROCESSES", "2")
    for one in processes.started:  # the cache of each test is another one, which need not cost a start
        one.folder = str(cache)
    return processes


def here(trials, data, **options):
    """The rows of training in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worth", lambda *_: 0)
        return evaluate(trials, data, RECIPE, progress=False, **options)


def requested(trials, data, epochs=2):
    return Request.of(trials, data, dataclasses.replace(RECIPE, epochs=epochs), 0, 0, None, "exact")


def all_idle(pool, count=2):
    """Waits until none is at work, which must come to be."""
    until = time.monotonic() + 120
    while pool.idle.qsize() < count:
        assert time.monotonic() < until
        time.sleep(0.05)
    return len(pool.started) == count


def test_rows_are_those_of_training_here(pool, data, tmp_path):
    trials = [*SMALL, Trial(SMALL[0], 1), Trial(SMALL[1], learning_rate=1e-3)]
    watch, epochs = Watch(), []
    asked = Request.of(trials, data, RECIPE, 0, 0, tmp_path / "rows.duckdb", "exact")
    rows = list(evaluate_each(*asked, watch=watch, on_epoch=epochs.append))
    assert len(pool.started) == 2
    alone = here(trials, data)
    assert [row.key for row in rows] == [row.key for row in alone]
    for row, other in zip(rows, alone, strict=True):
        assert row.status == "ok" and row.train_seconds > 0 and row.compile_seconds > 0
        losses = [[epoch.train_loss for epoch in one.epochs] for one in (row, other)]
        np.testing.assert_allclose(*losses, rtol=1e-4)
    assert sorted(epochs) == [1, 1, 1, 2, 2, 2] and watch.models == 5 and watch.programs == 3
    assert sorted(report.lanes for report in watch.reports) == [1, 2, 2]
    again = evaluate(trials, data, RECIPE, progress=False)
    assert [row.epochs for row in again] == [row.epochs for row in rows], "the same call gives the same"
    store = Store(tmp_path / "rows.duckdb")
    assert evaluate(trials, data, RECIPE, store=store, progress=False)[0].epochs == rows[0].epochs
    assert all_idle(pool)


def test_what_was_asked_decides_not_what_is_missing(pool, data, tmp_path, monkeypatch):
    began = []
    begin = RemoteGroup.may_begin
    monkeypatch.setattr(RemoteGroup, "may_begin", lambda self: began.append(self) or begin(self))
    store = Store(tmp_path / "rows.duckdb")
    here(SMALL[:2], data, store=store)
    evaluate(SMALL, data, RECIPE, store=store, progress=False)
    assert {group.jobs[0].trial.template for group in began} == {SMALL[2]}
    began.clear()
    evaluate(SMALL[2:], data, RECIPE, progress=False)
    evaluate([Trial(SMALL[0], seed) for seed in range(3)], data, RECIPE, progress=False)
    evaluate(SMALL, data, RECIPE, policy="folded", progress=False)
    assert not began, "too few templates, or programs that are shared"


def test_failures_are_rows(pool, data):
    trials = [SMALL[0], Trial(SMALL[1], learning_rate=1e30), OTHER, LARGE]
    rows = evaluate(trials, data, RECIPE, memory=20 << 20, progress=False)
    assert [row.status for row in rows] == ["ok", "nan", "invalid", "too_large"]
    assert "epoch" in rows[1].message and "(3, 4, 4)" in rows[2].message and "smaller batch" in rows[3].message
    assert all_idle(pool)


def test_a_process_that_is_killed_costs_one_row(pool, data, monkeypatch):
    killed, training = [], []

    def kill(_):
        if not killed:
            killed.append(next(group.process for group in training))
            os.kill(killed[0].popen.pid, signal.SIGKILL)

    def noted(self, *args):
        training.append(self)
        self._width = 1  # as if its two trials were in turn there
        return run(self, *args)

    run = RemoteGroup.run
    monkeypatch.setattr(RemoteGroup, "run", noted)
    trials = [Trial(template, seed) for template in SMALL for seed in range(2)]
    rows = list(evaluate_each(*requested(trials, data, epochs=1000), on_epoch=kill))
    assert sorted(row.status for row in rows) == ["ok"] * 5 + ["out_of_memory"]
    assert all("the process that trained it is gone" in row.message for row in rows if row.status != "ok")
    assert killed[0] not in pool.started
    assert [row.status for row in evaluate(SMALL, data, RECIPE, progress=False)] == ["ok"] * 3


def test_a_process_that_ends_while_it_is_idle_costs_nothing(pool, data):
    all_idle(pool)
    for one in pool.started:
        one.popen.kill()
        one.popen.wait()
    assert pool.take() is None and pool.gone
    assert [row.status for row in evaluate(SMALL, data, RECIPE, progress=False)] == ["ok"] * 3
    assert all_idle(pool) and not pool.gone


def test_what_cannot_be_sent_is_a_row(pool, data, monkeypatch):
    monkeypatch.setattr(process.Process, "send", lambda self, message: pickle.dumps(lambda: message))
    assert {row.status for row in evaluate(SMALL, data, RECIPE, progress=False)} == {"error"}


def test_a_compiler_that_takes_too_long_is_ended(pool, data, monkeypatch):
    all_idle(pool)
    monkeypatch.setattr(schedule, "_TICK", 0.001)  # so that it looks before they are done
    before = list(pool.started)
    rows = evaluate(SMALL, data, RECIPE, compile_limit=0.001, progress=False)
    assert "timeout" in {row.status for row in rows} and set(pool.started) != set(before)
    assert [row.status for row in evaluate(SMALL, data, RECIPE, progress=False)] == ["ok"] * 3


def test_stopping_finishes_what_trains(pool, data):
    all_idle(pool)
    done = []
    rows = list(evaluate_each(*requested(SMALL, data), stop=lambda: bool(done), on_epoch=done.append))
    assert 1 <= len(rows) <= 2 and {row.status for row in rows} == {"ok"}
    assert all_idle(pool), "what had been compiled is let go"


def test_a_caller_who_leaves_ends_what_trains(pool, data):
    rows = evaluate_each(*requested(SMALL, data))
    assert next(rows).status == "ok"
    rows.close()
    assert all_idle(pool)

    for kind in (ValueError, ConnectionError):

        def fails(_, kind=kind):
            raise kind("the caller's own")

        with pytest.raises(kind, match="the caller's own"):
            list(evaluate_each(*requested(SMALL, data), on_epoch=fails))
        assert all_idle(pool)


def test_without_processes_it_trains_here(pool, data, monkeypatch):
    broken = process.Pool("jnas.nothing", {})
    monkeypatch.setattr(workers, "POOL", broken)
    rows = evaluate(SMALL, data, RECIPE, progress=False)
    assert [row.status for row in rows] == ["ok"] * 3 and broken.gone


def test_the_longest_begins_before_it_would_be_the_last(data):
    def order(seconds, programs=2):
        groups = [type("Group", (), {"apart": True, "expected": type("", (), {"train_seconds": s})()}) for s in seconds]
        found = schedule._Schedule.__new__(schedule._Schedule)
        found.coming, found.apart, found.programs = groups, True, programs
        return seconds.index(found._next().expected.train_seconds)

    assert order([1.0, 2.0, 3.0, 9.0]) == 3
    assert order([1.0, 2.0, 3.0, 2.5, 4.0]) == 0
    assert order([1.0, 2.0, 3.0, 2.5, 4.0], programs=4) == 4


def test_how_many(pool, monkeypatch):
    assert workers.count() == 2
    monkeypatch.setenv("JNAS_PROCESSES", "1")
    assert workers.count() == 0, "one process has no advantage"
    monkeypatch.setenv("JNAS_PROCESSES", "0")
    assert workers.count() == 0
    monkeypatch.setenv("JNAS_PROCESSES", "-1")
    with pytest.raises(JnasError, match="JNAS_PROCESSES=-1 is no number"):
        workers.count()
    monkeypatch.delenv("JNAS_PROCESSES")
    monkeypatch.setattr(workers, "_cores", lambda: 64)
    monkeypatch.setattr(workers, "free_memory", lambda _: 5 << 30)
    assert workers.count() == 5
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert workers.count() == 0
