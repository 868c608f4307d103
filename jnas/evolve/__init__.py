"""The vectorised genetic algorithm. It knows genomes and fitness, nothing of CNNs or of training."""

from jnas.evolve.genetic import Genes as Genes
from jnas.evolve.genetic import GeneticAlgorithm as GeneticAlgorithm
from jnas.evolve.genetic import State as State
from jnas.evolve.genetic import evolve as evolve
