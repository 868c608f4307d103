"""Shared by the tests of the benchmarks: toy sizes, a cache for the run, no worker processes, quick compilation."""

import json
import os
import tempfile

import numpy as np
import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jnas-benchmark-tests-"))
os.environ.setdefault("JNAS_WORKERS", "0")
os.environ.setdefault("JNAS_XLA_OPT_LEVEL", "0")
os.environ["XDG_CACHE_HOME"] = os.environ["JAX_COMPILATION_CACHE_DIR"]


def pytest_collection_modifyitems(config, items):
    """Tests that take long run with `-m exhaustive`, and beside the product's tests with `--exhaustive`."""
    if "exhaustive" not in config.getoption("markexpr") and not config.getoption("--exhaustive", default=False):
        for item in items:
            if "exhaustive" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes long: runs with -m exhaustive"))


@pytest.fixture
def run_main(monkeypatch, tmp_path):
    """Runs the `main` of a script with options, and returns the JSON that it writes."""

    def run(module, *options):
        out = tmp_path / f"{module.__name__}.json"
        monkeypatch.setattr("sys.argv", [f"{module.__name__}.py", *map(str, options), "--json", str(out)])
        module.main()
        return json.loads(out.read_text())

    return run


@pytest.fixture
def images(tmp_path):
    """A file of small random images in the shape of CIFAR-10."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 640), ("test", 64)):
        arrays[f"x_{split}"] = generator.integers(0, 256, (count, 32, 32, 3), np.uint8)
        arrays[f"y_{split}"] = np.arange(count) % 10
    np.savez(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


@pytest.fixture
def hashes(tmp_path):
    """A table of one small template."""
    from jnas.space import Conv2d, Flatten, Linear, ReLU, Template

    template = Template([Conv2d(8, 3, 4, padding=False), ReLU(), Flatten(), Linear(10)])
    (tmp_path / "hashes.csv").write_text(f"hash,val_acc\n{template.hash},0.4\n")
    return tmp_path / "hashes.csv"
