"""The engine's control flow, with a trainer that trains nothing: order, memory, failures, timeouts, halving."""

import dataclasses
import gc
import threading
import time
import weakref
from collections import deque

import jax
import pytest
from conftest import small_arrays

import jnas
from jnas.errors import JnasError
from jnas.space import Conv2d, Dropout, Flatten, LeakyReLU, Linear, ReLU, Space, Template
from jnas.store import Store
from jnas.train import (
    EngineOptions,
    Recipe,
    TimingStats,
    Trainer,
    TrainingRequest,
    Trial,
    evaluate,
    run_pruned,
    run_stream,
    run_trials,
    successive_halving,
    train_modules,
)
from jnas.train._engine import group_trainer, scheduler
from jnas.train._engine.executor import Executor
from jnas.train._engine.group_trainer import choose_num_lanes, required_memory, training_memory
from jnas.train._engine.jobs import Job, make_groups
from jnas.train._engine.progress import ProgressBar

RECIPE = Recipe(epochs=2, batch_size=24, val_fraction=0.25)
EXHAUSTED = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nand much more")


def template(width, in_shape=(3, 8, 8)):
    return Template([Flatten(), Linear(width), ReLU(), Linear(3)], in_shape)


SMALL = [template(width) for width in (32, 64, 128)]
HUGE = Template([Flatten(), Linear(4096), Linear(4096), Linear(3)], (3, 8, 8))


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


@pytest.fixture(autouse=True)
def trainer(request):
    """Every test trains with the fake trainer, but for those that are marked otherwise."""
    return request.getfixturevalue("fake_trainer")


@pytest.fixture
def lanes(monkeypatch):
    """Puts this many trials side by side."""
    return lambda n: monkeypatch.setattr(group_trainer, "choose_num_lanes", lambda *_: n)


def make_faulty(monkeypatch, trainer, method, is_faulty, error):
    """Lets a method raise for some trainers; returns the lanes of all trainers that it was called on."""
    lanes, original = [], getattr(trainer, method)

    def faulty(self, *arguments):
        lanes.append(self.num_lanes)
        if is_faulty(self):
            raise error
        return original(self, *arguments)

    monkeypatch.setattr(trainer, method, faulty)
    return lanes


def trains(template):
    return lambda trainer: trainer.steps.signature == template


def rows_of(trials, data, recipe=RECIPE, store=None, **options):
    rows = evaluate(trials, data, recipe, store=store, progress=False, options=EngineOptions(**options))
    assert [row.key.hash for row in rows] == [getattr(trial, "template", trial).hash for trial in trials]
    return rows


def request_of(trials, data, recipe=RECIPE, store=None):
    return TrainingRequest.of(trials, data, recipe, 0, 0, store)


# Rows.


def test_evaluate_returns_rows_in_order_and_looks_up_what_the_store_has(data, tmp_path, trainer, monkeypatch):
    store, seen, timing = Store(tmp_path / "results.duckdb"), [], TimingStats()
    rows = rows_of([SMALL[0], SMALL[1], SMALL[0]], data, store=store, on_row=seen.append, timing=timing)
    assert len(timing.reports) == len(store.sql("SELECT * FROM programs")) == 2
    assert seen == rows and rows[0] == rows[2] and [row.status for row in rows] == ["ok"] * 3
    assert len(rows[0].epochs) == 2 and rows[0].val_acc_final == rows[0].epochs[-1].val_acc == rows[0].val_acc_max
    assert rows[0].params == SMALL[0].cost.params
    monkeypatch.setattr(trainer, "train_until", lambda *_: pytest.fail("trained what the store has"))
    assert rows_of([SMALL[1], SMALL[0]], data, store=str(store.path)) == [rows[1], rows[0]]
    assert len(store.to_df()) == 2
    assert evaluate(SMALL[0], data, RECIPE, store=store, progress=False) == [rows[0]]


def test_evaluate_of_nothing_is_no_rows(data):
    assert evaluate([], data, RECIPE) == [] and successive_halving([], data, RECIPE) == []


def test_evaluate_rows_are_stored_as_they_are_done(data, tmp_path):
    store, seen = Store(tmp_path / "results.duckdb"), []
    trials = [Trial(SMALL[0], 0), Trial(SMALL[1], 0), Trial(SMALL[0], 1, learning_rate=1e-2)]

    def interrupt(row):
        seen.append(row)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows_of(trials, data, store=store, on_row=interrupt)
    assert len(store.to_df()) >= 2
    rows = rows_of(trials, data, store=store)
    assert rows[:2] == seen and rows[2].key.seed == 1 and rows[2].key.recipe_id != rows[0].key.recipe_id
    rates = store.sql("SELECT CAST(recipe_json->>'learning_rate' AS DOUBLE) AS r FROM recipes ORDER BY r").r.tolist()
    assert rates == [RECIPE.learning_rate, 1e-2]
    assert len(store.sql("SELECT * FROM programs")) >= 1


def test_evaluate_batch_larger_than_the_training_set_is_named(data):
    with pytest.raises(JnasError, match="batch_size must be <= 72, the number of training images, got 500"):
        rows_of(SMALL, data, dataclasses.replace(RECIPE, batch_size=500))


def test_make_groups_shares_programs_in_order_of_first_use():
    leaky = Template([Flatten(), Linear(32), LeakyReLU(0.1), Linear(3)], (3, 8, 8))
    dropout = [Template([Flatten(), Linear(32), Dropout(p), Linear(3)], (3, 8, 8)) for p in (0.1, 0.7)]
    jobs = [Job(Trial(one, 0), None) for one in [SMALL[0], SMALL[1], leaky, *dropout, SMALL[0]]]
    groups = make_groups(jobs)
    assert [len(group.jobs) for group in groups] == [3, 1, 2] and groups[0].work == 3 * SMALL[0].cost.macs


def test_programs_go_when_their_group_is_done(data, trainer, monkeypatch):
    alive, counts = weakref.WeakSet(), []
    compile = trainer.compile
    monkeypatch.setattr(trainer, "compile", lambda self: alive.add(self) or compile(self))

    def count(_):
        gc.collect()
        counts.append(len(alive))

    rows_of([template(width) for width in (32, 64, 128, 256, 512, 1024)], data, on_row=count)
    gc.collect()
    assert max(counts) <= 3 and not alive


# Memory and lanes.


def test_choose_num_lanes_by_device_and_memory(monkeypatch):
    template = Template([Conv2d(8, 3, 2), ReLU(), Flatten(), Linear(10)])
    assert choose_num_lanes(template, 128, 16, 1 << 34) == 1, "a CPU trains one after the other"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [choose_num_lanes(template, 128, n, 1 << 34) for n in (1, 5, 16, 1000)] == [1, 8, 16, 64]
    one = required_memory(template, 128)
    assert choose_num_lanes(template, 128, 16, 6 * one) == 4 and choose_num_lanes(template, 128, 16, one - 1) == 0


def test_required_memory_is_of_the_right_size(data):
    split = jnas.load_data(small_arrays(size=32)).split(0.25)
    for seed in range(2):
        drawn = Space((3, 32, 32), 3, conv_num=3).random(seed)
        real = Trainer(drawn, Recipe(batch_size=64), split)
        real.compile()
        assert 0.3 < required_memory(drawn, 64) / real.memory < 5
    assert training_memory(5) == 5 and training_memory() > 1 << 28


def test_too_large_is_a_row_before_anything_is_allocated(data, tmp_path, trainer, monkeypatch, lanes):
    store = Store(tmp_path / "results.duckdb")
    with monkeypatch.context() as patch:
        make_faulty(patch, trainer, "start", trains(HUGE), AssertionError("allocated"))
        rows = rows_of([SMALL[0], HUGE, SMALL[1]], data, max_memory=100 << 20, store=store)
    assert [row.status for row in rows] == ["ok", "too_large", "ok"]
    assert "GiB" in rows[1].message and "smaller batch size" in rows[1].message
    lanes(1)  # the estimate misses it, the compiler does not
    monkeypatch.setattr(trainer, "memory", 200 << 20)
    assert rows_of([HUGE], data, max_memory=100 << 20)[0].status == "too_large"
    assert rows_of([HUGE], data, store=store)[0].status == "ok", "with more memory it is tried again"


def test_fewer_lanes_where_the_compiler_says_too_much_memory(data, trainer, monkeypatch, lanes):
    lanes(4)
    monkeypatch.setattr(trainer, "memory", property(lambda self: 10 * self.num_lanes))
    timing = TimingStats()
    rows = rows_of([Trial(SMALL[0], seed) for seed in range(5)], data, max_memory=25, timing=timing)
    assert [row.status for row in rows] == ["ok"] * 5
    assert [(report.num_trials, report.lanes_per_program) for report in timing.reports] == [(5, 2)]


def test_fewer_lanes_where_memory_runs_out(data, trainer, monkeypatch, lanes):
    trials = [Trial(SMALL[0], seed) for seed in range(5)]
    lanes(1)
    expected = rows_of(trials, data)
    lanes(4)
    calls = make_faulty(monkeypatch, trainer, "train_until", lambda self: self.num_lanes > 1, EXHAUSTED)
    assert [row.epochs for row in rows_of(trials, data)] == [row.epochs for row in expected]
    assert calls == [4, 2, 1, 1, 1, 1, 1], "halved twice, then one after the other"


# Failures.


def test_out_of_memory_is_a_row_that_is_tried_again(data, trainer, monkeypatch, tmp_path):
    store = tmp_path / "results.duckdb"
    with monkeypatch.context() as patch:
        make_faulty(patch, trainer, "train_until", lambda _: True, EXHAUSTED)
        rows = rows_of(SMALL[:2], data, store=store)
    assert {row.status for row in rows} == {"out_of_memory"} and "allocating 123 bytes" in rows[0].message
    assert {row.status for row in rows_of(SMALL[:2], data, store=store)} == {"ok"}


@pytest.mark.parametrize("method", ["compile", "start", "train_until"])
def test_error_is_one_row(data, trainer, monkeypatch, method):
    make_faulty(monkeypatch, trainer, method, trains(SMALL[1]), ValueError("it broke\nin many lines"))
    rows = rows_of(SMALL, data)
    assert [row.status for row in rows] == ["ok", "error", "ok"] and rows[1].message == "it broke"


def test_population_in_which_everything_goes_wrong(data, trainer, monkeypatch, tmp_path):
    """One call, one store: each fault is its own row, and healthy trials have the numbers of being alone."""
    trials = [SMALL[0], Trial(SMALL[0], learning_rate=1e30), template(32, (1, 28, 28)), SMALL[1], SMALL[2], HUGE]
    trials.append(template(512))
    alone = [rows_of([trials[index]], data)[0] for index in (0, 6)]
    make_faulty(monkeypatch, trainer, "compile", trains(SMALL[1]), ValueError("broken"))
    make_faulty(monkeypatch, trainer, "train_until", trains(SMALL[2]), EXHAUSTED)
    store = Store(tmp_path / "results.duckdb")
    rows = rows_of(trials, data, store=store, max_memory=200 << 20)
    assert [row.status for row in rows] == ["ok", "diverged", "invalid", "error", "out_of_memory", "too_large", "ok"]
    assert all(row.message and "\n" not in row.message for row in rows if row.status != "ok")
    assert "epoch 1" in rows[1].message and "(3, 8, 8)" in rows[2].message
    assert [rows[0].epochs, rows[6].epochs] == [row.epochs for row in alone]
    assert sorted(store.to_df().status) == sorted(row.status for row in rows)


def test_compile_timeout_is_a_row_and_others_go_on(data, trainer, monkeypatch, tmp_path):
    released = threading.Event()
    original = trainer.compile

    def slow(self):
        if trains(SMALL[1])(self):
            released.wait(60)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "compile", slow)
        rows = rows_of(SMALL, data, compile_timeout=0.5, store=tmp_path / "results.duckdb")
        released.set()
    assert [row.status for row in rows] == ["ok", "timeout", "ok"]
    assert rows[1].message.startswith("compiling took longer than 0.5 s: raise the limit")
    assert rows_of([SMALL[1]], data, store=tmp_path / "results.duckdb")[0].status == "ok"


# Scheduling.


def test_next_group_compiles_while_one_trains(data, trainer, monkeypatch):
    compiled = threading.Event()
    original = trainer.compile

    def compile(self):
        if trains(SMALL[1])(self):
            compiled.set()
        return original(self)

    def train_until(self, run, epoch, on_epoch=None):
        assert compiled.wait(30), "the second program was not compiled while the first trained"
        return run_until(self, run, epoch, on_epoch)

    run_until = trainer.train_until
    monkeypatch.setattr(trainer, "compile", compile)
    monkeypatch.setattr(trainer, "train_until", train_until)
    assert [row.status for row in rows_of(SMALL[:2], data)] == ["ok", "ok"]


class ManyTrainExecutor(Executor):
    """As with workers: several train at the same time."""

    num_slots = num_training = property(lambda self: self._num_workers)


@pytest.mark.parametrize(("memory", "count", "most"), [(50, 2, 2), (60, 2, 1), (10, 1, 1), (500, 2, 1)], ids=str)
def test_groups_that_do_not_fit_beside_others_wait(data, trainer, monkeypatch, memory, count, most):
    lock, training, peak = threading.Lock(), set(), []
    original = trainer.train_until

    def train_until(self, *arguments):
        with lock:
            training.add(self)
            peak.append(len(training))
        time.sleep(0.05)
        with lock:
            training.discard(self)
        return original(self, *arguments)

    monkeypatch.setattr(trainer, "train_until", train_until)
    monkeypatch.setattr(trainer, "memory", memory)
    monkeypatch.setattr(group_trainer, "choose_num_lanes", lambda *_: 1)
    request = request_of([template(width) for width in (32, 64, 128, 256)], data)
    groups = make_groups([Job(trial, key) for trial, key in zip(request.trials, request.keys, strict=True)])
    options = EngineOptions(max_memory=100 if memory <= 100 else 900)
    jobs = scheduler.Scheduler(deque(groups), RECIPE, request.split, ManyTrainExecutor(count), options, 2, False).run()
    assert len(list(jobs)) == 4 and max(peak) == most


def test_longest_group_starts_before_it_would_be_the_last():
    def first(work, num_training=2):
        groups = [type("Group", (), {"work": amount})() for amount in work]
        one = scheduler.Scheduler.__new__(scheduler.Scheduler)
        one.changed, one.pending = threading.Condition(), deque(groups)
        one.executor = ManyTrainExecutor(num_training)
        return work.index(one._next_group().work)

    assert first([1.0, 2.0, 3.0, 9.0]) == 3
    assert first([1.0, 2.0, 3.0, 2.5, 4.0]) == 0
    assert first([1.0, 2.0, 3.0, 2.5, 4.0], num_training=4) == 4


def test_generator_closed_stops_training(data, trainer, monkeypatch):
    slow = trainer.fake_epoch
    monkeypatch.setattr(trainer, "fake_epoch", lambda *args: time.sleep(0.01) or slow(*args))
    rows = run_trials(request_of(SMALL, data))
    assert next(rows).status == "ok"
    rows.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "jnas-slot"]


def test_error_in_callback_reaches_the_caller(data):
    def fail(_):
        raise ZeroDivisionError("the caller's")

    with pytest.raises(ZeroDivisionError, match="the caller's"):
        list(run_trials(request_of(SMALL, data), EngineOptions(on_epoch=fail)))


def test_should_stop_finishes_what_trains_and_begins_nothing(data, trainer, monkeypatch):
    slow = trainer.fake_epoch
    monkeypatch.setattr(trainer, "fake_epoch", lambda *args: time.sleep(0.1) or slow(*args))
    epochs = []
    options = EngineOptions(on_epoch=epochs.append, should_stop=lambda: bool(epochs))
    rows = list(run_trials(request_of([Trial(SMALL[0], seed) for seed in range(20)], data), options))
    assert 1 <= len(rows) < 10 and all(len(row.epochs) == 2 for row in rows)


def test_should_stop_does_not_wait_for_a_compiler_beyond_its_limit(data, trainer, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(trainer, "compile", lambda self: released.wait(30))
    start = time.monotonic()
    options = EngineOptions(compile_timeout=0.5, should_stop=lambda: time.monotonic() - start > 0.1)
    rows = list(run_trials(request_of(SMALL[:1], data), options))
    assert time.monotonic() - start < 10 and [row.status for row in rows] in ([], ["timeout"])
    released.set()


def test_progress_bar_shows_rate_and_time(data, capsys):
    timing = TimingStats()
    rows = rows_of(SMALL, data, timing=timing)
    with ProgressBar(4, timing) as bar:
        for row in [*rows, rows[0]]:
            bar.advance(row)
    text = capsys.readouterr().out
    assert "4/4" in text and "trials/s" in text and "ETA" in text and "% of the time waiting for the compiler" in text


def test_train_modules_yields_rows_and_modules(data):
    pairs = list(train_modules(request_of([SMALL[0], Trial(SMALL[1], learning_rate=1e30)], data)))
    assert {row.status: module is None for row, module in pairs} == {"ok": False, "diverged": True}


# Stopping losers early.


def test_run_pruned_trains_what_is_kept_as_evaluate_would(data, tmp_path):
    store, seen = Store(tmp_path / "results.duckdb"), {}
    recipe = dataclasses.replace(RECIPE, epochs=3)
    trials = [*SMALL, Trial(template(256), learning_rate=1e30)]

    def keeps(keys, curves):
        seen.update(zip([key.hash for key in keys], curves.tolist(), strict=True))
        return [key.hash == SMALL[1].hash for key in keys]

    rows = list(run_pruned(request_of(trials, data, recipe, store), 1, keeps))
    whole = rows_of(trials, data, recipe)
    assert [row.status for row in rows] == ["stopped", "ok", "stopped", "diverged"]
    assert [len(row.epochs) for row in rows] == [1, 3, 1, 1]
    assert rows[0].message == "stopped after 1 of 3 epochs" and rows[0].val_acc_final is None
    assert rows[1].epochs == whole[1].epochs and rows[0].epochs == whole[0].epochs[:1]
    assert seen == {row.key.hash: [row.epochs[0].val_acc] for row in rows[:3]}
    again = list(run_pruned(request_of(trials, data, recipe, store), 1, lambda *_: pytest.fail("decided anew")))
    assert again[:3] == rows[:3] and again[3].status == "diverged"
    assert [row.status for row in rows_of(trials, data, recipe, store=store)[:3]] == ["ok"] * 3


def test_successive_halving_carries_the_best_on_as_if_never_stopped(data, tmp_path):
    recipe, store = dataclasses.replace(RECIPE, epochs=4), Store(tmp_path / "results.duckdb")
    trials = [Trial(one, seed) for one in SMALL for seed in range(3)]
    rows = successive_halving(trials, data, recipe, store=store, progress=False)
    assert [row.key.hash for row in rows] == [trial.template.hash for trial in trials]
    assert sorted(len(row.epochs) for row in rows) == [1] * 6 + [3] * 2 + [4]
    (winner,) = (row for row in rows if row.status == "ok")
    losers = [row for row in rows if len(row.epochs) == 1]
    assert all(row.epochs[0].val_acc >= max(r.epochs[0].val_acc for r in losers) for row in rows if row not in losers)
    assert "stopped after 1 of 4 epochs" in {row.message for row in losers}
    index = rows.index(winner)
    (alone,) = rows_of([trials[index]], data, recipe)
    assert alone.epochs == winner.epochs and alone.key == winner.key
    again = rows_of(trials, data, recipe, store=store)
    assert [row.status for row in again] == ["ok"] * 9 and again[index] == winner


def test_successive_halving_goes_on_without_what_failed(data):
    trials = [template(32, (3, 9, 9)), SMALL[0], Trial(SMALL[1], learning_rate=1e30)]
    rows = successive_halving(trials, data, dataclasses.replace(RECIPE, epochs=3), progress=False)
    assert [row.status for row in rows] == ["invalid", "ok", "diverged"]


def test_successive_halving_interrupted_keeps_what_it_knows(data, tmp_path, trainer, monkeypatch):
    store, count = Store(tmp_path / "results.duckdb"), iter(range(10))
    original = trainer.train_until

    def interrupted(self, *arguments):
        if next(count) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(trainer, "train_until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        successive_halving(SMALL, data, RECIPE, store=store, progress=False)
    assert store.to_df().status.tolist() == ["stopped"] * 3 and len(store.sql("SELECT * FROM epochs")) == 2


# Rounds that overlap.


def stream(requests, data, store=None):
    """Rows of some requests, of which the next is given whenever something is asked for."""
    asked, left = [], list(requests)

    def refill():
        asked.append(len(left))
        return request_of(left.pop(0), data, store=store) if left else None

    first = request_of(left.pop(0), data, store=store)
    return [row for row in run_stream(first, refill, 4) if row], asked


def test_run_stream_trains_one_request_after_the_other(data, tmp_path, trainer, monkeypatch):
    requests = [SMALL[:2], [], [SMALL[2]], [template(256), template(512)]]
    rows, asked = stream(requests, data, tmp_path / "a.duckdb")
    assert asked == [3, 2, 1, 0], "each is asked for once, and the end is told once"
    trials = [trial for request in requests for trial in request]
    assert sorted(row.key.hash for row in rows) == sorted(trial.hash for trial in trials)
    (alone,) = rows_of(SMALL[:1], data)
    assert [row.epochs for row in rows if row.key == alone.key] == [alone.epochs]
    monkeypatch.setattr(trainer, "train_until", lambda *_: pytest.fail("trained what the store has"))
    again, _ = stream(requests, data, tmp_path / "a.duckdb")
    assert again == [row for trial in trials for row in rows if row.key.hash == trial.hash]


def test_run_stream_begins_the_next_request_before_the_one_before_has_ended(data, trainer, monkeypatch):
    begun, original = threading.Event(), trainer.train_until

    def train_until(self, run, epoch, on_epoch=None):
        if trains(SMALL[0])(self):
            assert begun.wait(30), "the next request was not asked for while this one trained"
        return original(self, run, epoch, on_epoch)

    def refill():
        if begun.is_set():
            return None
        begun.set()
        return request_of([SMALL[1]], data)

    monkeypatch.setattr(trainer, "train_until", train_until)
    assert {row.status for row in run_stream(request_of(SMALL[:1], data), refill) if row} == {"ok"}


def test_run_stream_waits_where_nothing_can_be_chosen_yet(data):
    """An empty request says so; it is asked again after whatever is done."""
    rows, left = [], [[SMALL[1]], [SMALL[2]]]

    def refill():
        if len(rows) < 3 - len(left):
            return request_of([], data)
        return request_of(left.pop(0), data) if left else None

    for row in run_stream(request_of(SMALL[:1], data), refill):
        rows += [row] * (row is not None)
    assert [row.key.hash for row in rows] == [one.hash for one in SMALL]


def test_run_stream_that_should_stop_asks_for_nothing_more(data, trainer, monkeypatch):
    rows, asked = [], []

    def refill():
        asked.append(len(rows))
        return request_of([template(2 ** (5 + len(asked)))], data)

    options = EngineOptions(should_stop=lambda: len(rows) >= 2)
    for row in run_stream(request_of(SMALL[:1], data), refill, options=options):
        rows += [row] * (row is not None)
    assert 2 <= len(rows) <= 4 and len(asked) <= 4


def test_what_is_done_together_is_yielded_together_also_before_an_error():
    one = scheduler.Scheduler.__new__(scheduler.Scheduler)
    one.options, one.ending = EngineOptions(), threading.Event()

    def fail():
        raise ValueError("the caller's own")

    batches = one._handle([(lambda: ["first"],), (lambda: None,), (lambda: ["second"],), (fail,)])
    assert next(batches) == ["first", "second"] and one.options.timing.num_trials == 2
    with pytest.raises(ValueError, match="the caller's own"):
        next(batches)
