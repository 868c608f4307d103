"""Templates as Flax modules with PyTorch's numerics, and the signatures of their programs."""

from jnas.nn._build import build as build
from jnas.nn._cost import CostEstimate as CostEstimate
from jnas.nn._cost import estimate_cost as estimate_cost
from jnas.nn._signature import GraphDefs as GraphDefs
from jnas.nn._signature import graph_defs as graph_defs
from jnas.nn._signature import program_signature as program_signature

__all__ = ["CostEstimate", "GraphDefs", "build", "estimate_cost", "graph_defs", "program_signature"]
