"""Templates of all layers, with random weights, for tests of what is made of trained ones."""

import jax
import numpy as np
from flax import nnx

from jnas.space import _layers as lt
from jnas.train import Views
from jnas.train._inference import logits

LAYERS = [
    *(lt.Conv2d(8, 4, 1, True), lt.BatchNorm2d(), lt.PReLU(True), lt.MaxPool2d(3, 2, True), lt.Dropout2d(0.3)),
    *(lt.Conv2d(16, 3, 2, False), lt.LeakyReLU(0.1), lt.AvgPool2d(4, 1, True, False), lt.PReLU(False)),
    *(lt.AvgPool2d(3, 2, True, True), lt.ReLU(), lt.MaxPool2d(2, 1, False), lt.Conv2d(8, 1, 1, False)),
    *(lt.Flatten(), lt.Dropout(0.5), lt.Linear(32), lt.PReLU(True), lt.LeakyReLU(0.001), lt.Linear(5)),
]
GLOBAL = [lt.LeakyReLU(0.01), lt.AvgPool2d(2, 1, False), lt.GlobalAvgPool2d(), lt.Flatten(), lt.Linear(5)]


def randomised(template):
    """A module with random weights and statistics, so that one which is lost or swapped is noticed."""
    module = template.build(nnx.Rngs(0))
    state = nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
    random = np.random.default_rng(1)
    nnx.update(module, jax.tree.map(lambda leaf: leaf + random.uniform(0, 0.2, leaf.shape).astype(np.float32), state))
    module.eval()
    return module


def mean_over_views(module, images, views):
    padding = ((0, 0), (views.shift, views.shift), (views.shift, views.shift), (0, 0))
    padded, (height, width) = np.pad(images, padding, mode="reflect"), images.shape[1:3]
    total = 0
    for weight, corner in ((2, views.shift), (1, 0), (1, 2 * views.shift)):
        view = padded[:, corner : corner + height, corner : corner + width]
        for image in [view, view[:, :, ::-1]] if views.flip else [view, view]:
            total += weight * np.asarray(logits(module, jax.numpy.asarray(image), Views())) / 8
    return total
