"""A longer training of the best candidates, before one of them is the winner: one rung of successive halving.

What is best after a short training is not what is best after a long one (see docs/decisions/036). Their seconds in the
search say how much longer the time allows (Jamieson and Talwalkar 2016, arXiv:1502.07943, for the rungs).
"""

import dataclasses
import math
from collections.abc import Sequence

from jnas._search.plan import FINAL_SHARE, PROMOTED_SHARE, reserved_share
from jnas._search.population import Population
from jnas._search.ranking import choose_promoted
from jnas._search.result import EvaluatedCandidate
from jnas._search.setup import SearchSetup
from jnas.store import Evaluation
from jnas.train import Recipe, run_trials

_SAFETY = 0.85
"""Share of the time that is planned: the last training ends alone."""
_NEARLY_ALL = 0.8
LEAST_FACTOR, MOST_FACTOR = 2.0, 8.0
"""Images of a longer training, in units of those of a candidate's: with fewer it says too little, and with more the
time is better spent on the winner."""


def promote(setup: SearchSetup, population: Population) -> dict[str, Evaluation]:
    """Trains the best again, for longer; returns the rows of all that had that and ended well, by hash."""
    count = setup.config.num_promoted or 0
    promoted = choose_promoted(population.ranking(), population.known(), len(setup.split.x_val), count)
    if len(promoted) > 1 and not setup.interrupt.by and (recipe := _choose_recipe(setup, promoted)):
        _train(setup, promoted, recipe)
    return setup.store.promotions(setup.experiment)


def _choose_recipe(setup: SearchSetup, promoted: Sequence[EvaluatedCandidate]) -> Recipe | None:
    """How promoted candidates are trained: as in an earlier run, or as long as the time allows; None for not."""
    if earlier := setup.store.experiment(setup.experiment)["promoted_recipe_id"]:
        return Recipe.from_json(setup.store.recipe_json(earlier))
    config, num_images = setup.config, len(setup.split.x_train)
    if config.final_epochs is None:
        left = (config.time_limit or 0.0) - setup.seconds
        seconds = left * PROMOTED_SHARE / reserved_share(len(promoted))
        factor = affordable_factor([one.evaluation for one in promoted], seconds)
    else:  # halfway, by factors, to the winner's training
        factor = min(math.sqrt(config.final_epochs * num_images / images_seen(setup.recipe, num_images)), MOST_FACTOR)
    return longer_recipe(setup.recipe, factor, num_images) if factor >= LEAST_FACTOR else None


def _train(setup: SearchSetup, promoted: Sequence[EvaluatedCandidate], recipe: Recipe) -> None:
    setup.callback.on_promotion(recipe, promoted)
    setup.store.add_row("recipes", recipe_id=recipe.id, recipe_json=recipe.to_json())
    setup.store.update_experiment(setup.experiment, promoted_recipe_id=recipe.id)

    def should_stop() -> bool:
        limit = setup.config.time_limit
        is_late = limit is not None and setup.seconds > (1 - FINAL_SHARE) * limit  # the rest is the winner's
        return setup.check_folder() or bool(setup.interrupt.by) or is_late

    for _ in run_trials(setup.request(promoted, recipe), setup.engine_options(should_stop)):
        pass  # rows are in the store


def affordable_factor(rows: Sequence[Evaluation], seconds: float) -> float:
    """Returns how many times as long trainings like those of `rows` may be, so that all end within the seconds.

    It is `MOST_FACTOR` at most. `train_seconds` of trainings side by side are shares of the time that passed, so their
    sum is the time of all, however many train at once.
    """
    trained, compiled = (sum(getattr(row, name) for row in rows) for name in ("train_seconds", "compile_seconds"))
    return min((_SAFETY * seconds - compiled) / max(trained, 1e-9), MOST_FACTOR)


def images_seen(recipe: Recipe, num_images: int) -> int:
    """Returns how many images all epochs of a training have together, where there are `num_images`."""
    return recipe.epochs * min(recipe.train_images or num_images, num_images)


def longer_recipe(recipe: Recipe, factor: float, num_images: int) -> Recipe:
    """Returns a recipe of so many times the images: first more of them in an epoch, then more epochs."""
    images = min(recipe.train_images or num_images, num_images)
    all_images = factor * images > _NEARLY_ALL * num_images
    epochs = round(factor * recipe.epochs * images / num_images) if all_images else recipe.epochs
    train_images = None if all_images else round(factor * images)
    return dataclasses.replace(recipe, epochs=max(epochs, 1), train_images=train_images)
