"""What a trained winner gets right and wrong, kept in a file beside its weights."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx
from jaxtyping import Int32, UInt8
from scipy.special import softmax

from jnas.report._html.page import write_file
from jnas.train import Views, logits

_NUM_IMAGES, _LARGEST_SIDE = 24, 64
_MOST_CLASSES = 100
"""Of a confusion matrix; with more classes only the most frequent confusions are kept."""
_NUM_PAIRS = 12


def facts_path(weights: Path) -> Path:
    """Returns the file of the facts of weights in a folder."""
    return weights.with_name(f"{weights.name}.facts.json")


def winner_facts(
    module: nnx.Module,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int32[np.ndarray, " n"],
    views: Views,
    *,
    split: Literal["test", "validation"],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Returns what a module gets right and wrong, as values that JSON has.

    These are counts by class, how often each class is taken for which, and the 24 images that the module is most
    wrongly sure of.

    Args:
      module: the winner in evaluation mode.
      images: those that it is judged by, one or more.
      labels: theirs, from 0.
      views: the views of an image by which it classifies.
      split: which images these are.
      class_names: a name for each class.
    """
    height, width, channels = images.shape[1:]
    found = logits(module, images, views, (channels, height, width)).astype(np.float64)
    predicted = found.argmax(-1)
    confidence = softmax(found, -1)[np.arange(len(labels)), predicted]
    return {"split": split, "class_names": list(class_names)} | _describe(
        images, labels, predicted, confidence, len(class_names)
    )


def write_facts(facts: dict[str, Any], weights: Path) -> None:
    """Writes what `winner_facts` returned beside the folder of the winner's weights.

    Raises:
      JnasError: if it cannot be written.
    """
    write_file(facts_path(weights), json.dumps(facts))


def read_facts(path: Path) -> dict[str, Any] | None:
    """Returns what `write_facts` wrote; None where there is no such file, or a damaged one."""
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "pairs" in facts else None


def _describe(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, classes: int
) -> dict[str, Any]:
    is_wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels, predicted], -1)[is_wrong], axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_NUM_PAIRS]
    per_class = np.bincount(labels, minlength=classes)
    wrong = np.flatnonzero(is_wrong)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:_NUM_IMAGES]
    matrix = np.zeros((classes, classes), int) if classes <= _MOST_CLASSES else None
    if matrix is not None:
        np.add.at(matrix, (labels, predicted), 1)
    return {
        "num_images": len(labels),
        "num_per_class": per_class.tolist(),
        "num_predicted": np.bincount(predicted, minlength=classes).tolist(),
        "num_right": np.bincount(labels[labels == predicted], minlength=classes).tolist(),
        "matrix": None if matrix is None else matrix.tolist(),
        "pairs": [[*pairs[i].tolist(), int(counts[i])] for i in most],
        "mistakes": [
            {
                "label": int(labels[i]),
                "predicted": int(predicted[i]),
                "confidence": round(float(confidence[i]), 4),
                "image": _to_data_uri(images[i]),
            }
            for i in wrong
        ],
    }


def _to_data_uri(image: UInt8[np.ndarray, "h w c"]) -> str:
    """Returns a PNG within a URI; an image of neither one nor three channels as the mean of these, in grey."""
    from PIL import Image

    channels = image.shape[-1]
    pixels = image if channels == 3 else image[..., 0] if channels == 1 else image.mean(-1).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
