"""Ten plain features of templates, and what they tell of accuracies."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from jnas.space import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Template, WindowedLayer

FEATURES = (
    "convolutions",
    "most channels",
    "mean kernel",
    "total stride",
    "receptive field",
    "batch norms",
    "global pooling",
    "dropout",
    "parameters",
    "MACs",
)
"""Kernels in pixels, the receptive field in image sides, batch norms per convolution, the highest rate of dropout."""
LOG_FEATURES = ("parameters", "MACs")
"""Features whose logarithm is a model's input."""
_FOLDS, _REPEATS, _MIN_ROWS, _RIDGE, _GRID = 5, 5, 30, 1.0, 24


def template_features(template: Template) -> list[float]:
    """Returns the numbers that `FEATURES` names."""
    convs = [layer for layer in template.layers if isinstance(layer, Conv2d)]
    field, step = 1, 1
    for layer in template.layers:
        if isinstance(layer, WindowedLayer):
            field, step = field + (layer.kernel_size - 1) * step, step * layer.stride
    side = max(template.in_shape[1:])
    num_norms = sum(isinstance(layer, BatchNorm2d) for layer in template.layers)
    return [
        len(convs),
        max((conv.out_channels for conv in convs), default=0),
        sum(conv.kernel_size for conv in convs) / max(len(convs), 1),
        step,
        field / side,
        num_norms / max(len(convs), 1),
        float(any(isinstance(layer, GlobalAvgPool2d) for layer in template.layers)),
        max((layer.p for layer in template.layers if isinstance(layer, Dropout)), default=0.0),
        template.cost.params,
        template.cost.macs,
    ]


def explain(values: Float[np.ndarray, "n f"], accuracies: Float[np.ndarray, " n"]) -> dict[str, Any] | None:
    """Returns what a model of the features says of accuracies, or None where there are too few rows.

    The model is a ridge regression on each feature and its square. `r2` is of rows that it was not fitted on. The
    importance of a feature is by how much the error (root mean square) on these rows grows where its values are
    shuffled (Breiman 2001). A curve is the accuracy by one feature alone, the others left as they are.
    """
    if len(accuracies) < _MIN_ROWS:
        return None
    logs = [FEATURES.index(name) for name in LOG_FEATURES]
    inputs = values.astype(float).copy()
    inputs[:, logs] = np.log10(np.maximum(inputs[:, logs], 1))
    mean, spread = inputs.mean(0), inputs.std(0)
    scaled = (inputs - mean) / np.where(spread > 0, spread, 1)

    generator = np.random.default_rng(0)
    fold = generator.permutation(len(accuracies)) % _FOLDS
    errors, rises = np.zeros(len(accuracies)), np.zeros(len(FEATURES))
    for number in range(_FOLDS):
        is_left_out = fold == number
        weights = _fit(scaled[~is_left_out], accuracies[~is_left_out])
        left_out, target = scaled[is_left_out], accuracies[is_left_out]
        errors[is_left_out] = _expand(left_out) @ weights - target
        base = math.sqrt(np.mean(errors[is_left_out] ** 2))
        for feature in range(len(FEATURES)):
            for _ in range(_REPEATS):
                shuffled = left_out.copy()
                shuffled[:, feature] = generator.permutation(shuffled[:, feature])
                error = math.sqrt(np.mean((_expand(shuffled) @ weights - target) ** 2))
                rises[feature] += (error - base) / (_FOLDS * _REPEATS)
    r2 = 1 - np.mean(errors**2) / max(np.var(accuracies), 1e-12)

    weights, curves = _fit(scaled, accuracies), []
    expanded = _expand(scaled).mean(0)
    for feature in range(len(FEATURES)):
        low, high = np.quantile(scaled[:, feature], [0.02, 0.98])
        grid = np.linspace(low, high, _GRID)
        columns = [1 + feature, 1 + len(FEATURES) + feature]
        height = expanded @ weights + (np.stack([grid, grid**2], -1) - expanded[columns]) @ weights[columns]
        places = grid * spread[feature] + mean[feature]
        curves.append([10**places if feature in logs else places, height])
    return {"r2": float(r2), "importances": rises, "curves": curves if r2 > 0 else []}


def _expand(inputs: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n g"]:
    return np.concatenate([np.ones((len(inputs), 1)), inputs, inputs**2], -1)


def _fit(inputs: Float[np.ndarray, "n f"], targets: Float[np.ndarray, " n"]) -> Float[np.ndarray, " g"]:
    columns = _expand(inputs)
    penalty = _RIDGE * np.eye(columns.shape[1])
    penalty[0, 0] = 0
    return np.linalg.lstsq(columns.T @ columns + penalty, columns.T @ targets, rcond=None)[0]
