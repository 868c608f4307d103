"""What touches the process and the machine: compiler options, caches on disk, malloc."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from borders.surroundings import strict_settings
from conftest import small_arrays

from jnas._runtime import compilation_cache, executable_cache, malloc
from jnas._runtime.compile_options import compiler_options, fast_compile_jit, supported_options
from jnas.data import load_data
from jnas.space import Conv2d, Flatten, Linear, ReLU, Template
from jnas.train import Recipe, Trainer, Trial
from jnas.train._compiled import is_short_run
from jnas.train._engine import process_worker
from jnas.train._step import Steps

RECIPE = Recipe(epochs=1, batch_size=24, val_fraction=0.25)
TEMPLATE = Template([Flatten(), Linear(32), ReLU(), Linear(3)], (3, 8, 8))


@fast_compile_jit(static_argnames="times")
def grow(x, times=2):
    """The docstring."""
    return x * times


def test_fast_compile_jit_is_jit_with_other_options():
    assert grow.__name__ == "grow" and grow.__doc__ == "The docstring."
    assert float(grow(3.0)) == 6 and float(grow(3.0, times=4)) == 12
    before = grow.program()._cache_size()
    grow(5.0)
    assert grow.program()._cache_size() == before == 2
    np.testing.assert_array_equal(fast_compile_jit(lambda x: x + x)(np.arange(3)), [0, 2, 4])


def test_fast_compile_jit_within_another_program_is_a_part_of_it():
    """JAX takes no options of a program that is a part of another one."""
    before = grow.program()._cache_size()
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda x: grow(x, times=3)))(jnp.arange(3.0)), [0, 3, 6])
    assert float(jax.grad(grow)(1.0)) == 2
    assert grow.program()._cache_size() == before


@pytest.mark.parametrize("purpose", ["train", "short_run", "fast_compile"])
def test_compiler_options_are_those_that_xla_knows(purpose, monkeypatch):
    options = compiler_options(purpose)
    if jax.default_backend() == "cpu":
        assert options.get("xla_cpu_use_fusion_emitters", True) is (purpose == "train")
        assert options["xla_backend_optimization_level"] == "0", "as tests ask for"
        monkeypatch.delenv("JNAS_XLA_OPT_LEVEL")
        compiler_options.cache_clear()
        assert compiler_options(purpose)["xla_backend_optimization_level"] in ("1", "2")
        compiler_options.cache_clear()
    assert supported_options(options | {"xla_has_no_such_option": "1"}) == options


def test_is_short_run_follows_from_template_and_steps_alone():
    large = Template([Conv2d(192, 7), ReLU(), Conv2d(192, 7), Flatten(), Linear(10)])
    assert is_short_run(TEMPLATE, 128, 100) and not is_short_run(TEMPLATE, 128, 10**7)
    assert not is_short_run(large, 128, 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of training programs, without JAX's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JNAS_EXECUTABLE_CACHE", "1")
    settings = ("jax_compilation_cache_dir",)
    before = {name: getattr(jax.config, name) for name in settings}
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    yield compilation_cache.cache_dir("executables")
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def reset_cache():
    """JAX reads the folder once: it has to be told that it changed."""
    from jax.experimental.compilation_cache import compilation_cache as jax_cache

    jax_cache.reset_cache()


@pytest.fixture(scope="module")
def split():
    return load_data(small_arrays()).split(0.25)


def train(split, template=TEMPLATE):
    trainer = Trainer(template, RECIPE, split)
    return trainer.train([Trial(template, 3)]).history


def test_cached_program_is_not_traced_and_trains_the_same(cache, split, monkeypatch):
    first = train(split)
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "train_step", lambda *_: pytest.fail("traced"))
        assert train(split) == first
        (file,) = cache.iterdir()
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(pytest.fail.Exception, match="traced"):
            train(split)
    assert train(split) == first, "a damaged file is compiled again"


def test_training_does_not_depend_on_the_callers_settings(split):
    expected = train(split)
    with strict_settings():
        assert train(split) == expected


def test_worker_processes_inherit_none_of_the_callers_settings(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("JAX_TRANSFER_GUARD", "disallow")
    monkeypatch.setenv("MINE", "kept")
    environments = []
    monkeypatch.setattr(process_worker.subprocess, "Popen", lambda *_, env, **__: environments.append(env) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        process_worker.ProcessWorker(lambda: {"PJRT_NPROC": "1"})
    (environment,) = environments
    assert environment["MINE"] == "kept" and environment["PJRT_NPROC"] == "1"
    assert not {"JAX_ENABLE_X64", "JAX_TRANSFER_GUARD"} & set(environment)


def test_entry_of_jax_cache_that_is_cut_is_made_anew_in_silence(cache, tmp_path, recwarn, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # as it was, afterwards
    compilation_cache.use_compilation_cache()
    try:
        for content in (b"", b"cut", None):
            double = jax.jit(lambda x: x * 2)  # another one, of the same entry
            assert double(jnp.float32(2)) == 4
            (entry,) = (tmp_path / "jnas" / "xla").glob("jit__lambda*-cache")
            assert entry.stat().st_size > 100
            if content is not None:
                entry.write_bytes(content)
    finally:
        jax.config.update("jax_compilation_cache_max_size", -1)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    assert not recwarn.list


@pytest.mark.exhaustive
def test_cut_entries_of_another_process_are_made_anew_in_silence(tmp_path, npz):
    """A full disk or a killed process leaves such entries, of both caches."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JNAS_EXECUTABLE_CACHE": "1"}
    words = ("evaluate", TEMPLATE.hash, "--data", str(npz), "--epochs", "1", "--batch-size", "24")
    seen: list[list[Path]] = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-m", "jnas", *words], env=environment, capture_output=True, text=True)
        assert (done.stderr, done.returncode) == ("", 0) and " ok " in done.stdout
        entries = [path for path in (tmp_path / "jnas").rglob("*") if path.is_file() and path.stat().st_size > 100]
        seen.append(sorted(entries))
        for path in entries:
            path.write_bytes(path.read_bytes()[:100])
    assert seen[0] == seen[1] and {path.parent.name for path in seen[0]} == {"executables", "xla"}


def test_other_programs_are_not_taken_for_these(cache, split):
    train(split)
    assert Trainer(TEMPLATE, RECIPE, split).spec.is_cached()
    less = load_data(small_arrays(train=80)).split(0.25)
    for other in (
        Trainer(Template([Flatten(), Linear(64), ReLU(), Linear(3)], (3, 8, 8)), RECIPE, split),
        Trainer(TEMPLATE, Recipe(epochs=1, batch_size=24, shift=1), split),
        Trainer(TEMPLATE, RECIPE, split, num_lanes=2),
        Trainer(TEMPLATE, RECIPE, split, scan=True),
        Trainer(TEMPLATE, RECIPE, less),
    ):
        assert not other.spec.is_cached()
    with jax.default_matmul_precision("bfloat16"):
        assert not Trainer(TEMPLATE, RECIPE, split).spec.is_cached()


def test_executable_cache_is_off_where_it_is_switched_off(cache, split, monkeypatch):
    monkeypatch.setenv("JNAS_EXECUTABLE_CACHE", "0")
    train(split)
    assert not cache.exists() and not executable_cache.is_cached("anything")


def test_executable_cache_sources_exist():
    root = os.path.dirname(os.path.dirname(executable_cache.__file__))
    assert all(os.path.exists(os.path.join(root, name)) for name in executable_cache._SOURCES)


def test_caches_are_described_limited_and_cleared(cache, tmp_path):
    cache.mkdir(parents=True)
    for index in range(5):
        (cache / str(index)).write_bytes(bytes(100))
        os.utime(cache / str(index), (index, index))
    info = {one.folder: one for one in compilation_cache.describe_caches()}[cache]
    assert (info.num_files, info.num_bytes) == (5, 500) and info.max_bytes > 1 << 30
    compilation_cache.remove_oldest(cache, 250)
    assert sorted(path.name for path in cache.iterdir()) == ["3", "4"]
    assert compilation_cache.clear_caches() == 200 and not cache.exists()
    assert compilation_cache.clear_caches() == 0
    assert cache.is_relative_to(tmp_path)


def test_use_compilation_cache_limits_the_size_and_keeps_a_chosen_folder():
    code = """
import jax, os
from jnas._runtime.compilation_cache import use_compilation_cache
use_compilation_cache()
print(jax.config.jax_compilation_cache_dir, jax.config.jax_compilation_cache_max_size)
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = "/nowhere"

    def run(env):
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout

    assert run(environment).split() == ["/nowhere/jnas/xla", str(2 << 30)]
    assert run(environment | {"JAX_COMPILATION_CACHE_DIR": "/mine"}).split()[0] == "/mine"
    assert run(environment | {"JAX_ENABLE_COMPILATION_CACHE": "false"}).split() == ["None", "-1"]


@pytest.mark.parametrize(
    ("platforms", "present", "plugins", "expected"),
    [
        ("", "/dev/nvidiactl", ["xla_cuda"], False),
        ("cuda,cpu", "/dev/kfd", ["xla_rocm"], False),
        ("cpu", "/dev/nvidiactl", ["xla_cuda"], True),
        ("", "/dev/nvidiactl", [], True),  # a GPU, and a JAX that cannot use it
        ("", None, ["xla_cuda"], True),  # the other way round
    ],
)
def test_should_tune_malloc_where_no_gpu_computes(platforms, present, plugins, expected, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.delenv("JNAS_TUNE_MALLOC", raising=False)
    monkeypatch.setattr(os.path, "exists", lambda path: path == present)
    monkeypatch.setattr(malloc, "entry_points", lambda group: plugins if group == "jax_plugins" else [])
    assert malloc.should_tune_malloc() == expected
    monkeypatch.setenv("JNAS_TUNE_MALLOC", "0")
    assert not malloc.should_tune_malloc()


def test_malloc_is_left_alone_elsewhere(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert not malloc.should_tune_malloc()
    assert not malloc.tune_malloc()
