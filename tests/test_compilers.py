"""Processes that compile ahead, and the programs that they keep."""

import dataclasses
import pickle
import shutil
import time

import jax
import pytest
from conftest import BRIEF, small_arrays
from test_population import RECIPE, SMALL, reset_cache

from jnas._runtime import compile_options as compiling
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.nn._signature import lower
from jnas.space import Space
from jnas.train import Trainer, Trial
from jnas.train import _evaluate as evaluate
from jnas.train._engine import (
    compilers,
    workers,
)
from jnas.train._engine import (
    executable_cache as executables,
)
from jnas.train._engine import (
    scheduler as schedule,
)
from jnas.train._engine import (
    worker_process as process,
)
from jnas.train._step import Program


@pytest.fixture(scope="module")
def split():
    return Dataset("small", **small_arrays(), classes=3).split(0.25)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache that keeps programs."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    reset_cache()
    jax.clear_caches()  # what earlier tests compiled
    monkeypatch.setenv("JNAS_PROCESSES", "1")
    monkeypatch.setitem(compiling._BRIEF, "cpu", BRIEF)  # as in the process, which knows nothing of conftest.py
    compiling._found.cache_clear()
    yield tmp_path
    compiling._found.cache_clear()
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def compiler(cache, monkeypatch):
    """One process, ready, which shares the cache."""
    pool = process.Pool(*compilers.POOL.made_from)
    monkeypatch.setattr(compilers, "POOL", pool)
    compilers.start()
    (started,) = pool.started
    until = time.monotonic() + 120
    while pool.idle.empty():
        assert not pool.gone and time.monotonic() < until, "it did not start"
        time.sleep(0.05)
    yield started
    for one in (started, *pool.started):
        one.end()


@pytest.fixture
def untraced(monkeypatch):
    """From when it is called, tracing a training step fails."""
    return lambda: monkeypatch.setattr(Program, "step", lambda *_: pytest.fail("traced"))


def trained(template, split):
    trainer = Trainer(template, RECIPE, split)
    return trainer.train([Trial(template, 3)]).epochs


def test_what_a_process_compiled_is_not_traced_and_trains_the_same(compiler, split, untraced):
    for lanes in (1, 2):
        trainer = Trainer(SMALL[0], RECIPE, split, lanes)
        assert not trainer.compiled_before()
        assert compilers.compile_ahead(trainer) > 0
        assert trainer.compiled_before() and compilers.compile_ahead(trainer) == 0
    assert not compilers.POOL.idle.empty(), "it is idle again"
    untraced()
    one = trained(SMALL[0], split)
    memory = Trainer(SMALL[0], RECIPE, split)
    memory.compile()
    assert memory.memory > 0
    executables.folder().rename(compiler.folder + "/elsewhere")
    jax.clear_caches()
    with pytest.raises(pytest.fail.Exception, match="traced"):
        trained(SMALL[0], split)
    executables.folder().with_name("elsewhere").rename(executables.folder())
    assert trained(SMALL[0], split) == one


def test_a_process_that_ended_is_done_without(compiler, split):
    compiler.popen.kill()
    compiler.popen.wait()
    trainer = Trainer(SMALL[0], RECIPE, split)
    assert compilers.compile_ahead(trainer) >= 0
    assert trainer.compile() > 0
    assert compilers.POOL.idle.empty() and compilers.compile_ahead(trainer) == 0
    compilers.start()
    assert len(compilers.POOL.started) == 1 and compiler not in compilers.POOL.started


def test_another_cache_has_another_process(compiler, split, tmp_path):
    old = compiler.folder
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "other"))
    compilers.start()
    (other,) = compilers.POOL.started
    assert other.folder != old and compiler.popen.wait() != 0
    compilers.compile_ahead(Trainer(SMALL[0], RECIPE, split))
    assert compilers.POOL.idle.qsize() <= 1, "the old one is forgotten"


def test_a_program_that_does_not_compile_costs_no_process(compiler, split):
    compilers.compile_ahead(Trainer(SMALL[0], dataclasses.replace(RECIPE, batch_size=24), split, lanes=-1))
    assert not compilers.POOL.idle.empty() and compiler.popen.poll() is None
    trainer = Trainer(SMALL[0], RECIPE, split)
    compilers.compile_ahead(trainer)
    assert trainer.compiled_before()


def test_what_cannot_be_sent_costs_no_process(compiler, split, monkeypatch):
    monkeypatch.setattr(compilers, "task_of", lambda trainer: lambda: trainer)
    trainer = Trainer(SMALL[2], RECIPE, split)
    compilers.compile_ahead(trainer)
    assert not trainer.compiled_before() and compilers.POOL.take() is compiler
    assert trainer.compile() > 0


def test_a_population_has_a_process_compile(compiler, split, monkeypatch):
    asked = []
    send = compiler.send
    monkeypatch.setattr(compiler, "send", lambda task: asked.append(task) or send(task))
    monkeypatch.setattr(workers, "worth", lambda *_: 0)
    monkeypatch.setattr(schedule.compilers, "WORTH", 2)
    rows = evaluate(SMALL, small_arrays(), RECIPE, progress=False)
    assert [row.status for row in rows] == ["ok"] * 3 and asked
    asked.clear()
    again = evaluate(SMALL, small_arrays(), RECIPE, progress=False)
    assert [row.epochs for row in again] == [row.epochs for row in rows] and not asked


def test_what_one_process_kept_another_run_does_not_trace(cache, split, untraced):
    first = trained(SMALL[1], split)
    jax.clear_caches()
    untraced()
    assert trained(SMALL[1], split) == first


def test_other_programs_are_not_taken_for_these(cache, split):
    trained(SMALL[1], split)
    assert Trainer(SMALL[1], RECIPE, split).compiled_before()
    less = Dataset("small", **small_arrays(train=80), classes=3).split(0.25)
    for other in (
        Trainer(SMALL[2], RECIPE, split),
        Trainer(SMALL[1], dataclasses.replace(RECIPE, shift=2), split),
        Trainer(SMALL[1], RECIPE, split, lanes=2),
        Trainer(SMALL[1], RECIPE, split, scan=True),
        Trainer(SMALL[1], RECIPE, less),
    ):
        assert not other.compiled_before()
    with jax.default_matmul_precision("bfloat16"):
        assert not Trainer(SMALL[1], RECIPE, split).compiled_before()


def test_a_spoiled_file_is_compiled_again(cache, split):
    first = trained(SMALL[1], split)
    (file,) = executables.folder().iterdir()
    file.write_bytes(file.read_bytes()[:100])
    jax.clear_caches()
    assert trained(SMALL[1], split) == first


def test_what_came_from_the_cache_of_jax_is_not_kept_without_its_code(cache, split):
    first = trained(SMALL[1], split)
    shutil.rmtree(executables.folder())
    for _ in range(2):
        jax.clear_caches()
        assert trained(SMALL[1], split) == first


@pytest.mark.parametrize("policy", ["exact", "folded", "envelope"])
def test_a_task_says_all_that_a_program_is_made_from(split, policy):
    space = Space((3, 8, 8), 3, conv_num=3, lin_num=2)
    for template in [*(space.random(seed) for seed in range(8)), *SMALL]:
        trainer = Trainer(lower(template, policy)[0], RECIPE, split, lanes=2)
        _, arguments = pickle.loads(pickle.dumps(compilers.task_of(trainer)))
        assert repr(Trainer(*arguments)._made_from) == repr(trainer._made_from)


def test_without_a_cache_nothing_is_kept(cache, split, monkeypatch):
    assert compilers.count() == 1 and executables.folder().parent == cache
    monkeypatch.setenv("JNAS_PROCESSES", "0")
    assert compilers.count() == 0 and executables.folder() is None
    monkeypatch.setenv("JNAS_PROCESSES", "two")
    with pytest.raises(JnasError, match="JNAS_PROCESSES=two is no number"):
        compilers.start()
    monkeypatch.delenv("JNAS_PROCESSES")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert compilers.count() == 4
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert compilers.count() == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compilers.count() == 0
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert compilers.count() == 0 and executables.folder() is None
        trainer = Trainer(SMALL[1], RECIPE, split)
        assert trainer.compile() > 0 and not trainer.compiled_before()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
