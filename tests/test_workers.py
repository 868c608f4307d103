"""Worker processes: the rows of training in this process, and nothing that goes wrong in one is more than a row."""

import os
import pickle
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import exhaustive, small_arrays
from test_engine import HUGE, SMALL, rows_of, template

import jnas
from jnas.errors import JnasError
from jnas.space import Conv2d, Dropout, Flatten, Linear, ReLU, Template
from jnas.train import (
    EngineOptions,
    TimingStats,
    Trainer,
    TrainingRequest,
    Trial,
    Views,
    run_trials,
    successive_halving,
    train_modules,
)
from jnas.train._engine import executor, process_worker, scheduler, workers
from jnas.train._engine.executor import choose_executor, plan_workers

CONV = Template([Conv2d(8, 3, 2), ReLU(), Dropout(0.2), Flatten(), Linear(3)], (3, 8, 8))


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


def process_pool(environment):
    return workers.WorkerPool(lambda slot: process_worker.ProcessWorker(lambda: environment))


@pytest.fixture(scope="module")
def pool():
    """Two workers with one thread each, whatever the machine; they start once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JNAS_WORKERS", "2")
        pool = process_pool({"PJRT_NPROC": "1"})
        patch.setattr(executor, "cpu_pool", lambda num_threads: pool)
        patch.setattr(executor, "num_cores", lambda: 2)
        yield pool
        pool.close()


@pytest.fixture(autouse=True)
def workers_are_idle_at_the_end(pool):
    yield
    deadline = time.monotonic() + 120
    while pool._busy or pool._starting:
        assert time.monotonic() < deadline, "a worker is still at work"
        time.sleep(0.05)


AT_WORK = """
import os
from conftest import small_arrays
import jnas
os.environ["JNAS_WORKERS"] = "2"
templates = [jnas.Space((3, 8, 8), 3, conv_num=1, lin_num=1).random(seed) for seed in range(4)]
print(*(row.status for row in jnas.evaluate(templates, small_arrays(), jnas.Recipe(epochs=1, batch_size=24))))
from jnas.train._engine import executor
print(executor.cpu_pool.cache_info().currsize)
"""


@pytest.mark.slow
def test_workers_leave_no_warning_behind_at_the_end():
    """Their pipes are closed, and their processes are waited for, whatever Python says of what is not."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_WORK], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split()[-5:] == ["ok"] * 4 + ["1"] and (done.stderr, done.returncode) == ("", 0)


def request_of(trials, data, epochs=2, store=None):
    return TrainingRequest.of(trials, data, jnas.Recipe(epochs=epochs, batch_size=24, val_fraction=0.25), 0, 0, store)


def local_rows(trials, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("JNAS_WORKERS", "0")
        return rows_of(trials, data)


def test_workers_give_the_rows_of_training_here(pool, data, tmp_path, monkeypatch):
    trials = [*SMALL, CONV, Trial(SMALL[0], 1), Trial(SMALL[1], learning_rate=1e-3)]
    epochs, timing = [], TimingStats()
    request = request_of(trials, data, store=tmp_path / "rows.duckdb")
    rows = list(run_trials(request, EngineOptions(on_epoch=epochs.append, timing=timing)))
    alone = local_rows(trials, data, monkeypatch)
    assert [row.key for row in rows] == [row.key for row in alone]
    for row, other in zip(rows, alone, strict=True):
        assert row.status == "ok" and row.train_seconds > 0 and row.compile_seconds > 0
        losses = [[epoch.train_loss for epoch in one.epochs] for one in (row, other)]
        np.testing.assert_allclose(*losses, rtol=1e-3)
    assert sorted(epochs) == [1] * 6 + [2] * 6 and timing.num_trials == 6 and len(timing.reports) == 4
    assert [row.epochs for row in rows_of(trials, data)] == [row.epochs for row in rows], "the same call, the same rows"
    # Some rows are there: what is missing trains with as many threads.
    assert rows_of([*trials, template(256)], data, store=request.store)[:6] == rows


def test_workers_keep_runs_between_rungs_and_return_modules(pool, data, monkeypatch):
    recipe = jnas.Recipe(epochs=3, batch_size=24, val_fraction=0.25)
    trials = [*SMALL[:2], CONV]
    rows = successive_halving(trials, data, recipe, progress=False)
    (winner,) = (row for row in rows if row.status == "ok")
    whole = rows_of(trials, data, recipe)
    assert winner.epochs == whole[rows.index(winner)].epochs
    ((row, module),) = train_modules(request_of([CONV], data))
    split = data.split(0.25)
    assert (
        jnas.train.accuracy(module, np.asarray(split.x_val), np.asarray(split.y_val), Views(flip=True))
        == row.val_acc_final
    )


def test_workers_failures_are_rows(pool, data):
    trials = [SMALL[0], Trial(SMALL[1], learning_rate=1e30), template(32, (3, 4, 4)), HUGE]
    rows = rows_of(trials, data, max_memory=20 << 20)
    assert [row.status for row in rows] == ["ok", "diverged", "invalid", "too_large"]
    assert "epoch" in rows[1].message and "(3, 4, 4)" in rows[2].message and "smaller batch" in rows[3].message


def test_worker_killed_costs_one_row(pool, data):
    killed = []

    def kill(_):
        if not killed:
            killed.append(next(iter(pool._busy)))
            os.kill(killed[0]._process.pid, signal.SIGKILL)

    trials = [Trial(one, seed) for one in SMALL for seed in range(2)]
    rows = list(run_trials(request_of(trials, data, epochs=300), EngineOptions(on_epoch=kill)))
    assert sorted(row.status for row in rows) == ["ok"] * 5 + ["out_of_memory"]
    assert all("that trained it is gone" in row.message for row in rows if row.status != "ok")
    assert not killed[0].is_usable()


@pytest.mark.exhaustive
def test_worker_that_ends_while_idle_costs_nothing(pool, data):
    for worker, _ in list(pool._idle):
        worker._process.kill()
        worker._process.wait()
    assert [row.status for row in rows_of(SMALL, data)] == ["ok"] * 3


def test_request_that_cannot_be_sent_is_a_row(pool, data, monkeypatch):
    send = process_worker.ProcessWorker.send
    monkeypatch.setattr(process_worker.ProcessWorker, "send", lambda worker, _: send(worker, lambda: None))
    assert {row.status for row in rows_of(SMALL, data)} == {"error"}


@pytest.mark.exhaustive
def test_worker_that_compiles_too_long_is_ended(pool, data, monkeypatch):
    monkeypatch.setattr(scheduler, "_POLL_SECONDS", 0.001)  # so that it looks before they are done
    rows = rows_of([template(width) for width in (256, 512, 1024)], data, compile_timeout=0.001)
    assert "timeout" in {row.status for row in rows}


@pytest.mark.exhaustive
def test_worker_is_replaced_after_many_programs(pool, data, monkeypatch):
    monkeypatch.setattr(workers, "MAX_PROGRAMS", 1)
    rows_of(SMALL[:1], data)
    before = {worker for worker, _ in pool._idle if worker.num_programs}
    rows_of(SMALL, data)
    assert not before & {worker for worker, _ in pool._idle if worker.is_usable() and worker.num_programs > 1}


@pytest.mark.exhaustive
def test_should_stop_finishes_what_trains(pool, data):
    epochs = []
    options = EngineOptions(on_epoch=epochs.append, should_stop=lambda: bool(epochs))
    rows = list(run_trials(request_of([*SMALL, CONV], data, epochs=100), options))
    assert 1 <= len(rows) <= 2 and {row.status for row in rows} == {"ok"}


@pytest.mark.slow
def test_generator_closed_ends_what_trains(pool, data):
    rows = run_trials(request_of([*SMALL, CONV], data))
    assert next(rows).status == "ok"
    rows.close()


@pytest.mark.parametrize("kind", [ConnectionError, *exhaustive(ValueError)])
def test_error_in_callback_reaches_the_caller(pool, data, kind):
    def fail(_):
        raise kind("the caller's own")

    with pytest.raises(kind, match="the caller's own"):
        list(run_trials(request_of(SMALL, data), EngineOptions(on_epoch=fail)))


def test_without_workers_it_trains_here_and_says_so(pool, data, fake_trainer, monkeypatch):
    def start(self, environment):
        raise workers.WorkerDied("it ended with exit code 1")

    monkeypatch.setattr(process_worker.ProcessWorker, "__init__", start)
    broken = process_pool({})
    monkeypatch.setattr(executor, "cpu_pool", lambda num_threads: broken)
    with pytest.warns(UserWarning, match="trains in this process, as no worker process could be started: it ended"):
        assert [row.status for row in rows_of(SMALL, data)] == ["ok"] * 3


def test_plan_workers_by_programs_cores_and_memory(pool, monkeypatch):
    assert [plan_workers(None, n, 0) for n in (1, 2, 3, 4, 9)] == [(1, 2), (1, 2), (1, 2), (2, 1), (2, 1)]
    monkeypatch.setattr(executor, "num_cores", lambda: 16)
    assert [plan_workers(None, n, 0) for n in (4, 10, 64)] == [(2, 8), (5, 3), (16, 1)]
    monkeypatch.setattr(executor, "available_memory", lambda _: 5 << 30)
    assert plan_workers(None, 64, 0) == (5, 3) and plan_workers(None, 64, 2 << 30) == (1, 16)
    assert [plan_workers(requested, 64, 0) for requested in (0, 3)] == [(0, 16), (3, 5)]


def test_workers_that_are_none(data, monkeypatch):
    monkeypatch.setenv("JNAS_WORKERS", "two")
    with pytest.raises(JnasError, match=r"JNAS_WORKERS must be a number of processes, ray, .* got 'two'"):
        rows_of(SMALL[:1], data)


def test_choose_executor_on_a_gpu_compiles_ahead_in_workers(pool, data, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    ahead = process_pool({})
    monkeypatch.delenv("JNAS_WORKERS")
    monkeypatch.setattr(executor, "num_cores", lambda: 8)
    monkeypatch.setattr(
        workers.WorkerPool, "_start_missing", lambda self: self._idle.extend((object(), n) for n in range(self._count))
    )
    monkeypatch.setattr(executor, "ahead_pool", lambda: ahead)
    split = data.split(0.25)
    few, many = choose_executor(None, 2, split), choose_executor(None, 20, split)
    assert (few.num_slots, few.num_training) == (2, 1), "the next program compiles while one trains"
    assert (many.num_slots, many.num_training) == (3, 1) and len(ahead._idle) == 2


@pytest.mark.exhaustive
def test_worker_compiles_ahead_into_the_cache(data, tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path), "JNAS_EXECUTABLE_CACHE": "1", "JAX_COMPILATION_CACHE_DIR": ""}
    pool = process_pool(environment)
    pool.start(1)
    pool.wait()
    trainer = Trainer(CONV, jnas.Recipe(epochs=1, batch_size=24, val_fraction=0.25), data.split(0.25))
    executor.Executor(1, ahead_pool=pool)._compile_ahead(trainer)
    ((worker, _),) = pool._idle
    assert worker.is_usable() and worker.num_programs == 1
    assert len(list((tmp_path / "jnas" / "executables").iterdir())) == 1
    worker.kill()


def test_worker_messages_survive_pickling(pool, data):
    request = request_of([CONV], data)
    spec = executor.GroupSpec(CONV, tuple(request.trials), request.recipe, 1 << 30)
    assert pickle.loads(pickle.dumps(spec)) == spec
