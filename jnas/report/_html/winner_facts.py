"""What a trained winner gets right and wrong, kept in a file beside its weights."""

import base64
import io
import json
import os
import uuid
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import UInt8
from scipy.special import softmax

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import first_line
from jnas.data import Dataset
from jnas.errors import JnasError
from jnas.train import Recipe, logits, predict_with

_NUM_IMAGES, _LARGEST_SIDE = 24, 64
_MOST_CLASSES = 100
"""Of a confusion matrix; with more classes only the most frequent confusions are kept."""
_NUM_PAIRS = 12


def facts_path(weights: Path) -> Path:
    """Returns the file of the facts of weights in a folder."""
    return weights.with_name(f"{weights.name}.facts.json")


@with_own_settings
def winner_facts(module: nnx.Module, dataset: Dataset, recipe: Recipe, weights: Path) -> Path:
    """Returns the file, beside the folder of the weights, in which it is written what a module gets right and wrong.

    That is measured on the test images or, where there are none, on the data set's own validation images: how often
    each class is taken for which, and the 24 images that the module is most wrongly sure of.

    Args:
      module: the winner in evaluation mode.
      dataset: its images.
      recipe: how it was trained; its views are those that it classifies by.
      weights: the folder of its weights.

    Raises:
      JnasError: if there are neither test images nor validation images of the data set's own, or the file cannot be
        written.
    """
    split = "test" if len(dataset.x_test) else "validation"
    images, labels = (dataset.x_test, dataset.y_test) if split == "test" else (dataset.x_val, dataset.y_val)
    if images is None or labels is None:
        raise JnasError("dataset must have test images or validation images of its own, got neither; add x_test.")
    found: list[np.ndarray] = []

    def classify(part: np.ndarray) -> np.ndarray:
        found.append(np.asarray(logits(module, jax.device_put(part), recipe.views), np.float64))
        return found[-1]

    predicted = predict_with(classify, images)
    confidence = softmax(np.concatenate(found), -1)[np.arange(len(labels)), predicted]
    facts = _describe(dataset, split, images, labels, predicted, confidence)
    path = facts_path(weights)
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        part.write_text(json.dumps(facts))
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise JnasError(f"{path} cannot be written ({first_line(error)}): make room, or change its rights.") from error
    return path


def read_facts(path: Path) -> dict[str, Any] | None:
    """Returns what `winner_facts` wrote; None where there is no such file, or a damaged one."""
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "pairs" in facts else None


def _describe(
    dataset: Dataset, split: str, images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, confidence: np.ndarray
) -> dict[str, Any]:
    classes = dataset.classes
    names = dataset.class_names or tuple(map(str, range(classes)))
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
        "split": split,
        "num_images": len(labels),
        "class_names": names,
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
