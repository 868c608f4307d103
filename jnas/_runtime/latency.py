"""How long ONNX models take on this machine, as JSON. Needs Python 3.9, NumPy and onnxruntime alone.

    python latency.py model.onnx [more.onnx ...] > latencies.json

Each model is timed for one image and for 32, with one thread and with one for each core: the median and the 95th
percentile of warm runs, in milliseconds a batch.
"""

import contextlib
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH_SIZES = (1, 32)
WARM_UP_SECONDS, SECONDS = 0.1, 0.4
"""Before and while runs are timed."""
LEAST_RUNS, MOST_RUNS = 20, 2000
MOST_SECONDS = 10.0
"""Of a model that is too slow for so many runs."""


@functools.cache
def processor_name() -> str:
    """Returns the name of the processor, such as "AMD EPYC 9654"; where it has none, that of the board."""
    known: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        known.setdefault(key.strip(), value.strip())
    names = [known.get(key) for key in ("model name", "Model", "Hardware")]
    names += [_read("/proc/device-tree/model"), _brand_of_mac(), platform.processor(), platform.machine()]
    return next((name for name in names if name), "unknown")


def _read(path: str) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
        return file.read().strip(" \0\n")
    return ""


def _brand_of_mac() -> str:
    if platform.system() == "Darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return ""


def num_cores() -> int:
    """Returns the cores that this process may use: those of the machine, or of the container where it has fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return max(1, min(cores, round(int(limit) / int(period)))) if limit.isdigit() else cores


def time_runs(run: Callable[[], Any]) -> dict[str, Any]:
    """Returns the median and the 95th percentile of the milliseconds that a call takes, when it is warm."""
    end = time.perf_counter() + WARM_UP_SECONDS
    run()
    while time.perf_counter() < end:
        run()
    seconds: list[float] = []
    start = now = time.perf_counter()
    while len(seconds) < MOST_RUNS and now - start < (SECONDS if len(seconds) >= LEAST_RUNS else MOST_SECONDS):
        run()
        before, now = now, time.perf_counter()
        seconds.append(now - before)
    seconds.sort()
    count = len(seconds)
    median = (seconds[(count - 1) // 2] + seconds[count // 2]) / 2
    last_of_95 = -(-95 * count // 100) - 1
    return {"median_ms": round(1e3 * median, 4), "p95_ms": round(1e3 * seconds[last_of_95], 4), "runs": count}


def time_model(path: str) -> list[dict[str, Any]]:
    """Returns the latencies of an ONNX file of images, one row for each number of images and of threads."""
    import numpy as np
    import onnxruntime

    rows = []
    for threads in sorted({1, num_cores()}):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        (images,) = session.get_inputs()
        for size in BATCH_SIZES:
            shape = [side if isinstance(side, int) else size for side in images.shape]
            pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
            batch = pixels if images.type == "tensor(uint8)" else (pixels * (2 / 255) - 1).astype(np.float32)
            timed = time_runs(functools.partial(session.run, None, {images.name: batch}))
            row = {"file": os.path.basename(path), "batch_size": shape[0], "threads": threads, **timed}
            if "hash" in metadata:
                row["hash"], row["in_shape"] = metadata["hash"], json.loads(metadata["in_shape"])
                row["classes"], row["form"] = json.loads(metadata["classes"]), metadata["form"]
            rows.append(row)
    return rows


def measure(paths: list[str]) -> dict[str, Any]:
    """Returns what is printed: the machine, and the rows of all models.

    Raises:
      ValueError: one sentence, if onnxruntime is not installed or a file is no ONNX model of images.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ValueError("onnxruntime is not installed: run pip install onnxruntime numpy.") from None
    rows = []
    for path in paths:
        try:
            rows += time_model(path)
        except Exception as error:  # onnxruntime's own classes, which have no base but this one
            kind = "missing" if not os.path.isfile(path) else type(error).__name__
            raise ValueError(f"{path} must be an ONNX model of images, got none that can be run ({kind}).") from error
    return {"processor": processor_name(), "cores": num_cores(), "onnxruntime": onnxruntime.__version__, "rows": rows}


def main(paths: list[str]) -> None:
    """Prints the latencies of ONNX files as JSON."""
    if not paths or paths[0].startswith("-"):
        sys.exit("Usage: python latency.py model.onnx [more.onnx ...]")
    try:
        print(json.dumps(measure(paths), indent=2))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
