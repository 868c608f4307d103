"""A model of eight-bit integers, made from the ONNX model of a template."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import UInt8
from onnxruntime import quantization

from jnas._runtime.logs import quiet_logging
from jnas.export._forms import InputKind
from jnas.export._onnx import IMAGES, to_input

NUM_CALIBRATION_IMAGES = 512
"""Training images whose activations decide the ranges of the integers."""
_BATCH_SIZE = 64
_OPERATIONS = ["Conv", "Gemm", "BatchNormalization", "Relu", "LeakyRelu", "PRelu"]
_OPERATIONS += ["MaxPool", "AveragePool", "GlobalAveragePool", "Flatten"]
"""Those of layers; normalisation of the input and means over views are computed in floats."""


class _Images(quantization.CalibrationDataReader):
    """Batches for onnxruntime."""

    def __init__(self, images: UInt8[np.ndarray, "n h w c"], kind: InputKind):
        self.batches: Iterator[np.ndarray] = (
            to_input(images[start : start + _BATCH_SIZE], kind) for start in range(0, len(images), _BATCH_SIZE)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {IMAGES: batch}


def quantise(model: onnx.ModelProto, target: Path, images: UInt8[np.ndarray, "n h w c"], kind: InputKind) -> None:
    """Writes an ONNX file whose weights and activations are int8, with scales for each channel of the weights.

    The ranges of activations are those on `images`, the smallest and largest value (static quantisation, Jacob et al.
    2018, arXiv:1712.05877). Nodes QuantizeLinear and DequantizeLinear around each operation say so; onnxruntime and
    compilers for boards fuse them into operations on integers. Weights take seven of the eight bits: processors without
    VNNI add two products in 16 bits, which would overflow (onnxruntime's documentation of quantisation).
    """
    order = np.random.default_rng(0).permutation(len(images))[:NUM_CALIBRATION_IMAGES]
    with (
        quiet_logging(),
        tempfile.TemporaryDirectory() as work,
    ):  # it warns of batch norm that is no part of a convolution
        source, fused = Path(work) / "source.onnx", Path(work) / "fused.onnx"
        source.write_bytes(model.SerializeToString())
        quantization.quant_pre_process(source, fused, skip_symbolic_shape=True)  # batch norm into convolutions
        quantization.quantize_static(
            fused,
            target,
            _Images(images[np.sort(order)], kind),
            op_types_to_quantize=_OPERATIONS,
            per_channel=True,
            reduce_range=True,
        )
    quantised = onnx.load(target)
    texts = {entry.key: entry.value for entry in model.metadata_props} | {"form": "int8"}
    onnx.helper.set_model_props(quantised, texts)
    target.write_bytes(quantised.SerializeToString())
