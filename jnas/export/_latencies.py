"""How long an exported model takes on this machine: by onnxruntime, and by JAX."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jnas._runtime import latency
from jnas._runtime.devices import device_name
from jnas.data import normalise
from jnas.export._forms import CHECKED_FILES
from jnas.export._process import run_fresh
from jnas.export._trained import TrainedModel

LATENCY_SCRIPT = "latency.py"


def measure_latencies(folder: Path, trained: TrainedModel) -> list[dict[str, Any]]:
    """Returns rows of milliseconds (median, 95th percentile) by engine, threads and number of images.

    The ONNX files are timed by the script in the folder, in a fresh process. JAX has all threads, or the GPU.
    """
    files = [CHECKED_FILES[form] for form in ("onnx", "int8") if form in trained.options.forms]
    rows = []
    if files:
        timed = json.loads(run_fresh([LATENCY_SCRIPT, *files], folder, "The exported ONNX files cannot be timed"))
        names = ("file", "batch_size", "threads", "median_ms", "p95_ms")
        rows += [
            {"engine": "onnxruntime", "device": timed["processor"], **{name: row[name] for name in names}}
            for row in timed["rows"]
        ]
    return [*rows, *_time_jax(trained)]


def _time_jax(trained: TrainedModel) -> list[dict[str, Any]]:
    channels, height, width = trained.source.template.in_shape
    threads = latency.num_cores() if jax.default_backend() == "cpu" else None
    graph, state = nnx.split(trained.module)
    classify = jax.jit(lambda state, images: trained.views.mean_logits(nnx.merge(graph, state), normalise(images)))
    rows = []
    for size in latency.BATCH_SIZES:
        images = jnp.zeros((size, height, width, channels), jnp.uint8)
        timed = latency.time_runs(lambda images=images: jax.block_until_ready(classify(state, images)))
        row = {"engine": "jax", "device": device_name(), "file": "weights", "batch_size": size, "threads": threads}
        rows.append({**row, "median_ms": timed["median_ms"], "p95_ms": timed["p95_ms"]})
    return rows
