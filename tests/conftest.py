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

from jnas import compiler  # after what JAX reads when it is loaded

BRIEF = dict(compiler._BRIEF["cpu"])
"""Options of short trainings as users have them."""
# Programs run for moments here, so LLVM need not spend more time on them than they do.
for _options in (compiler._QUICK["cpu"], compiler._BRIEF["cpu"]):
    _options["xla_backend_optimization_level"] = "0"

SPREAD = ("trains_as_its_template_does_alone", "test_random_template")
"""Long tests that any worker may take, apart from the rest of their file."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file is one worker's, whose tests share fixtures and programs; but for those that are spread.

    Another way of sharing out that is asked for, such as `--dist load`, is taken.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid if any(name in nodeid for name in SPREAD) else nodeid.split("::")[0]

    return ByFile(config, log)


# A first example compiles, later ones do not: a time limit an example says nothing here.
settings.register_profile("jnas", deadline=None)
settings.load_profile("jnas")


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
