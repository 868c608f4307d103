"""Shared by all tests: a compilation cache that lives for the run, and small images."""

import os
import shutil
import tempfile
import time
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import settings
from packaging.version import Version

# Programs that were compiled are kept for the run, and shared by the workers of pytest-xdist.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jnas-test-cache-"))
os.environ["XDG_CACHE_HOME"] = os.environ["JAX_COMPILATION_CACHE_DIR"]
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Tests of worker processes start them; all others train in this process, and trace what they patch.
os.environ["JNAS_WORKERS"] = os.environ["JNAS_EXECUTABLE_CACHE"] = "0"
# Programs run for moments here, so LLVM need not spend more time on them: on those that train, and on all others.
os.environ.setdefault("JNAS_XLA_OPT_LEVEL", "0")
_FLAGS = "--xla_backend_optimization_level=0"
if Version(version("jaxlib")) < Version("0.11"):  # XLA ends a process with a flag that it does not know
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _FLAGS)

# Tests write many small files, and databases wait for the disk: in memory that costs nothing.
if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

SLOW_SECONDS = 50.0
"""From which on a test fails that is not marked: 10 s, on a machine five times slower than usual."""


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run those marked slow, too")
    parser.addoption("--exhaustive", action="store_true", help="run everything, and hypothesis at full size")


def pytest_configure(config):
    settings.load_profile("exhaustive" if config.getoption("--exhaustive") else "default")
    if config.getoption("--exhaustive"):
        os.environ["JNAS_TEST_ALL"] = "1"  # for modules that choose sizes when they are imported


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that takes long and is not marked fails: a newcomer waits for all of them.

    The smaller of wall clock and processor time counts: other load on the machine makes the one longer, threads the
    other. Processor time is of this process and of the children that ended.
    """
    wall, processor = time.perf_counter(), sum(os.times()[:4])
    result = yield
    seconds = min(time.perf_counter() - wall, sum(os.times()[:4]) - processor)
    if seconds > SLOW_SECONDS and not {"slow", "exhaustive"} & set(item.keywords):
        pytest.fail(f"took {seconds:.1f} s: mark it slow or exhaustive, or make it faster", pytrace=False)
    return result


def pytest_collection_modifyitems(config, items):
    options = {"exhaustive": ["--exhaustive"], "slow": ["--slow", "--exhaustive"]}
    for mark, names in options.items():
        if not any(map(config.getoption, names)):
            skip = pytest.mark.skip(reason=f"takes long: runs with {names[0]}")
            for item in items:
                if mark in item.keywords:
                    item.add_marker(skip)


# A first example compiles, later ones do not: a time limit an example says nothing here.
settings.register_profile("default", deadline=None, max_examples=25)
settings.register_profile("exhaustive", deadline=None, max_examples=200)


def exhaustive(*cases):
    """Returns parameters of a test, tuples or single values, that run with --exhaustive only."""
    many = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*values, marks=pytest.mark.exhaustive) for values in many]


def small_arrays(train=96, test=24, size=8, classes=3, seed=0):
    """Images whose class shows: a bright stripe at the class's place, in noise."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", train), ("test", test)):
        labels = np.arange(count) % classes
        images = generator.integers(0, 120, (count, size, size, 3))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 2] += 120
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels}
    return arrays


@pytest.fixture(scope="session", autouse=True)
def readers_do_not_pause():
    """Readers leave a store free for a while after each read, for writers of other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jnas.store._connection._MAX_YIELD", 0.0)
        yield


@pytest.fixture
def fake_trainer(monkeypatch):
    """Trains by curves that are made up, for tests of control flow."""
    from fakes import FakeTrainer

    from jnas.train._engine import group_trainer

    monkeypatch.setattr(group_trainer, "TRAINER_CLASS", FakeTrainer)
    return FakeTrainer


@pytest.fixture(scope="module")
def small_predictor():
    """Searches fit ensembles that are trained in moments, to few rows."""
    from jnas._search import screening
    from jnas.predict import EnsembleConfig, Predictor

    config = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor.__init__, "__defaults__", (0, config, None))
        patch.setattr(screening, "MIN_ROWS", 10)
        yield


@pytest.fixture
def arrays():
    return small_arrays()


@pytest.fixture
def npz(tmp_path, arrays):
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    return path
