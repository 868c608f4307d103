"""Processes that compile ahead into the persistent cache."""

import time

import jax
import pytest
from conftest import small_arrays
from test_population import RECIPE, SMALL, reset_cache

from jnas.data import Dataset
from jnas.train import Trainer, compilers


@pytest.fixture(scope="module")
def split():
    return Dataset("small", **small_arrays(), classes=3).split(0.25)


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """One process, ready, which shares an empty cache with this one."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    reset_cache()
    monkeypatch.setenv("JNAS_COMPILERS", "1")
    monkeypatch.setattr(compilers, "_STARTED", [])
    compilers.start()
    (started,) = compilers._STARTED
    until = time.monotonic() + 120
    while compilers._IDLE.empty():
        assert started.process.poll() is None and time.monotonic() < until, "it did not start"
        time.sleep(0.05)
    yield started
    started.process.kill()
    while not compilers._IDLE.empty():
        compilers._IDLE.get()
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture(scope="module")
def misses():
    """What JAX did not find in its cache."""
    found = []
    jax.monitoring.register_event_listener(
        lambda event, **_: found.append(event) if event == "/jax/compilation_cache/cache_misses" else None
    )
    return found


def test_what_a_process_compiled_is_taken_from_the_cache(compiler, split, misses):
    Trainer(SMALL[1], RECIPE, split).compile()  # and with it what is compiled once
    for lanes in (1, 2):
        trainer = Trainer(SMALL[0], RECIPE, split, lanes)
        assert compilers.compile_ahead(trainer) > 0
        misses.clear()
        assert trainer.compile() > 0
        assert not misses
    assert not compilers._IDLE.empty(), "it is idle again"


def test_a_process_that_ended_is_done_without(compiler, split):
    compiler.process.kill()
    compiler.process.wait()
    trainer = Trainer(SMALL[0], RECIPE, split)
    assert compilers.compile_ahead(trainer) >= 0
    assert trainer.compile() > 0
    assert compilers._IDLE.empty() and compilers.compile_ahead(trainer) == 0
    compilers.start()
    assert [compiler] == compilers._STARTED, "what ends once would end again"


def test_a_program_that_does_not_compile_costs_no_process(compiler, split):
    compilers.compile_ahead(Trainer(SMALL[0], RECIPE, split, scan="neither"))
    compilers.compile_ahead(Trainer(SMALL[0], RECIPE, split, lanes=1))
    assert not compilers._IDLE.empty() and compiler.process.poll() is None


def test_a_cpu_has_none_and_neither_has_one_without_a_cache(monkeypatch):
    monkeypatch.delenv("JNAS_COMPILERS", raising=False)
    assert compilers.count() == 0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert compilers.count() == 4
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert compilers.count() == 0
    monkeypatch.setenv("JNAS_COMPILERS", "3")
    assert compilers.count() == 3
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert compilers.count() == 0
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
