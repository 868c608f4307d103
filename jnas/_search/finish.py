"""The end of a search: the best are trained for longer, one of them wins, and is tested."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from jnas._search.final_training import FinalTraining
from jnas._search.plan import FINAL_SHARE
from jnas._search.population import Population
from jnas._search.promotion import images_seen, promote
from jnas._search.ranking import choose_after_promotion, prefer_known
from jnas._search.records import Records
from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas._search.setup import SearchSetup
from jnas._search.speed import affordable_epochs, measure_speed
from jnas.errors import JnasError
from jnas.space import Template
from jnas.store import Evaluation


def finish(setup: SearchSetup, population: Population, records: Records, reason: str | None) -> SearchResult:
    """Returns what was found, with the winner trained and tested; `reason` says why nothing more is tried, if any does.

    Raises:
      JnasError: if nothing was trained.
    """
    _refuse_nothing_trained(setup, population, reason)
    if reason:
        setup.callback.on_stop(reason)
    promotions = promote(setup, population)
    setup.callback.on_message("final training")
    config = setup.config
    finalists = [one.template for one in _rank_finalists(setup, population, promotions)[: config.num_finalists]]
    recipe = config.make_recipe(config.final_epochs or _affordable_epochs(setup, finalists))
    setup.callback.on_final_training(recipe.epochs)
    training = FinalTraining(recipe, setup)
    winner, finals = training.find_winner(finalists)
    setup.store.update_experiment(setup.experiment, winner_hash=winner.hash, final_recipe_id=recipe.id)
    records.store_seconds()
    by_score = sorted(population.good(), key=lambda trained: -trained.score)
    candidates = {trained.candidate.hash: trained for trained in by_score}
    for hash, row in promotions.items():
        candidates[hash] = dataclasses.replace(candidates[hash], promotion=row)
    for hash, rows in finals.items():
        weights = training.winner_dir(winner) if hash == winner.hash else None
        candidates[hash] = dataclasses.replace(candidates[hash], finals=rows, _weights=weights)
    result = SearchResult(tuple(candidates.values()), setup.store, setup.experiment, candidates[winner.hash])
    setup.callback.on_search_end(result)
    return result


def _refuse_nothing_trained(setup: SearchSetup, population: Population, reason: str | None) -> None:
    """Raises a JnasError where there is nothing to choose a winner from."""
    if not population.evaluated and reason is None:
        raise JnasError(
            f"{setup.space.describe_limits()} must admit a network that people build by hand, got none; raise the "
            "limits, or give num_random or generations."
        )
    if not population.evaluated:
        raise JnasError(
            f"The search ended {reason}, before any template was trained: run it again, with a higher limit if need be."
        )
    if not population.good():
        reasons = "; ".join(sorted({trained.evaluation.message for trained in population.evaluated.values()}))
        raise JnasError(f"None of the {len(population.evaluated)} templates could be trained: {reasons}.")


def _rank_finalists(
    setup: SearchSetup, population: Population, promotions: Mapping[str, Evaluation]
) -> list[EvaluatedCandidate]:
    """What may win, the most promising first."""
    ranking, num_val = population.ranking(), len(setup.split.x_val)
    if len(promotions) > 1:  # else there is nothing to compare
        return choose_after_promotion(ranking, promotions, num_val, population.final_is_timed)
    return ranking if setup.config.cost_objectives else prefer_known(ranking, population.known(), num_val)


def _affordable_epochs(setup: SearchSetup, finalists: Sequence[Template]) -> int:
    """How many epochs the time that is left allows for the longer trainings; at least as many images as before."""
    config, recipe, num_images = setup.config, setup.config.make_recipe(None), len(setup.split.x_train)
    assert config.time_limit is not None, "without a limit the plan says how many"
    # Rather a little late than worse than it was in the search.
    least = math.ceil(images_seen(setup.recipe, num_images) / num_images)
    least = least if config.num_finalists * config.final_repeats == 1 else 1
    speeds = [measure_speed(template, recipe, setup.split, config.workers) for template in finalists]
    elapsed = setup.seconds
    left = config.time_limit - elapsed
    if setup.interrupt.by:  # who wants an end does not wait for all the time that was allowed
        left = min(left, FINAL_SHARE / (1 - FINAL_SHARE) * elapsed)
    return max(affordable_epochs(left, speeds, config.final_repeats, recipe, setup.split, setup.data), least)
