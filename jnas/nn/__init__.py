"""Templates as Flax modules with PyTorch's numerics, and the signatures of their programs."""

from jnas.nn._build import build
from jnas.nn._cost import CostEstimate, estimate_cost
from jnas.nn._signature import GraphDefs, graph_defs, program_signature

__all__ = ["CostEstimate", "GraphDefs", "build", "estimate_cost", "graph_defs", "program_signature"]
