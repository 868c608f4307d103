"""Vectorised evolution: algorithms on the device that know genomes and fitness, nothing of CNNs or of training."""

from jnas.evolve._acquisition import local_penalization, log_penalty, log_probability_of_improvement
from jnas.evolve._base import Algorithm, State, mean_pairwise_distance
from jnas.evolve._categorical import Categorical
from jnas.evolve._gaussian_process import GaussianProcess
from jnas.evolve._genetic import NSGA2, GeneticAlgorithm
from jnas.evolve._guided import GuidedEvolution, Surrogate
from jnas.evolve._operators import make_offspring
from jnas.evolve._pareto import crowding_distance, nondominated_rank, pareto_front
from jnas.evolve._random_search import RandomSearch
from jnas.evolve._regularized import RegularizedEvolution
from jnas.evolve._run import run
from jnas.evolve._search_space import SearchSpace

__all__ = [
    "NSGA2",
    "Algorithm",
    "Categorical",
    "GaussianProcess",
    "GeneticAlgorithm",
    "GuidedEvolution",
    "RandomSearch",
    "RegularizedEvolution",
    "SearchSpace",
    "State",
    "Surrogate",
    "crowding_distance",
    "local_penalization",
    "log_penalty",
    "log_probability_of_improvement",
    "make_offspring",
    "mean_pairwise_distance",
    "nondominated_rank",
    "pareto_front",
    "run",
]
