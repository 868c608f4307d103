"""Vectorised evolution: algorithms on the device that know genomes and fitness, nothing of CNNs or of training.

All follow one contract, `init / ask / tell` on a `State` (see `Algorithm`), on any space that follows another (see
`SearchSpace`).
"""

from jnas.evolve.acquisition import diverse as diverse
from jnas.evolve.acquisition import log_expected_improvement as log_expected_improvement
from jnas.evolve.categorical import Categorical as Categorical
from jnas.evolve.gaussian import GaussianProcess as GaussianProcess
from jnas.evolve.genetic import GeneticAlgorithm as GeneticAlgorithm
from jnas.evolve.guided import GuidedEvolution as GuidedEvolution
from jnas.evolve.local_search import LocalSearch as LocalSearch
from jnas.evolve.loop import evolve as evolve
from jnas.evolve.nsga2 import NSGA2 as NSGA2
from jnas.evolve.pareto import crowding as crowding
from jnas.evolve.pareto import front as front
from jnas.evolve.pareto import fronts as fronts
from jnas.evolve.population import diversity as diversity
from jnas.evolve.random_search import RandomSearch as RandomSearch
from jnas.evolve.regularized import RegularizedEvolution as RegularizedEvolution
from jnas.evolve.space import SearchSpace as SearchSpace
from jnas.evolve.state import Algorithm as Algorithm
from jnas.evolve.state import State as State
from jnas.evolve.surrogate import Surrogate as Surrogate
from jnas.evolve.table import Table as Table
