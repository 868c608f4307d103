"""Vectorised evolution: algorithms on the device that know genomes and fitness, nothing of CNNs or of training.

All follow one contract, `init / ask / tell` on a `State` (see `Algorithm`), on any space that follows another (see
`SearchSpace`).
"""

from jnas.evolve._acquisition import diverse as diverse
from jnas.evolve._acquisition import log_expected_improvement as log_expected_improvement
from jnas.evolve._base import Algorithm as Algorithm
from jnas.evolve._base import State as State
from jnas.evolve._categorical import Categorical as Categorical
from jnas.evolve._gaussian_process import GaussianProcess as GaussianProcess
from jnas.evolve._genetic import GeneticAlgorithm as GeneticAlgorithm
from jnas.evolve._guided import GuidedEvolution as GuidedEvolution
from jnas.evolve._local_search import LocalSearch as LocalSearch
from jnas.evolve._metrics import diversity as diversity
from jnas.evolve._nsga2 import NSGA2 as NSGA2
from jnas.evolve._pareto import crowding as crowding
from jnas.evolve._pareto import front as front
from jnas.evolve._pareto import fronts as fronts
from jnas.evolve._random_search import RandomSearch as RandomSearch
from jnas.evolve._regularized import RegularizedEvolution as RegularizedEvolution
from jnas.evolve._run import evolve as evolve
from jnas.evolve._search_space import SearchSpace as SearchSpace
from jnas.evolve._surrogate import Surrogate as Surrogate
from jnas.evolve._table import Table as Table
