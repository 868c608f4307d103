"""Whether images may be mirrored: a small network that was trained without tells."""

import math

import numpy as np

from jnas.data import Dataset, Split
from jnas.space import Space, known_networks
from jnas.train import ONE_VIEW, Recipe, TrainingRequest, accuracy, train_modules

_EPOCHS, _TRAIN_IMAGES, _VAL_IMAGES, _BATCH_SIZE = 4, 2000, 1000, 64
_MIN_VAL_IMAGES = 100
"""With fewer nothing can be told."""
_LEAST_SHARE = 0.85
"""Of the accuracy on images that their mirror images must have: 0.98 to 1.04 on CIFAR-10, 0.45 on digits."""
_NUM_ERRORS = 3.0
"""Standard errors by which an accuracy must be below another one."""


def warn_of_mirroring(data: Dataset, split: Split) -> str | None:
    """Returns in a sentence why images must not be mirrored; None where a network finds no reason, or cannot tell."""
    images, labels = np.asarray(split.x_val[:_VAL_IMAGES]), np.asarray(split.y_val[:_VAL_IMAGES])
    networks = known_networks(Space(data.in_shape, data.classes, style="modern"))
    if len(images) < _MIN_VAL_IMAGES or not networks:
        return None
    count = min(_TRAIN_IMAGES, len(split.x_train))
    recipe = Recipe.fast(epochs=_EPOCHS, batch_size=min(_BATCH_SIZE, count), train_images=count, flip=False, shift=0)
    template = networks[-1]
    ((_, module),) = train_modules(TrainingRequest.without_row(template, recipe, split))
    if module is None:
        return None
    plain, mirrored = (accuracy(module, x, labels, ONE_VIEW) for x in (images, images[:, :, ::-1]))
    error = math.sqrt(0.5 / len(images))  # of a difference of two accuracies, at most
    chance = np.bincount(labels).max() / len(labels)
    if plain < chance + _NUM_ERRORS * error or mirrored > min(_LEAST_SHARE * plain, plain - _NUM_ERRORS * error):
        return None
    return (
        f"Images are not mirrored: a small network recognises {plain:.0%} of validation images, and {mirrored:.0%} of "
        "their mirror images. Mirror them all the same with flip=True (--flip)."
    )
