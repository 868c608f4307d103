"""Templates as Flax modules with PyTorch's numerics, and the signatures of their programs."""

from jnas.nn._build import build
from jnas.nn._cost import largest_im2col, num_activations
from jnas.nn._signature import GraphDefs, graph_defs, program_signature

__all__ = ["GraphDefs", "build", "graph_defs", "largest_im2col", "num_activations", "program_signature"]
