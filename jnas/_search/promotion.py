"""A longer training of the best candidates, before one of them is the winner: one rung of successive halving.

What is best after a short training is not what is best after a long one (see docs/decisions/036). Their seconds in the
search say how much longer the time allows (Jamieson and Talwalkar 2016, arXiv:1502.07943, for the rungs).
"""

import dataclasses
from collections.abc import Sequence

from jnas.store import Evaluation
from jnas.train import Recipe

_SAFETY = 0.85
"""Share of the time that is planned: the last training ends alone."""
_NEARLY_ALL = 0.8
LEAST_FACTOR, MOST_FACTOR = 2.0, 8.0
"""Images of a longer training, in units of those of a candidate's: with fewer it says too little, and with more the
time is better spent on the winner."""


def affordable_factor(rows: Sequence[Evaluation], seconds: float) -> float:
    """Returns how many times as long trainings like those of `rows` may be, so that all end within the seconds.

    It is `MOST_FACTOR` at most. `train_seconds` of trainings side by side are shares of the time that passed, so their
    sum is the time of all, however many train at once.
    """
    trained, compiled = (sum(getattr(row, name) for row in rows) for name in ("train_seconds", "compile_seconds"))
    return min((_SAFETY * seconds - compiled) / max(trained, 1e-9), MOST_FACTOR)


def longer_recipe(recipe: Recipe, factor: float, num_images: int) -> Recipe:
    """Returns a recipe of so many times the images: first more of them in an epoch, then more epochs."""
    images = min(recipe.train_images or num_images, num_images)
    all_images = factor * images > _NEARLY_ALL * num_images
    epochs = round(factor * recipe.epochs * images / num_images) if all_images else recipe.epochs
    train_images = None if all_images else round(factor * images)
    return dataclasses.replace(recipe, epochs=max(epochs, 1), train_images=train_images)
