"""What a search found, in a terminal and as JSON; from its store, so of one that runs or is over, too."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from jnas._search.result import EvaluatedCandidate, SearchResult
from jnas.report import (
    facts_path,
    finalist_table,
    format_count,
    front_table,
    layer_summary,
    leaderboard,
    mean_std,
    read_facts,
    wilson_interval,
)
from jnas.space import describe_chain
from jnas.store import Evaluation, Metric, find_experiment, paths

if TYPE_CHECKING:
    import pandas as pd

_NUM_BEST = 10


def describe_result(result: SearchResult) -> list[str | Text | Table]:
    """Returns lines and tables: the best candidates, the winner, what it is better than, and where all of it is."""
    experiment = find_experiment(result.store, result.experiment)
    num_val = int(experiment.num_val)
    best, known = result.best, result.known
    parts: list[str | Text | Table] = [
        leaderboard([(candidate.phase, candidate.evaluation) for candidate in result.top(_NUM_BEST)], num_val)
    ]
    if len(objectives := json.loads(experiment.config_json)["objectives"]) > 1:
        parts.append(front_table(result.front, objectives))
    statuses = result.to_df().status
    if stopped := int((statuses == "stopped").sum()):
        parts.append(f"{stopped} templates were stopped early.")
    if failed := len(statuses) - len(result.candidates) - stopped:
        parts.append(f"{failed} templates failed; their rows say why.")
    promoted = [(one.evaluation, (one.promotion,)) for one in result.candidates if one.promotion is not None]
    if promoted:
        parts.append(finalist_table(promoted, num_val, "The best, trained again"))
    finalists = [(candidate.evaluation, candidate.finals) for candidate in result.candidates if candidate.finals]
    if len(finalists) > 1:
        parts.append(finalist_table(finalists, num_val))
    name, cost = "winner" if best.finals else "best so far", best.template.cost
    title = f"\nThe {name} ({format_count(cost.params)} params, {format_count(cost.macs)} MACs):"
    parts += [Text(title, "bold"), layer_summary(best.template), f"hash {best.template.hash}\n"]
    if best.finals:
        parts.append(_describe_finals(best.finals, int(experiment.num_test), best.metric))
        facts = None if best._weights is None else read_facts(facts_path(best._weights))
        parts += [_describe_mistakes(facts)] if facts and facts["pairs"] else []
    first = result.candidates[0]
    is_chosen_now = len(finalists) == 1 and best.promotion is None and best.metric == "accuracy"
    if is_chosen_now and first.accuracy > best.accuracy:
        parts.append(_explain_choice(first.accuracy, best, num_val))
    if known is not None:
        parts.append(compare_with_known(best, known, num_val))
    return [*parts, *_describe_files(result, experiment)]


def result_to_json(result: SearchResult) -> dict[str, Any]:
    """Returns the outcome of a search for programs: accuracies as fractions, times in seconds.

    Keys: `experiment`, `finished`, `seconds` (of all its runs), `trials`, `seconds_to_best` (until the network with the
    best validation accuracy was trained), `winner` and `known` (the best network that it began with, or None): each
    `hash`, `params`, `macs`, `search_val_acc` (after the training that all candidates have), `promoted_val_acc` (after
    that of the best; None where it had none), `val_acc` and `test_acc` (after the winner's longer training, where there
    was one; else `val_acc` is `search_val_acc`). `front` has the rows of `SearchResult.front`.
    """
    experiment, rows = find_experiment(result.store, result.experiment), result.to_df()
    seconds = None if experiment.seconds != experiment.seconds else float(experiment.seconds)
    best_row, front = rows.loc[rows.val_acc_final.idxmax()], result.front
    final = result.best.final
    is_final_best = final is not None and (final.val_acc_final or 0.0) >= best_row.val_acc_final
    return {
        "experiment": result.experiment,
        "finished": final is not None,
        "seconds": seconds,
        "trials": int((rows.phase != "stored").sum()),
        "seconds_to_best": seconds if is_final_best else _number(best_row.seconds),
        "winner": _network(result.best),
        "known": None if result.known is None else _network(result.known),
        "front": front.astype(object).where(front.notna(), None).to_dict("records"),
    }


def _network(candidate: EvaluatedCandidate) -> dict[str, Any]:
    final, cost = candidate.final, candidate.template.cost
    longest = candidate.evaluation if final is None or final.status != "ok" else final
    return {
        "hash": candidate.candidate.hash,
        "val_acc": longest.val_acc_final,
        "test_acc": longest.test_acc_final,
        "search_val_acc": candidate.accuracy,
        "promoted_val_acc": None if candidate.promotion is None else candidate.promotion.val_acc_final,
        "params": cost.params,
        "macs": cost.macs,
    }


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def _describe_files(result: SearchResult, experiment: "pd.Series") -> list[str]:
    """Where everything is, and the next command."""
    store = result.store.path
    weights = paths.checkpoint_dir(store, result.experiment)
    seconds = _number(experiment.seconds)
    took = "" if seconds is None else f" {seconds:.0f} s."
    return [
        f"Results: {store} (experiment {result.experiment}), weights: {weights}.{took}",
        f"Next: jnas export {store} writes the winner as files; jnas show {store} prints this again."
        if result.best.finals
        else "The search has not trained a winner yet: the same command goes on.",
    ]


def _describe_mistakes(facts: dict[str, Any]) -> str:
    """The class that a network, which makes mistakes, finds least often, and what it takes for what."""
    names, counts = facts["class_names"], facts["num_per_class"]
    found = [right / count if count else 1.0 for right, count in zip(facts["num_right"], counts, strict=True)]
    worst = min(range(len(names)), key=found.__getitem__)
    text = f"Of the classes it finds {names[worst]} least often ({found[worst]:.0%} of {facts['split']} images)"
    label, predicted, count = facts["pairs"][0]
    return f"{text}, and takes {names[label]} for {names[predicted]} most often ({count} images)."


def compare_with_known(best: EvaluatedCandidate, known: EvaluatedCandidate, num_val: int) -> str:
    """What a search brought over the best network that it began with.

    Both accuracies are those of the same training, the longest that both had.
    """
    promotions = [one.promotion.val_acc_final for one in (best, known) if one.promotion is not None]
    accuracies = [accuracy for accuracy in promotions if accuracy is not None]
    if len(accuracies) < 2:
        accuracies = [best.accuracy, known.accuracy]
    if best.phase == "known":
        name = f"({describe_chain(best.template)}, {accuracies[0]:.4f})"
        return f"The search found nothing better, beyond the noise, than what it began with {name}: give it more time."
    name = f"the best network that it began with ({describe_chain(known.template)}, {accuracies[1]:.4f})"
    noise = math.sqrt(sum(accuracy * (1 - accuracy) for accuracy in accuracies) / num_val)
    gain, cost, known_cost = accuracies[0] - accuracies[1], best.template.cost, known.template.cost
    place = f"{abs(gain):.4f} {'ahead of' if gain > 0 else 'behind'} {name}"
    params, macs = cost.params / known_cost.params, cost.macs / known_cost.macs
    return (
        f"After the same training in the search it is {place}, with {params:.2g} times its parameters and {macs:.2g} "
        f"times its MACs; the noise of such a difference is {noise:.4f} ({num_val:,} images)."
    )


def _explain_choice(highest: float, best: EvaluatedCandidate, num_val: int) -> str:
    """Why the winner is not the network with the highest accuracy, see `ranking`."""
    error = math.sqrt(highest * (1 - highest) / num_val)
    reason = (
        "within two of these the known network that was tried first wins"
        if best.phase == "known"
        else "it is smaller, so it can be trained for longer"
    )
    return (
        f"Number 1 of the table was {highest - best.accuracy:.4f} ahead of the winner, and its accuracy has a standard "
        f"error of {error:.4f}: {reason}."
    )


def _describe_noise(accuracy: float, num_images: int) -> str:
    """How sure an accuracy is on so many images, whatever the training."""
    low, high = wilson_interval(accuracy, num_images)
    return f"{num_images:,} images: 95 % between {low:.3f} and {high:.3f}"


def _describe_finals(finals: Sequence[Evaluation], num_test: int, metric: Metric) -> str:
    """A sentence on the winner's longer training."""
    good = [row for row in finals if row.status == "ok"]
    if not good:
        return f"Its longer training failed ({finals[0].status}: {finals[0].message})."
    accuracies = mean_std([row.val_acc_final for row in good if row.val_acc_final is not None])
    if metric != "accuracy":
        scores = mean_std([abs(row.score(metric)) for row in good])
        accuracies += f", {metric.replace('_', ' ')} {scores} (the search chose by it)"
    tested = [row.test_acc_final for row in good if row.test_acc_final is not None]
    test = f"test accuracy {mean_std(tested)} ({_describe_noise(tested[0], num_test)})" if tested else "no test images"
    epochs = f"{len(good[0].epochs)} epoch{'s' * (len(good[0].epochs) > 1)}"
    seeds = "one seed" if len(good) == 1 else f"mean ± standard deviation of {len(good)} seeds"
    failed = f"; {len(finals) - len(good)} more failed" if len(good) < len(finals) else ""
    return f"Trained for {epochs}: validation accuracy {accuracies}, {test}, after the last epoch, {seeds}{failed}."
