"""Layer templates, templates, sampling, bit vectors, genomes and cost. No training code, no Flax."""

from jnas.space._layers import LAYER_TYPES as LAYER_TYPES
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
from jnas.space._limits import LimitedSpace as LimitedSpace
from jnas.space._sampler import Space as Space
from jnas.space._template import Template as Template
