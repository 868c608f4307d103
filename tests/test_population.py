"""The engine: groups, compiling ahead, memory, lanes in turn and side by side, successive halving, precision."""

import dataclasses
import gc
import io
import weakref

import jax
import jax.monitoring
import numpy as np
import pytest
from conftest import small_arrays
from rich.console import Console

import jnas
from jnas.errors import JnasError
from jnas.nn._signature import lower
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.store import Store
from jnas.train import Recipe, Trainer, Trial, Watch, rungs, sample_trials, successive_halving
from jnas.train import _evaluate as evaluate
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine import jobs as population
from jnas.train._engine import scheduler as schedule
from jnas.train._engine.jobs import Job, groups
from jnas.train._engine.memory_plan import Device, plan, required_memory
from jnas.train._engine.progress import Bar
from jnas.train._step import Program

SPACE = Space((3, 8, 8), 3, conv_num=2, lin_num=2)
RECIPE = Recipe(epochs=2, batch_size=24, validation=0.25, shift=1)
SMALL = [Template([lt.Flatten(), lt.Linear(w), lt.ReLU(), lt.Linear(3)], (3, 8, 8)) for w in (32, 64, 128)]
GPU = Device(memory=16 << 30, macs=1e13, bandwidth=2e12, launch=5e-6)


@pytest.fixture
def data():
    return jnas.load_data(small_arrays())


def wide(width):
    """A plan that puts so many lanes side by side."""
    return lambda *_: population_plan(width)


def population_plan(width):
    return type("Plan", (), {"width": width})()


@pytest.mark.parametrize("policy", ["exact", "folded"])
def test_a_mix_is_one_program_a_structure_and_one_trace(data, policy, monkeypatch):
    traced = []
    step = Program.step
    monkeypatch.setattr(Program, "step", lambda self, *args: traced.append(1) or step(self, *args))
    trials = sample_trials(SPACE, 1, structures=2, lanes=3, policy=policy, seeds=True)
    mixed = trials[::2] + trials[1::2]
    watch = Watch()
    rows = evaluate(mixed, data, RECIPE, policy=policy, progress=False, watch=watch)
    assert [row.status for row in rows] == ["ok"] * 6
    assert [(row.key.hash, row.key.seed) for row in rows] == [(t.template.hash, t.seed) for t in mixed]
    assert len(traced) == 2, "a structure was traced more than once"
    assert watch.programs == 2 and watch.models == 6 and watch.compiling > 0


@pytest.mark.parametrize("width", [2, 4])
def test_lanes_side_by_side_give_the_rows_of_lanes_in_turn(data, width, monkeypatch):
    trials = sample_trials(SPACE, 2, structures=2, lanes=3, seeds=True, learning_rate=(1e-3, 1e-2))
    in_turn = evaluate(trials, data, RECIPE, policy="folded", progress=False)
    monkeypatch.setattr(population, "plan", wide(width))
    side_by_side = evaluate(trials, data, RECIPE, policy="folded", progress=False)
    exact = evaluate(trials, data, RECIPE, progress=False)
    for rows in zip(in_turn, side_by_side, exact, strict=True):
        losses = [[epoch.train_loss for epoch in row.epochs] for row in rows]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
        np.testing.assert_allclose(losses[2], losses[0], rtol=1e-3)
        assert len({row.key for row in rows}) == 1


def test_a_nan_lane_is_a_row_and_its_neighbours_are_bit_identical(data, monkeypatch):
    monkeypatch.setattr(population, "plan", wide(4))
    trials = [Trial(SMALL[0], seed) for seed in range(4)]
    sick = [*trials[:2], dataclasses.replace(trials[2], learning_rate=1e30), trials[3]]
    well, mixed = (evaluate(some, data, RECIPE, progress=False) for some in (trials, sick))
    assert [row.status for row in mixed] == ["ok", "ok", "nan", "ok"] and "epoch" in mixed[2].message
    for lane in (0, 1, 3):
        assert mixed[lane].epochs == well[lane].epochs


def test_what_is_too_large_is_a_row_before_anything_is_allocated(data, tmp_path, monkeypatch):
    huge = Template([lt.Flatten(), lt.Linear(4096), lt.Linear(4096), lt.Linear(3)], (3, 8, 8))
    store = Store(tmp_path / "results.duckdb")
    with monkeypatch.context() as patch:
        init = Program.init
        patch.setattr(
            Program,
            "init",
            lambda self, *args: pytest.fail("allocated") if lowered_from(self, huge) else init(self, *args),
        )
        rows = evaluate([SMALL[0], huge, SMALL[1]], data, RECIPE, memory=100 << 20, store=store, progress=False)
    assert [row.status for row in rows] == ["ok", "too_large", "ok"]
    assert "GiB" in rows[1].message and "batch" in rows[1].message
    # A program whose size the estimate misses is caught when it is compiled.
    with monkeypatch.context() as patch:
        patch.setattr(population, "plan", wide(1))
        (row,) = evaluate([huge], data, RECIPE, memory=100 << 20, progress=False)
        assert row.status == "too_large"
    # With more memory it is tried again.
    assert [r.status for r in evaluate([huge], data, RECIPE, store=store, progress=False)] == ["ok"]
    assert store.to_df().status.tolist() == ["ok"] * 3


def lowered_from(program, template):
    return program.structure.hull == template


def test_the_estimate_of_memory_is_of_the_right_size():
    arrays = small_arrays(size=32)
    split = jnas.load_data(arrays).split(0.25)
    for seed in range(4):
        template = Space((3, 32, 32), 3, conv_num=3).random(seed)
        trainer = Trainer(template, Recipe(batch_size=64), split)
        trainer.compile()
        estimate = required_memory(lower(template)[0], 64, Device.here())
        assert 0.3 < estimate / trainer.memory < 5, (estimate, trainer.memory, template)


def test_small_models_go_side_by_side_on_a_gpu_and_in_turn_on_a_cpu():
    small, _ = lower(Template([lt.Conv2d(8, 3, 2), lt.ReLU(), lt.Flatten(), lt.Linear(10)]))
    large, _ = lower(Template([lt.Conv2d(192, 7), lt.ReLU(), lt.Conv2d(192, 7), lt.Flatten(), lt.Linear(10)]))
    cpu = Device(memory=16 << 30, macs=80e9, bandwidth=20e9, launch=5e-6)
    assert plan(small, 128, 16, GPU).width == 16
    assert plan(small, 128, 16, cpu).width == 1
    assert plan(large, 128, 16, GPU).width == 1
    assert plan(small, 128, 1, GPU).width == 1
    # Memory bounds the width, and in the end says no.
    need = required_memory(small, 128, GPU)
    bounded = plan(small, 128, 16, dataclasses.replace(GPU, memory=6 * need))
    assert 1 < bounded.width < 16 and bounded.memory <= 6 * need
    assert plan(small, 128, 16, dataclasses.replace(GPU, memory=need // 2)) is None
    # Where a lone lane lays out its patches, too, it takes more.
    assert required_memory(large, 128, dataclasses.replace(GPU, patches=True)) > required_memory(large, 128, GPU)


def test_programs_go_when_their_group_is_done(data, monkeypatch):
    alive = weakref.WeakSet()
    compile = Trainer.compile

    def noted(self):
        alive.add(self)
        return compile(self)

    monkeypatch.setattr(Trainer, "compile", noted)
    counts = []

    def count(_):
        gc.collect()
        counts.append(len(alive))

    trials = sample_trials(SPACE, 5, structures=8, lanes=1)
    evaluate(trials, data, RECIPE, progress=False, on_result=count)
    gc.collect()
    # Those in training, those that are compiled ahead, and the one that is just done.
    assert max(counts) <= 2 + max(2, schedule.compile_workers()) + 1 and not alive


def test_jax_is_made_to_forget_the_programs_that_are_done(data, monkeypatch):
    """Or a search that is left alone would grow with each template."""
    monkeypatch.setattr(remembered, "MOST", 2)
    kept, forget = [], remembered.forget

    def watched():
        forget()
        kept.append(len(jax.devices()[0].client.live_executables()))

    monkeypatch.setattr(remembered, "forget", watched)
    remembered.forget()
    trials = sample_trials(SPACE, 5, structures=8, lanes=1)
    rows = evaluate(trials, data, RECIPE, progress=False)
    assert len(kept) >= 4  # at the start, and once in two programs
    # What is in training, or ready for it, is held: of each a step and an evaluation; and what makes batches of images.
    assert max(kept) <= kept[0] + 2 * (2 + max(2, schedule.compile_workers())) + 3
    monkeypatch.undo()
    again = evaluate(trials, data, RECIPE, progress=False)
    assert [row.epochs for row in rows] == [row.epochs for row in again]


def test_a_second_run_of_a_population_compiles_nothing(data, tmp_path):
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    misses = []
    jax.monitoring.register_event_listener(
        lambda event, **_: misses.append(event) if event == "/jax/compilation_cache/cache_misses" else None
    )
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        reset_cache()
        jax.clear_caches()  # what earlier tests compiled
        first = evaluate(SMALL, data, RECIPE, progress=False)
        assert misses
        misses.clear()
        jax.clear_caches()
        assert [row.epochs for row in evaluate(SMALL, data, RECIPE, progress=False)] == [row.epochs for row in first]
        assert not misses
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        reset_cache()


def reset_cache():
    """The cache folder is read once: JAX has to be told that it changed."""
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()


def test_rows_come_in_order_and_are_stored_as_they_are_done(data, tmp_path):
    store = Store(tmp_path / "results.duckdb")
    trials = [Trial(SMALL[0], 0), Trial(SMALL[1], 0), Trial(SMALL[0], 1, learning_rate=1e-2)]
    seen = []

    def stop(row):
        seen.append(row)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(trials, data, RECIPE, store=store, progress=False, on_result=stop)
    assert len(store.to_df()) == 3  # the third shares the first one's program, so it was done with it
    rows = evaluate(trials, data, RECIPE, store=store, progress=False)
    assert rows[:2] == seen and rows[2].key.seed == 1 and rows[2].key.recipe_id != rows[0].key.recipe_id
    rates = store.sql("SELECT CAST(recipe_json->>'learning_rate' AS DOUBLE) AS r FROM recipes ORDER BY r").r.tolist()
    assert rates == [RECIPE.learning_rate, 1e-2]


def test_what_is_no_template_is_named(data):
    with pytest.raises(JnasError, match="'abc' cannot be evaluated"):
        evaluate(["abc"], data, RECIPE)
    with pytest.raises(JnasError, match="no policy 'magic'"):
        evaluate(SMALL, data, RECIPE, policy="magic")


def test_the_bar_tells_models_rate_time_left_and_waiting(data):
    console = Console(file=io.StringIO(), width=200)
    watch = Watch()
    with Bar(4, watch, console=console) as bar:
        for row in evaluate(SMALL, data, RECIPE, progress=False, watch=watch):
            bar.done(row)
        text = bar.text()
        assert "models/s" in text and "ETA" in text and "% of the time waiting for the compiler" in text
        bar.done(row)
    assert "4/4" in console.file.getvalue()


def test_rungs():
    assert rungs(20) == [1, 3, 9, 20] and rungs(1) == [1] and rungs(8, first=2, eta=2) == [2, 4, 8]
    with pytest.raises(JnasError, match="eta=1"):
        rungs(9, eta=1)


def test_successive_halving_carries_the_best_on_as_if_they_had_never_stopped(data, tmp_path, monkeypatch):
    # One lane at a time, so that all run the same program, to the last bit: with others beside it, it rounds otherwise.
    monkeypatch.setattr(population, "plan", wide(1))
    recipe = dataclasses.replace(RECIPE, epochs=4)
    trials = [*sample_trials(SPACE, 5, 3, 2, seeds=True), *(Trial(t) for t in SMALL)]
    store = Store(tmp_path / "results.duckdb")
    rows = successive_halving(trials, data, recipe, eta=3, store=store, policy="folded", progress=False)
    assert [row.key.hash for row in rows] == [trial.template.hash for trial in trials]
    lengths = [len(row.epochs) for row in rows]
    assert sorted(lengths) == [1] * 6 + [3] * 2 + [4]
    (winner,) = (row for row in rows if row.status == "ok")
    first = {id(row): row.epochs[0].val_acc for row in rows}
    assert all(
        first[id(row)] >= max(first[id(r)] for r in rows if len(r.epochs) == 1) for row in rows if len(row.epochs) > 1
    )
    stopped = [row for row in rows if row.status == "stopped"]
    assert len(stopped) == 8 and all(row.val_acc_final is None for row in stopped)
    assert "stopped after 1 of 4 epochs" in {row.message for row in stopped}
    index = rows.index(winner)
    (alone,) = evaluate([trials[index]], data, recipe, policy="folded", progress=False)
    assert alone.epochs == winner.epochs and alone.key == winner.key
    # Stopped rows are no results: evaluate trains them to the end, and then they are.
    again = evaluate(trials, data, recipe, store=store, policy="folded", progress=False)
    assert [row.status for row in again] == ["ok"] * 9 and again[index] == winner
    assert set(store.to_df().status) == {"ok"}


def test_budgets_of_successive_halving(data):
    recipe = dataclasses.replace(RECIPE, epochs=4)
    rows = successive_halving(SMALL, data, recipe, max_epochs=2, progress=False)
    assert sum(len(row.epochs) for row in rows) == 2 and {row.status for row in rows} == {"stopped"}
    rows = successive_halving(SMALL, data, recipe, max_seconds=1e-9, progress=False)
    assert sum(len(row.epochs) for row in rows) == 0 and {row.status for row in rows} == {"stopped"}
    with pytest.raises(JnasError, match="max_seconds=0 is no budget"):
        successive_halving(SMALL, data, recipe, max_seconds=0)


def test_what_is_in_training_when_the_time_is_over_is_finished(data, monkeypatch):
    begun = []
    advance = Trainer.advance
    monkeypatch.setattr(Trainer, "advance", lambda self, run, *rest: begun.append(run) or advance(self, run, *rest))
    monkeypatch.setattr(Watch, "seconds", property(lambda self: float(len(begun))))
    rows = successive_halving(SMALL, data, dataclasses.replace(RECIPE, epochs=4), max_seconds=0.5, progress=False)
    assert 1 <= sum(len(row.epochs) for row in rows) == len(begun) <= 2, "as many as train at the same time"


def test_halving_goes_on_without_what_failed(data):
    wrong = Template([lt.Flatten(), lt.Linear(3)], (3, 9, 9))
    sick = Trial(SMALL[1], learning_rate=1e30)
    rows = successive_halving([wrong, SMALL[0], sick], data, dataclasses.replace(RECIPE, epochs=3), progress=False)
    assert [row.status for row in rows] == ["invalid", "ok", "nan"]


def test_bfloat16_computes_narrow_and_keeps_its_state_wide(data):
    layers = [
        lt.Conv2d(8),
        lt.ReLU(),
        lt.BatchNorm2d(),
        lt.Conv2d(8, 3),
        lt.MaxPool2d(),
        lt.AvgPool2d(4, 2, True, False),
    ]
    template = Template(
        [*layers, lt.Flatten(), lt.Linear(32), lt.PReLU(True), lt.Dropout(0.1), lt.Linear(3)], (3, 8, 8)
    )
    recipe = dataclasses.replace(RECIPE, epochs=6, precision="bfloat16", learning_rate=1e-2)
    for policy in ("exact", "folded"):
        trainer = Trainer(lower(template, policy)[0], recipe, data.split(0.25))
        run = trainer.train([Trial(template)])
        state = jax.tree.leaves((run.state.params, run.state.optimizer))
        assert {str(leaf.dtype) for leaf in state} <= {"float32", "int32"}
        assert "bf16" in trainer._train.as_text()
        losses = [epoch.train_loss for epoch in run.epochs[0]]
        assert losses[-1] < losses[0] and np.isfinite(losses).all()
    assert dataclasses.replace(recipe, precision="float32").id != recipe.id


def test_a_plan_that_was_too_bold_is_narrowed(data, monkeypatch):
    monkeypatch.setattr(population, "plan", wide(4))
    trials = [Trial(SMALL[0], seed) for seed in range(4)]
    narrow, whole = Trainer(SMALL[0], RECIPE, data.split(0.25), 2), Trainer(SMALL[0], RECIPE, data.split(0.25), 4)
    narrow.compile(), whole.compile()
    watch = Watch()
    assert narrow.memory < whole.memory
    rows = evaluate(trials, data, RECIPE, memory=whole.memory - 1, progress=False, watch=watch)
    assert [row.status for row in rows] == ["ok"] * 4


def test_what_a_caller_raises_is_no_failure_of_a_trial(data):
    def tell(number):
        raise ZeroDivisionError("the caller's")

    split = data.split(0.25)
    (group,) = groups([Job(Trial(SMALL[0], 0), object())], "exact", RECIPE, split, GPU)
    with pytest.raises(ZeroDivisionError, match="the caller's"):
        list(schedule.train([group], 2, on_epoch=tell))


@pytest.mark.parametrize("given", [{"seed": -1}, {"seed": 2**32}, {"learning_rate": -1.0}, {"weight_decay": -0.1}])
def test_a_bad_trial_is_named(given):
    with pytest.raises(JnasError, match=f"The trial's {next(iter(given))}="):
        Trial(SMALL[0], **given)


def test_no_templates_are_no_rows(data):
    assert evaluate([], data, RECIPE) == [] and successive_halving([], data, RECIPE) == []


def test_an_interrupted_halving_keeps_what_it_knows(data, tmp_path, monkeypatch):
    store = Store(tmp_path / "results.duckdb")
    advance, count = Trainer.advance, iter(range(10))

    def interrupted(self, *args):
        if next(count) == 2:
            raise KeyboardInterrupt
        return advance(self, *args)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        successive_halving(SMALL, data, RECIPE, store=store, progress=False)
    rows = store.to_df()
    assert rows.status.tolist() == ["stopped"] * 3
    assert len(store.sql("SELECT * FROM epochs")) == 2


def test_jobs_are_grouped_in_the_order_of_their_structures(data):
    split = data.split(0.25)
    keys = [object() for _ in range(4)]
    order = [SMALL[0], SMALL[1], SMALL[0], SMALL[2]]
    jobs = [Job(Trial(template, 0), key) for template, key in zip(order, keys, strict=True)]
    found = groups(jobs, "exact", RECIPE, split, GPU)
    assert [group.structure.hull for group in found] == SMALL and [len(group.jobs) for group in found] == [2, 1, 1]
