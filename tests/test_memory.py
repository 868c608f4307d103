"""What is arranged for the memory of a CPU, and where it is left alone."""

import os

import pytest

from jnas._runtime import malloc as memory


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
def test_memory_is_kept_where_no_gpu_computes(platforms, present, plugins, expected, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.delenv("JNAS_KEEP_MEMORY", raising=False)
    monkeypatch.setattr(os.path, "exists", lambda path: path == present)
    monkeypatch.setattr(memory, "entry_points", lambda group: plugins if group == "jax_plugins" else [])
    assert memory.wanted() == expected
    monkeypatch.setenv("JNAS_KEEP_MEMORY", "0")
    assert not memory.wanted()


def test_memory_is_left_alone_elsewhere(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert not memory.wanted()
    assert not memory.keep_freed_memory()
