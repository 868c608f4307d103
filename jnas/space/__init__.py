"""Layer templates, templates, sampling, bit vectors, genomes and cost. No training code, no Flax."""

from jnas.space._board import board_needs, infer_board_needs
from jnas.space._candidate import Candidate
from jnas.space._drawing import Block, draw_template, template_blocks
from jnas.space._encoding import BITS_PER_LAYER
from jnas.space._features import FEATURE_NAMES, LayerBatch, featurize, layer_features
from jnas.space._genome import arch_hashes, from_genome, lengths, to_bits, to_genome
from jnas.space._known import describe_chain, known_networks
from jnas.space._layers import (
    LAYER_TYPES,
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Cost,
    Dropout,
    Dropout2d,
    Flatten,
    GlobalAvgPool2d,
    LayerTemplate,
    LeakyReLU,
    Linear,
    MaxPool2d,
    PReLU,
    ReLU,
    Shape,
    WindowedLayer,
)
from jnas.space._sampler import Style
from jnas.space._shape_inference import infer_shapes
from jnas.space._space import Space
from jnas.space._template import Template

__all__ = [
    "BITS_PER_LAYER",
    "FEATURE_NAMES",
    "LAYER_TYPES",
    "Activation",
    "AvgPool2d",
    "BatchNorm2d",
    "Block",
    "Candidate",
    "Conv2d",
    "Cost",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GlobalAvgPool2d",
    "LayerBatch",
    "LayerTemplate",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "PReLU",
    "ReLU",
    "Shape",
    "Space",
    "Style",
    "Template",
    "WindowedLayer",
    "arch_hashes",
    "board_needs",
    "describe_chain",
    "draw_template",
    "featurize",
    "from_genome",
    "infer_board_needs",
    "infer_shapes",
    "known_networks",
    "layer_features",
    "lengths",
    "template_blocks",
    "to_bits",
    "to_genome",
]
