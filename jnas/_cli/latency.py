"""`jnas latency`."""

import json
from dataclasses import dataclass

import tyro

from jnas._runtime.latency import measure
from jnas.errors import JnasError


@dataclass(frozen=True)
class Options:
    """Time ONNX models on this machine, and print JSON: the median and the 95th percentile of milliseconds a batch.

    For 1 and 32 images, by onnxruntime, with one thread and with one for each core. An export has the same as a script,
    latency.py, which needs NumPy and onnxruntime alone: run it where the models are to be used.
    """

    models: tyro.conf.Positional[tuple[str, ...]] = ()
    """ONNX files."""


def run(options: Options) -> None:
    if not options.models:
        raise JnasError("models must be one or more ONNX files, got none.")
    try:
        print(json.dumps(measure(list(options.models)), indent=2))
    except ValueError as error:
        raise JnasError(str(error)) from error
