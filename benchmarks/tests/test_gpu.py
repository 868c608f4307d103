"""The script for ten minutes on a GPU, at toy size on a CPU."""

import json
import os
import pathlib
import time

import pytest
from saved_bytes import saved_bytes

PROGRAM = """HloModule step

%fused_computation (param_0: f32[4,8]) -> bf16[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  ROOT %convert = bf16[4,8]{1,0} convert(%param_0), metadata={op_name="jit(f)/transpose(jvp())/mul"}
}

%fused_computation.1 (param_0.1: f32[4,8]) -> (bf16[4,8], pred[4,8]) {
  %param_0.1 = f32[4,8]{1,0} parameter(0)
  %convert.1 = bf16[4,8]{1,0} convert(%param_0.1), metadata={op_name="jit(f)/jvp()/mul"}
  %gt = pred[4,8]{1,0} compare(%param_0.1, %param_0.1), direction=GT, metadata={op_name="jit(f)/jvp()/gt"}
  ROOT %tuple = (bf16[4,8]{1,0}, pred[4,8]{1,0}) tuple(%convert.1, %gt)
}

ENTRY %main (x: f32[4,8]) -> bf16[4,8] {
  %x = f32[4,8]{1,0} parameter(0)
  %sine = f32[4,8]{1,0} sine(%x), metadata={op_name="jit(f)/jvp()/sin"}
  %both = (bf16[4,8]{1,0}, pred[4,8]{1,0}) fusion(%sine), kind=kLoop, calls=%fused_computation.1
  %half = bf16[4,8]{1,0} get-tuple-element(%both), index=0
  %where = pred[4,8]{1,0} get-tuple-element(%both), index=1
  %wide = f32[4,8]{1,0} convert(%half)
  %back = f32[4,8]{1,0} multiply(%wide, %x), metadata={op_name="jit(f)/transpose(jvp())/mul"}
  %kept = f32[4,8]{1,0} select(%where, %back, %wide), metadata={op_name="jit(f)/transpose(jvp())/select_n"}
  ROOT %last = bf16[4,8]{1,0} fusion(%kept), kind=kLoop, calls=%fused_computation
}
"""


def test_saved_bytes_counts_what_the_backward_pass_reads_once():
    found = saved_bytes(PROGRAM)  # `half` with 64 bytes, and `where` with 32
    assert found == {"bytes": 96, "bfloat16_share": 64 / 96, "largest_others": ["pred[4,8] jit(f)/jvp()/mul"]}
    assert saved_bytes("") == {"bytes": 0, "bfloat16_share": None, "largest_others": []}


def test_gpu_a_part_that_fails_leaves_the_others(run_main, images, monkeypatch):
    import gpu

    def fails(setting):
        yield "before", {"seconds": 1}
        raise RuntimeError("on purpose")

    monkeypatch.setitem(gpu.PARTS, "population", fails)
    found = run_main(gpu, "--toy", "--data", images, "--only", "population", "flags", "bfloat16", "mps")["figures"]
    assert found["population"]["error"] == "on purpose" and found["population"]["before"] == {"seconds": 1}
    assert found["flags"]["none"]["ratio"] == 1 and found["flags"]["none"]["compile_ratio"] == 1
    assert found["bfloat16"]["steps"]["ratio"] > 0
    saved = found["bfloat16"]["steps"]["rows"][0]["saved"]
    assert saved["float32"]["bfloat16_share"] == 0 < saved["bfloat16"]["bfloat16_share"]
    assert "needs a GPU" in found["mps"]["error"] and "CPU" in found["flags"]["all others"]["error"]


@pytest.mark.exhaustive
def test_gpu_chain_and_population(run_main, tmp_path):
    pytest.importorskip("speedrun")
    import gpu
    import numpy as np

    count = {"train": 5376, "test": 64}  # 5,000 of them are for validation
    arrays = {f"x_{split}": np.zeros((n, 32, 32, 3), np.uint8) for split, n in count.items()}
    arrays |= {f"y_{split}": np.arange(n) % 10 for split, n in count.items()}
    arrays["x_train"] += np.random.default_rng(0).integers(0, 256, (5376, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "images.npz", **arrays)
    options = ("--toy", "--data", tmp_path / "images.npz", "--only", "chain", "population")
    found = run_main(gpu, *options)["figures"]
    assert 0 <= found["chain"]["speedrun"]["test_acc"] <= 1
    assert found["population"]["population"]["templates"] == 1


def setting_of(gpu, folder, **changes):
    fields = {"data": "", "toy": True, "backend": "gpu", "folder": folder, "deadline": time.monotonic() + 60}
    return gpu.Setting(**fields | changes)


def test_gpu_script_that_ends_early_is_an_entry(tmp_path):
    import gpu

    words = ("gpu_steps.py", "--hashes", gpu.TOY)
    assert setting_of(gpu, tmp_path).script(*words, XLA_FLAGS="--xla_nonsense=1")["error"] == "unknown flag"
    late = setting_of(gpu, tmp_path, deadline=time.monotonic() - 1)
    assert late.script(*words)["error"] == "ended after 0 s, its limit"


@pytest.mark.parametrize("code", [0, 1])
def test_gpu_mps_is_always_stopped(tmp_path, monkeypatch, code):
    import gpu

    log = tmp_path / "said.txt"
    control = tmp_path / gpu.MPS
    control.write_text(f'#!/bin/sh\nif [ "$1" = -d ]; then echo started >> {log}; exit {code}; fi\ncat >> {log}\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(gpu, "by_size", lambda *_: [gpu.TOY] * 4)
    times = {number: {"alone_seconds": 8, "together_seconds": 4, "gain": 2} for number in ("2", "4")}
    monkeypatch.setattr(gpu.Setting, "script", lambda *_, **__: json.loads(json.dumps(times)))
    found = {}
    try:
        found.update(gpu.mps(setting_of(gpu, tmp_path)))
    except gpu.jnas.JnasError as error:
        assert code and "exit code 1" in str(error)
    else:
        assert not code and found["with"]["2"]["gain"] == 2 and "servers" in found
    assert pathlib.Path(log).read_text().endswith("quit -t 5\n")
