"""Layer templates, templates, sampling, bit vectors, genomes and cost. No training code, no Flax."""

from jnas.space._candidate import Candidate as Candidate
from jnas.space._encoding import BITS_PER_LAYER as BITS_PER_LAYER
from jnas.space._featurize import NUM_FEATURES as NUM_FEATURES
from jnas.space._featurize import featurize as featurize
from jnas.space._genome import arch_hashes as arch_hashes
from jnas.space._genome import from_genome as from_genome
from jnas.space._genome import lengths as lengths
from jnas.space._genome import to_bits as to_bits
from jnas.space._genome import to_genome as to_genome
from jnas.space._genome import to_genomes as to_genomes
from jnas.space._layer_features import FEATURE_GROUPS as FEATURE_GROUPS
from jnas.space._layer_features import FEATURE_NAMES as FEATURE_NAMES
from jnas.space._layer_features import LayerBatch as LayerBatch
from jnas.space._layer_features import layer_features as layer_features
from jnas.space._layers import LAYER_TYPES as LAYER_TYPES
from jnas.space._layers import Activation as Activation
from jnas.space._layers import AvgPool2d as AvgPool2d
from jnas.space._layers import BatchNorm2d as BatchNorm2d
from jnas.space._layers import Conv2d as Conv2d
from jnas.space._layers import Cost as Cost
from jnas.space._layers import Dropout as Dropout
from jnas.space._layers import Dropout2d as Dropout2d
from jnas.space._layers import Flatten as Flatten
from jnas.space._layers import GlobalAvgPool2d as GlobalAvgPool2d
from jnas.space._layers import LayerTemplate as LayerTemplate
from jnas.space._layers import LeakyReLU as LeakyReLU
from jnas.space._layers import Linear as Linear
from jnas.space._layers import MaxPool2d as MaxPool2d
from jnas.space._layers import PReLU as PReLU
from jnas.space._layers import ReLU as ReLU
from jnas.space._layers import Shape as Shape
from jnas.space._layers import WindowedLayer as WindowedLayer
from jnas.space._sampler import Style as Style
from jnas.space._shape_inference import InferredShapes as InferredShapes
from jnas.space._shape_inference import infer_shapes as infer_shapes
from jnas.space._space import Space as Space
from jnas.space._template import Template as Template
from jnas.space._uint64 import UInt64 as UInt64

__all__ = [
    "BITS_PER_LAYER",
    "FEATURE_GROUPS",
    "FEATURE_NAMES",
    "LAYER_TYPES",
    "NUM_FEATURES",
    "Activation",
    "AvgPool2d",
    "BatchNorm2d",
    "Candidate",
    "Conv2d",
    "Cost",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GlobalAvgPool2d",
    "InferredShapes",
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
    "UInt64",
    "WindowedLayer",
    "arch_hashes",
    "featurize",
    "from_genome",
    "infer_shapes",
    "layer_features",
    "lengths",
    "to_bits",
    "to_genome",
    "to_genomes",
]
