"""Shared by all tests: a compilation cache that lives for the run, and small images."""

import os
import tempfile

import numpy as np
import pytest
from hypothesis import settings

# Workers of one run share what is compiled; nothing is kept between runs, so a test never sees another tree's cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jnas-test-cache-"))
# Tests patch what programs are made of, and have few to compile: no processes, nor programs kept by what made them.
os.environ.setdefault("JNAS_PROCESSES", "0")
os.environ["XDG_CACHE_HOME"] = os.environ["JAX_COMPILATION_CACHE_DIR"]
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

from jnas._runtime import compile_options as compiler  # after what JAX reads when it is loaded

BRIEF = dict(compiler._BRIEF["cpu"])
"""Options of short trainings as users have them."""
# Programs run for moments here, so LLVM need not spend more time on them than they do.
for _options in (compiler._QUICK["cpu"], compiler._BRIEF["cpu"]):
    _options["xla_backend_optimization_level"] = "0"

SLOW_SECONDS = 10.0
"""A test that takes longer and is not marked `exhaustive` fails."""


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true", help="run everything, and hypothesis at full size")


def pytest_configure(config):
    settings.load_profile("exhaustive" if config.getoption("--exhaustive") else "default")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--exhaustive"):
        skip = pytest.mark.skip(reason="takes long: runs with --exhaustive")
        for item in items:
            if "exhaustive" in item.keywords:
                item.add_marker(skip)


# A first example compiles, later ones do not: a time limit an example says nothing here.
settings.register_profile("default", deadline=None, max_examples=25)
settings.register_profile("exhaustive", deadline=None, max_examples=200)


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


@pytest.fixture
def arrays():
    return small_arrays()


@pytest.fixture
def npz(tmp_path, arrays):
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    return path
