"""What a search writes down of its course: its seconds, its rounds, and the front so far."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas._search.population import Population, RoundResult
from jnas._search.screening import pad_to_power, stack_genomes
from jnas._search.setup import SearchSetup
from jnas.evolve import pareto_front
from jnas.predict import score
from jnas.space import Candidate, Space, board_needs


class Records:
    """Writes rows about a search to its store."""

    def __init__(self, setup: SearchSetup, population: Population) -> None:
        self.setup, self.population = setup, population

    @functools.cached_property
    def _seconds_before(self) -> float:
        """Those of earlier runs."""
        return self.setup.store.experiment(self.setup.experiment)["seconds"] or 0.0

    def store_seconds(self, hash: str | None = None) -> None:
        """Stores how long all runs of the search have taken, and that a template was trained then."""
        seconds = self._seconds_before + self.setup.seconds
        self.setup.store.set_seconds(self.setup.experiment, seconds, hash)

    def store_front(self, number: int) -> int:
        """Stores the templates that no other beats in every objective after a round, and returns their number."""
        setup, good = self.setup, self.population.good()
        objectives = setup.config.cost_objectives or ("macs",)  # a front needs one besides the accuracy
        costs = setup.latencies.costs([trained.candidate for trained in good], objectives)
        scores = np.array([trained.score for trained in good])
        rows = [
            {
                "hash": trained.candidate.hash,
                "val_acc_final": trained.accuracy,
                "params": trained.evaluation.params,
                "macs": trained.evaluation.macs,
                "latency_ms": setup.latencies.measured.get(trained.candidate.hash),
                **board_needs(trained.template),
            }
            for trained in (good[i] for i in pareto_front(np.column_stack([scores, -costs])))
        ]
        setup.store.add_front(setup.experiment, number, rows)
        return len(rows)

    def store_round(self, result: RoundResult, front_size: int, seconds: float) -> None:
        """Stores how a round went, all of whose templates are trained."""
        good = [trained for trained in result.evaluated if trained.is_ok]
        predicted = [(trained.score, mean) for trained in good if (mean := trained.predicted_mean) is not None]
        accuracies = result.accuracies
        self.setup.store.add_row(
            "generations",
            experiment_id=self.setup.experiment,
            phase=result.round.phase,
            generation=result.round.number,
            num_trained=len(result.evaluated),
            val_acc_final_best=max(accuracies, default=None),
            val_acc_final_mean=float(np.mean(accuracies)) if accuracies else None,
            kendall_tau=score(*np.array(predicted).T).kendall_tau if predicted else None,
            diversity=self._diversity([trained.candidate for trained in result.evaluated]),
            front_size=front_size,
            seconds=seconds,
        )

    def _diversity(self, candidates: Sequence[Candidate]) -> float | None:
        """The mean distance of two candidates."""
        space = self.setup.space
        if len(candidates) < 2:
            return None
        genomes, (first, second) = stack_genomes(candidates, space), np.tril_indices(len(candidates), -1)
        pairs = pad_to_power(genomes[first]), pad_to_power(genomes[second])
        return float(np.asarray(_distances(space, *pairs))[: len(first)].mean())


@functools.partial(fast_compile_jit, static_argnums=0)
def _distances(space: Space, first: jax.Array, second: jax.Array) -> jax.Array:
    """The distance of each of two stacks of genomes."""
    return jax.vmap(space.distance)(first, second)
